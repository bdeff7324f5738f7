import pytest

from dragoman.errors import RecipeError
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.recipe.loading import load_recipe, override, recipe_from
from dragoman.recipe.metrics import Bleu
from dragoman.recipe.model import (
    AdditiveAttention,
    RecurrentDecoder,
    RecurrentEncoder,
    ScaledDotAttention,
    TransformerEncoder,
)
from dragoman.recipe.run import SGD, Adam, EarlyStopping


def refused(act):
    with pytest.raises(RecipeError) as error:
        act()
    return list(error.value.complaints)


def test_sections_that_the_file_leaves_out_start_as_their_defaults(write):
    recipe = load_recipe(
        write(), ["model.encoder.layers=4", "decoding.beam=3", "training.optimizer.learning_rate=1e-4"]
    )
    assert recipe.model.encoder == TransformerEncoder(kind="transformer", layers=4)
    assert recipe.decoding == Beam(method="beam", beam=3)
    assert recipe.training.optimizer == Adam(kind="adam", learning_rate=1e-4)


def test_sections_that_the_file_has_keep_what_it_says(write):
    path = write("model: {encoder: {kind: gru, width: 64}}\ndecoding: {method: greedy, min_length: 2}\n")
    recipe = load_recipe(path, ["model.encoder.layers=4", "decoding.max_length=9"])
    assert recipe.model.encoder == RecurrentEncoder(kind="gru", width=64, layers=4)
    assert recipe.decoding == Greedy(method="greedy", min_length=2, max_length=9)


def test_optional_sections_come_into_being(write):
    recipe = load_recipe(
        write(), ["training.early_stopping.patience=3", "data.held_out_dev=0", "data.dev.file=d.tsv"]
    )
    assert recipe.training.early_stopping == EarlyStopping(patience=3)
    assert recipe.data.dev.file == "d.tsv"


@pytest.mark.parametrize("key", ["data.train[0].weight", "data.train.0.weight"])
def test_items_of_lists_by_their_number(write, key):
    assert load_recipe(write(), [f"{key}=2"]).data.train[0].weight == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.clip_norm=null", None),
        ("training.clip_norm=.5", 0.5),
        ("training.clip_norm=1e-4", 1e-4),
        ("training.batch_tokens=auto", "auto"),
        ("training.tensorboard=true", True),
        ("source.remove='012'", "012"),
        ('source.remove="="', "="),
        ("source.remove=a=b", "a=b"),
        ("data.train[0].target=[a, b]", ("a", "b")),
    ],
)
def test_values_follow_the_rules_of_a_file(write, text, value):
    recipe = load_recipe(write(), [text])
    found = recipe
    for step in text.split("=")[0].replace("[0]", ".0").split("."):
        found = found[int(step)] if step.isdigit() else dict(found)[step]
    assert (found, type(found)) == (value, type(value))


def test_a_dict_replaces_the_section(write):
    path = write("decoding: {method: beam, beam: 7, max_length: 50}\n")
    assert load_recipe(path, ["decoding={method: beam, nbest: 2}"]).decoding == Beam(method="beam", nbest=2)


def test_the_order_of_overrides_does_not_matter(write):
    path = write()
    overrides = [
        "model.decoder.attention.heads=2",
        "model.decoder.kind=lstm",
        "model.decoder.attention.kind=scaled_dot",
        "decoding.beam=3",
        "decoding={method: beam, nbest: 2}",
    ]
    recipe = load_recipe(path, overrides)
    assert recipe == load_recipe(path, overrides[::-1])
    assert recipe.model.decoder == RecurrentDecoder(
        kind="lstm", attention=ScaledDotAttention(kind="scaled_dot", heads=2)
    )
    assert recipe.decoding == Beam(method="beam", beam=3, nbest=2)


def test_defaults_inside_a_kind_that_an_override_chose(write):
    recipe = load_recipe(write(), ["model.decoder.kind=lstm", "model.decoder.attention.width=9"])
    assert recipe.model.decoder.attention == AdditiveAttention(kind="additive", width=9)


def test_switching_a_kind_takes_the_defaults_of_the_new_one(write):
    recipe = load_recipe(
        write(), ["model.encoder.kind=lstm", "decoding.method=greedy", "training.optimizer.kind=sgd"]
    )
    assert recipe.model.encoder == RecurrentEncoder(kind="lstm")
    assert recipe.decoding == Greedy(method="greedy")
    assert recipe.training.optimizer == SGD(kind="sgd")


def test_switching_a_kind_keeps_what_the_file_says_of_both_and_refuses_the_rest(write):
    path = write("model: {encoder: {kind: transformer, width: 64}}\n")
    assert load_recipe(path, ["model.encoder.kind=lstm"]).model.encoder == RecurrentEncoder(
        kind="lstm", width=64
    )
    path = write("model:\n  encoder:\n    kind: transformer\n    heads: 4\n")
    assert refused(lambda: load_recipe(path, ["model.encoder.kind=lstm"])) == [
        "x.yaml:15: model.encoder.heads: has no effect with kind lstm "
        "(it belongs to transformer, conformer); to replace the whole section: model.encoder={kind: lstm}"
    ]
    assert load_recipe(path, ["model.encoder={kind: lstm}"]).model.encoder == RecurrentEncoder(kind="lstm")


def test_a_name_of_a_metric_becomes_a_section(write):
    recipe = load_recipe(
        write("evaluation: {metrics: [cer, bleu]}\n"), ["evaluation.metrics[1].lowercase=true"]
    )
    assert recipe.evaluation.metrics[1] == Bleu(name="bleu", lowercase=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("training.lrr=3", "training.lrr: unknown key; did you mean 'optimizer.learning_rate'?"),
        ("trainng.max_steps=3", "trainng: unknown key; did you mean 'training'?"),
        (
            "model.encoder.kind=lstn",
            "model.encoder.kind: found 'lstn'; did you mean 'lstm'? "
            "(one of rnn, gru, lstm, transformer, conformer)",
        ),
        ("decoding.top_k=3", "decoding.top_k: has no effect with method beam (it belongs to sample, mbr)"),
        ("training.clip_norm=-1", "training.clip_norm: expected a number above 0, found -1"),
        (
            "training.clip_norm='1'",
            "training.clip_norm: expected a number above 0, found '1'; write it without quotes",
        ),
        ("model.encoder.width=250", "model.encoder: `width` 250 is not a multiple of `heads` 4"),
        ("decoding={beam: 3}", "decoding.method: missing; it is one of greedy, beam, sample"),
        ("data.train[0]={file: 3}", "data.train[0].file: expected text, found 3; put text in quotes"),
        (
            "data.train[1].weight=2",
            "data.train: is a list with items 0 to 0, found '1'; to replace the list: data.train=[…]",
        ),
        (
            "data.train.weight=2",
            "data.train: is a list with items 0 to 0, found 'weight'; to replace the list: data.train=[…]",
        ),
        ("data.train=[]", "data.train: expected at least one item, found []"),
        ("training.max_steps.x=3", "training.max_steps: is 10, not a section: it has no 'x'"),
        ("training[0]=3", "training.0: unknown key; known here: "),
        ("seed", "expected key=value, for instance decoding.beam=3"),
        ("=3", "expected key=value, for instance decoding.beam=3"),
        ("a..b=3", "expected key=value, for instance decoding.beam=3"),
        ("a b=3", "expected key=value, for instance decoding.beam=3"),
        ("data.train[x]=3", "expected key=value, for instance decoding.beam=3"),
        ("seed=", "seed: expected a whole number of at least 0 and up to 4294967295, found nothing (null)"),
        ("seed=[1", "not YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"),
        ("seed=&x 1", "seed: anchors (&x) are not allowed; write each value out"),
        ("source={kind: bytes, kind: words}", "source.kind: key given twice; first at line 1"),
    ],
)
def test_overrides_complain_in_their_own_name(write, text, complaint):
    (found,) = refused(lambda: load_recipe(write(), [text]))
    assert found.startswith(f"override {text!r}: {complaint}")


def test_an_override_that_mends_the_file_is_enough(write):
    path = write("seed: x\ndecoding: {method: beam, beam: 0}\n")
    recipe = load_recipe(path, ["seed=3", "decoding={method: greedy}"])
    assert (recipe.seed, recipe.decoding) == (3, Greedy(method="greedy"))


def test_a_key_given_twice_is_refused(write):
    assert refused(lambda: load_recipe(write(), ["seed=3", "seed=4"])) == [
        "override 'seed=4': this key is given twice; first by 'seed=3'"
    ]


def test_complaints_about_the_file_come_before_those_about_overrides(write):
    path = write("joint_vocabulary: yes\n")
    assert refused(lambda: load_recipe(path, ["sead=4", "training.log_every=0", "seed=-1"])) == [
        "x.yaml:12: joint_vocabulary: expected true or false, found 'yes'; did you mean true?",
        "override 'sead=4': sead: unknown key; did you mean 'seed'?",
        "override 'training.log_every=0': training.log_every: expected a whole number of at least 1, found 0",
        "override 'seed=-1': seed: expected a whole number of at least 0 and up to 4294967295, found -1",
    ]


def test_loaded_recipes_are_overridden_by_the_same_rules(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_from(small, "/data")
    changed = override(recipe, ["decoding.beam=3", "run=here"])
    assert changed.decoding == Beam(method="beam", beam=3)
    assert changed.run == str(tmp_path / "here")
    assert changed.data == recipe.data
    assert recipe.decoding.beam == 5
    assert refused(lambda: override(recipe, ["decoding.bean=3"])) == [
        "override 'decoding.bean=3': decoding.bean: unknown key; did you mean 'beam'?"
    ]


def test_a_loaded_recipe_forgets_the_keys_of_a_kind_that_is_replaced(small):
    recipe = recipe_from({**small, "decoding": {"method": "beam", "length_penalty": 0.6, "max_length": 50}})
    assert override(recipe, ["decoding.method=greedy"]).decoding == Greedy(method="greedy", max_length=50)
    sampled = override(recipe, ["decoding.top_k=3", "decoding.method=sample"])
    assert sampled.decoding == Sample(method="sample", max_length=50, top_k=3)
    assert refused(lambda: override(recipe, ["decoding.beam=3", "decoding.method=greedy"])) == [
        "override 'decoding.beam=3': decoding.beam: has no effect with method greedy "
        "(it belongs to beam, mbr, ctc_beam)"
    ]


def test_a_metric_of_a_loaded_recipe_can_change_its_kind(small):
    recipe = recipe_from(
        {**small, "evaluation": {"metrics": ["exact_match", {"name": "chrf", "word_order": 2}]}}
    )
    changed = override(recipe, ["evaluation.metrics[1].name=bleu"])
    assert changed.evaluation.metrics[1] == Bleu(name="bleu")
