import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import RecipeError
from dragoman.recipe.decoding import Beam
from dragoman.recipe.loading import load_recipe, override, recipe_from
from dragoman.recipe.metrics import Chrf, ErrorRate
from dragoman.recipe.model import Transformer
from dragoman.recipe.run import Adam, Training
from dragoman.recipe.sections import Recipe


def test_loading_imports_no_torch():
    code = "import sys, dragoman.recipe.loading, dragoman.recipe.schema; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_small_recipe_has_all_defaults(write):
    recipe = load_recipe(write())
    assert isinstance(recipe.model.encoder, Transformer)
    assert recipe.decoding == Beam(method="beam")
    assert recipe.training.optimizer == Adam(kind="adam")
    assert recipe.training.max_steps == 10


def test_numbers_lists_and_names_of_metrics(write):
    recipe = load_recipe(
        write("""
        decoding: {method: beam, length_penalty: 2}
        evaluation:
          metrics: [cer, {name: chrf, word_order: 2}]
          confidence: .9
        """)
    )
    assert (recipe.decoding.length_penalty, type(recipe.decoding.length_penalty)) == (2.0, float)
    assert recipe.evaluation.metrics == (ErrorRate(name="cer", label="cer"), Chrf(name="chrf", word_order=2))
    assert recipe.evaluation.confidence == 0.9


TABLE = """\
data:
  train: [{file: a.tsv, source: %s}]
  held_out_dev: 0.1
source: {kind: characters}
target: {kind: characters}
training: {max_steps: 10}
"""


@pytest.mark.parametrize(("said", "columns"), [("0", 0), ("word", "word"), ("[0, word]", (0, "word"))])
def test_columns_by_number_or_name(write, said, columns):
    assert load_recipe(write(small=TABLE % said)).data.train[0].source == columns


WORD = "expected a whole number of at least 0 or text or a list of these"


@pytest.mark.parametrize("said", ["-1", "1.5", "true", "[0, [1]]", "[0, -1]", "null"])
def test_wrong_columns_are_one_complaint(complaints, said):
    found = {"[0, [1]]": "[0, [1]]", "null": "nothing (null)"}.get(said, said)
    assert complaints(small=TABLE % said) == [f"x.yaml:2: data.train[0].source: {WORD}, found {found}"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sed: 3", "12: sed: unknown key; did you mean 'seed'?"),
        ("beam: 3", "12: beam: unknown key; did you mean 'decoding.beam'?"),
        (
            "xyzzy: 3",
            "12: xyzzy: unknown key; known here: version, run, seed, data, source, target, "
            "joint_vocabulary, model, training, decoding, evaluation",
        ),
        ("model: {enc: {}}", "12: model.enc: unknown key; did you mean 'encoder'?"),
        (
            "model:\n  encoder:\n    kind: lstn",
            "14: model.encoder.kind: found 'lstn'; did you mean 'lstm'? "
            "(one of rnn, gru, lstm, transformer, conformer)",
        ),
        (
            "model: {encoder: {kind: conv}}",
            "12: model.encoder.kind: expected one of rnn, gru, lstm, transformer, conformer, found 'conv'",
        ),
        (
            "model: {encoder: {kind: 3}}",
            "12: model.encoder.kind: expected one of rnn, gru, lstm, transformer, conformer, found 3",
        ),
        (
            "model: {encoder: {kind: [lstm]}}",
            "12: model.encoder.kind: expected one of rnn, gru, lstm, transformer, conformer, found ['lstm']",
        ),
        (
            "model: {encoder: {layers: 2}}",
            "12: model.encoder.kind: missing; it is one of rnn, gru, lstm, transformer, conformer",
        ),
        ("model: {encoder: lstm}", "12: model.encoder: expected a section, found 'lstm'; write {kind: lstm}"),
        ("model: {encoder: null}", "12: model.encoder: expected a section, found nothing (null)"),
        (
            "model: {encoder: {kind: lstm, heads: 4}}",
            "12: model.encoder.heads: has no effect with kind lstm (it belongs to transformer, conformer)",
        ),
        (
            "decoding: {method: greedy, top_k: 3}",
            "12: decoding.top_k: has no effect with method greedy (it belongs to sample, mbr)",
        ),
        (
            "evaluation: {metrics: [{name: ter, word_order: 2}]}",
            "12: evaluation.metrics[0].word_order: has no effect with name ter (it belongs to chrf)",
        ),
        (
            "evaluation: {metrics: [blue]}",
            "12: evaluation.metrics[0]: found 'blue'; did you mean 'bleu'? "
            "(one of bleu, chrf, ter, exact_match, cer, wer, rouge1, rouge2, rougeL, mse, mae, smape, mase, "
            "crps)",
        ),
        (
            "model: {frontend: {kernels: [0]}}",
            "12: model.frontend.kernels: expected a list, each item a whole number of at least 1, found [0]",
        ),
        ("evaluation: {metrics: bleu}", "12: evaluation.metrics: expected a list of sections, found 'bleu'"),
        (
            "seed: '3'",
            "12: seed: expected a whole number of at least 0 and up to 4294967295, found '3'; "
            "write it without quotes",
        ),
        (
            "seed: 1_000",
            "12: seed: expected a whole number of at least 0 and up to 4294967295, found '1_000'; "
            "write the digits only",
        ),
        ("seed: 1.0", "12: seed: expected a whole number of at least 0 and up to 4294967295, found 1.0"),
        ("seed: true", "12: seed: expected a whole number of at least 0 and up to 4294967295, found true"),
        (
            "joint_vocabulary: yes",
            "12: joint_vocabulary: expected true or false, found 'yes'; did you mean true?",
        ),
        ("joint_vocabulary: 1", "12: joint_vocabulary: expected true or false, found 1"),
        ("run: 12", "12: run: expected text that is not empty, found 12; put text in quotes"),
        ("run: ''", "12: run: expected text that is not empty, found ''"),
        ("version: 2", "12: version: expected 1, found 2"),
        (
            "model: {tie: null}",
            "12: model.tie: found nothing (null); did you mean 'none'? "
            "(one of none, decoder, encoder_decoder, all)",
        ),
        (
            "decoding: {method: beam, length_penalty: .nan}",
            "12: decoding.length_penalty: expected a number of at least 0, found nan",
        ),
        (
            "decoding: {method: beam, length_penalty: 1e999}",
            "12: decoding.length_penalty: expected a number of at least 0, found inf",
        ),
        ("seed: &one 1", "12: seed: anchors (&one) are not allowed; write each value out"),
        ("seed: *one", "12: seed: aliases (*one) are not allowed; write the value out"),
        ("source: {kind: bytes}", "12: source: key given twice; first at line 6"),
        ("decoding: {method: beam, nbest: 9}", "12: decoding: `nbest` 9 is more than `beam` 5"),
        (
            "decoding: {method: beam, min_length: 9, max_length: 9}",
            "12: decoding: `min_length` 9 does not fit into `max_length` 9",
        ),
        (
            "decoding: {method: beam, coverage_penalty: 1}\n"
            "model: {decoder: {kind: gru, attention: {kind: none}}}",
            "12: `decoding.coverage_penalty` has no effect without `model.decoder.attention`",
        ),
        (
            "model:\n  decoder:\n    kind: gru\n    attention:\n      kind: none\n    input_feeding: true",
            "17: model.decoder: `input_feeding` has no effect with `attention.kind: none`",
        ),
        ("model:\n  tie: all", "13: `model.tie: all` needs `joint_vocabulary: true`"),
        (
            "model: {encoder: {kind: lstm,\n  width: 255}}",
            "13: model.encoder: `width` 255 is odd, but a bidirectional encoder halves it",
        ),
        (
            "'a\\nb': 1",
            "12: 'a\\\\nb': unknown key; known here: version, run, seed, data, source, target, "
            "joint_vocabulary, model, training, decoding, evaluation",
        ),
    ],
)
def test_a_fault_is_one_line_with_its_place_and_a_cure(complaints, text, complaint):
    assert complaints(text) == [f"x.yaml:{complaint}"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("clip_norm: -1", "training.clip_norm: expected a number above 0, found -1"),
        ("lrr: 1", "training.lrr: unknown key; did you mean 'optimizer.learning_rate'?"),
        ("batch_size: 80", "training.batch_size: unknown key; did you mean 'batch_tokens'?"),
        (
            "batch_tokens: aut",
            "training.batch_tokens: expected a whole number of at least 1 or auto, found 'aut'; "
            "did you mean 'auto'?",
        ),
        ("batch_tokens: 0", "training.batch_tokens: expected a whole number of at least 1 or auto, found 0"),
        (
            "seed: 3",
            "training.seed: unknown key; did you mean 'seed' or 'decoding.seed' or 'evaluation.seed'?",
        ),
        (
            "optimizer: {learning_rate: 1}",
            "training.optimizer.kind: missing; it is one of sgd, adam, adamw, adafactor",
        ),
        (
            "objective: {label_smoothing: 0}",
            "training.objective.kind: missing; it is one of cross_entropy, ctc, squared, absolute, huber, "
            "quantile, gaussian, student_t",
        ),
        (
            "objective: {kind: crossentropy}",
            "training.objective.kind: found 'crossentropy'; did you mean "
            "'cross_entropy'? (one of cross_entropy, ctc, squared, absolute, huber, quantile, gaussian, "
            "student_t)",
        ),
        ("early_stopping: 3", "training.early_stopping: expected a section, found 3"),
        (
            "early_stopping: {patience: 0}",
            "training.early_stopping.patience: expected a whole number of at least 1, found 0",
        ),
        (
            "optimizer: {kind: sgd, nesterov: true}",
            "training.optimizer: `nesterov` has no effect without `momentum`",
        ),
        (
            "schedule: {kind: cosine, steps: 5, warmup_steps: 5}",
            "training.schedule: `steps` 5 leaves nothing after `warmup_steps` 5",
        ),
        (
            "watch: bleu",
            "`training.watch: bleu` is none of loss; a metric is watched where `evaluation.metrics` has it",
        ),
    ],
)
def test_faults_of_training(complaints, small_text, line, complaint):
    assert complaints(small=f"{small_text}  {line}\n") == [f"x.yaml:12: {complaint}"]


def test_all_faults_come_at_once_in_the_order_of_the_file(complaints):
    found = complaints(
        """
        model:
          encoder: {kind: lstm, wdth: 3}
          decoder: {kind: gru, dropout: 2}
        evaluation: {metrics: [{name: bleu, tokenize: mose}, {label: x}]}
        """,
        small="""\
data:
  trian:
    - source: a
  dev: {file: 3}
source: {kind: characters, min_count: 0}
target: characters
""",
    )
    assert found == [
        "x.yaml:1: training: missing",
        "x.yaml:2: data.trian: unknown key; did you mean 'train'?",
        "x.yaml:4: data.dev.file: expected text, found 3; put text in quotes",
        "x.yaml:5: source.min_count: expected a whole number of at least 1, found 0",
        "x.yaml:6: target: expected a section, found 'characters'; write {kind: characters}",
        "x.yaml:9: model.encoder.wdth: unknown key; did you mean 'width'?",
        "x.yaml:10: model.decoder.dropout: expected a number of at least 0 and below 1, found 2",
        "x.yaml:11: evaluation.metrics[0].tokenize: found 'mose'; did you mean 'moses'? "
        "(one of 13a, intl, char, zh, none, moses)",
        "x.yaml:11: evaluation.metrics[1].name: missing; it is one of bleu, chrf, ter, "
        "exact_match, cer, wer, "
        "rouge1, rouge2, rougeL, mse, mae, smape, mase, crps",
    ]


def test_contradictions_of_one_section_come_together(complaints):
    found = complaints(
        small="""\
data:
  train:
    - file: a.tsv
      merge: true
  dev: {file: b.tsv, weight: 2}
  test: {file: c.tsv}
  held_out_dev: 0.1
  held_out_test: 0.1
source: {kind: bytes}
target: {kind: bytes}
training:
  schedule: {kind: linear}
"""
    )
    assert found == [
        "x.yaml:5: data: `dev` and `held_out_dev` contradict each other: give one",
        "x.yaml:6: data: `test` and `held_out_test` contradict each other: give one",
        "x.yaml:11: training: nothing ends the run: give `max_steps`, `max_epochs`, `max_minutes` "
        "or `early_stopping`",
        "x.yaml:12: training: `schedule: linear` needs `schedule.steps` or `max_steps`",
    ]


def test_options_without_effect_on_a_corpus(complaints, small_text):
    small = small_text.replace(
        "  held_out_dev: 0.1\n", "      merge: true\n  dev:\n    file: b\n    weight: 2\n"
    )
    assert complaints(small=small) == [
        "x.yaml:5: data: `train[0].merge` has no effect: each target of a source is a training "
        "example of its own",
        "x.yaml:8: data: `dev.weight` has no effect: only training corpora are mixed",
    ]


def test_a_misspelt_kind_is_not_missing_too(complaints):
    assert complaints("model: {encoder: {knd: lstm, width: 4}}") == [
        "x.yaml:12: model.encoder.knd: unknown key; did you mean 'kind'?"
    ]


def test_a_thousand_faults_are_not_a_thousand_lines(complaints):
    found = complaints("".join(f"key{number}: 1\n" for number in range(1000)))
    assert len(found) == 101
    assert found[-1] == "and more complaints"


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "1: empty; a recipe has at least `data`, `source`, `target` and `training`"),
        (b"# nothing\n", "1: empty; a recipe has at least `data`, `source`, `target` and `training`"),
        (b"\n- a\n", "2: expected keys with values at the top, found ['a']"),
        (b"just text", "1: expected keys with values at the top, found 'just text'"),
        (b"seed: 1\nrun: \xff", "2: not UTF-8: found byte 0xff; save it as UTF-8"),
        (
            b"seed: [1\n",
            "2: not YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'",
        ),
        (b"#" * 2_000_000, "1: larger than 1,000,000 bytes: that is not a recipe"),
    ],
)
def test_files_that_are_no_recipes(tmp_path, monkeypatch, raw, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_bytes(raw)
    with pytest.raises(RecipeError) as error:
        load_recipe("x.yaml")
    assert error.value.complaints == (f"x.yaml:{complaint}",)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="^none.yaml: cannot be read: No such file or directory$"):
        load_recipe("none.yaml")
    with pytest.raises(RecipeError, match="cannot be read: Is a directory$"):
        load_recipe(tmp_path)


def test_paths_of_a_file_are_relative_to_it_and_those_of_overrides_to_where_you_are(
    write, small_text, tmp_path
):
    (tmp_path / "inner").mkdir()
    write(
        "run: ../here\n",
        small_text.replace("data:", "data:\n  folder: corpora\n  cache: cache"),
        "inner/y.yaml",
    )
    recipe = load_recipe("inner/y.yaml")
    assert recipe.run == str(tmp_path / "here")
    assert recipe.data.folder == str(tmp_path / "inner" / "corpora")
    assert recipe.data.cache == str(tmp_path / "inner" / "cache")
    assert recipe.data.train[0].source == "a.source"
    recipe = load_recipe("inner/y.yaml", ["run=r", "data.folder=f", "data.cache=c", "data.train[0].source=b"])
    assert recipe.run == str(tmp_path / "r")
    assert recipe.data.folder == str(tmp_path / "f")
    assert recipe.data.cache == str(tmp_path / "c")
    assert recipe.data.train[0].source == "b"


def test_paths_that_the_file_leaves_out(write, tmp_path):
    (tmp_path / "inner").mkdir()
    recipe = load_recipe(write(name="inner/y.yaml"))
    assert recipe.run == str(tmp_path / "runs" / "y")
    assert recipe.data.folder == str(tmp_path / "inner")
    assert recipe.data.cache is None


def test_home_is_known(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_recipe(write("run: ~/r\n")).run == str(tmp_path / "r")


def test_a_dict_is_checked_like_a_file(small, tmp_path):
    recipe = recipe_from(small, tmp_path)
    assert recipe.data.folder == str(tmp_path)
    assert recipe.run == "/runs/small"
    with pytest.raises(RecipeError) as error:
        recipe_from({**small, "training": {"max_step": 1}, "seed": "1", 3: 4})
    assert error.value.complaints == (
        "seed: expected a whole number of at least 0 and up to 4294967295, found '1'; write it "
        "without quotes",
        "training.max_step: unknown key; did you mean 'max_steps'?",
        "3: unknown key; known here: version, run, seed, data, source, target, joint_vocabulary, "
        "model, training, "
        "decoding, evaluation",
    )


def test_a_dict_may_hold_sections_tuples_and_paths(small, tmp_path):
    held = {
        **small,
        "run": tmp_path,
        "data": {**small["data"], "train": tuple(small["data"]["train"])},
        "training": Training(max_steps=10),
    }
    assert recipe_from(held) == recipe_from({**small, "run": str(tmp_path)})


def test_a_dict_needs_a_run(small):
    del small["run"]
    with pytest.raises(RecipeError, match="^run: missing$"):
        recipe_from(small)


def test_a_dict_that_holds_itself_is_refused(small):
    small["model"] = small
    with pytest.raises(RecipeError, match="more than 20 levels deep"):
        recipe_from(small)


def test_values_that_no_file_can_hold_are_refused(small):
    with pytest.raises(RecipeError, match="^seed: expected a whole number .*, found a Python object$"):
        recipe_from({**small, "seed": object()})
    with pytest.raises(RecipeError, match="^source.remove: half of a surrogate pair is not text$"):
        recipe_from({**small, "source": {"kind": "bytes", "remove": "\ud800"}})


def test_recipes_are_frozen(small):
    with pytest.raises(ValueError, match="frozen"):
        recipe_from(small).seed = 3


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_a_recipe_or_a_recipe_error(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert all(line and "\n" not in line for line in error.value.complaints)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["kind", "name", "lstm", "transformer", "bleu", "table", "file"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.text(max_size=3)
                | st.sampled_from(["kind", "name", "method", "file", "width", "train", "metrics"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from(
        [
            *Recipe.model_fields,
            "data.train",
            "data.dev",
            "model.encoder",
            "model.decoder.attention",
            "evaluation.metrics",
            "training.optimizer",
        ]
    ),
)
def test_anything_in_any_place_is_a_recipe_or_a_recipe_error(value, place):
    given = {
        "run": "/r",
        "data": {"train": [{"source": "a", "target": "b"}], "held_out_dev": 0.1},
        "source": {"kind": "bytes"},
        "target": {"kind": "bytes"},
        "model": {"decoder": {"kind": "lstm"}},
        "training": {"max_steps": 1},
        "evaluation": {},
    }
    *sections, last = place.split(".")
    holder = given
    for section in sections:
        holder = holder[section]
    holder[last] = value
    try:
        recipe = recipe_from(given)
    except RecipeError as error:
        assert all(line and "\n" not in line for line in error.complaints)
    else:
        assert override(recipe, []) == recipe
