"""What is scored and was trained on: found, counted, scored without, and said to be unknown."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dragoman
from dragoman.evaluation.evaluate import evaluate, format_scores, summary, write_report
from dragoman.evaluation.overlap import NotKnown, Overlap, find_overlap, format_overlap, plain
from dragoman.evaluation.scored_set import read_examples
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example

TRAINED = [
    ("the cat sat.", "die Katze sass."),
    ("the cat sat.", "es sass die Katze."),
    ("A dog, barking", "ein Hund"),
    ("3-4", "-1"),
    ("e\u0301te\u0301", "summer"),
]
SCORED = [
    Example("the cat sat.", ("Da war eine Katze.", "die Katze sass.")),
    Example("the cat sat.", ("die Katze lag.",)),
    Example("a dog -- barking!", ("Ein Hund.",)),
    Example("a dog barking", ("zwei Hunde",)),
    Example("3+4", ("7",)),
    Example("3 - 4", ("-1",)),
    Example("a bird", ("ein Vogel",)),
]


def recipe_of(folder, **more):
    rows = "".join(f"{source}\t{target}\n" for source, target in TRAINED)
    (folder / "train.tsv").write_text(rows, "utf-8")
    return recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "train.tsv"}], "held_out_dev": 0.001},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "training": {"max_steps": 1},
            **more,
        },
        folder,
    )


def test_sources_and_pairs_are_found_to_the_letter_and_nearly(tmp_path):
    found = find_overlap(recipe_of(tmp_path), SCORED)
    assert found == Overlap(7, 5, 2, 1, 4, 2, frozenset({0, 1, 2, 3}))
    assert format_overlap(found) == (
        "OVERLAP: of the 7 sources 2 (28.6%) are among the 5 training examples and 2 more but for case, "
        "spaces and punctuation; 2 with a reference as target"
    )


def test_where_nothing_overlaps_that_is_said(tmp_path):
    found = find_overlap(recipe_of(tmp_path), SCORED[-1:])
    assert found == Overlap(1, 5, 0, 0, 0, 0, frozenset())
    assert format_overlap(found) == "overlap: none of the 1 sources is among the 5 training examples"


def test_only_the_training_side_of_held_out_files_counts(tmp_path):
    data = {"train": [{"file": "train.tsv"}], "held_out_dev": 0.999}
    found = find_overlap(recipe_of(tmp_path, data=data), SCORED)
    assert (found.trained, found.near_sources) == (0, 0)


def test_training_data_that_are_gone_are_no_fault(tmp_path):
    recipe = recipe_of(tmp_path)
    (tmp_path / "train.tsv").unlink()
    found = find_overlap(recipe, SCORED)
    assert isinstance(found, NotKnown)
    assert "train.tsv" in found.reason
    assert format_overlap(found).startswith("overlap with the training data is not known: ")


@given(st.text(alphabet="aB ,.-\t!é", max_size=12))
def test_near_is_an_equivalence_that_levels_case_space_and_punctuation(text):
    assert plain(plain(text)) == plain(text)
    if any(map(str.isalpha, text)):
        assert plain(text.upper()) == plain(text)
        assert plain(f" {text.replace(' ', '  ')} ...") == plain(text)


def test_near_keeps_what_tells_words_and_numbers_apart():
    assert plain("ab") != plain("a b")
    assert plain("3-4") != plain("3+4")
    assert plain("1.5") != plain("15")
    assert plain("कि") != plain("का"), "vowel signs are no punctuation"
    assert plain("Strasse") == plain("Straße")


def test_recordings_are_the_same_where_they_share_sound(speech_run):
    recipe = dragoman.load_recipe(speech_run / "recipe.yaml")
    sounds = speech_run.parent / "sounds"
    examples = [
        Example(str(sounds / "3.wav"), ("tone 0",)),
        Example(f"{sounds / '3.wav'}#t=0.1,0.2", ("another",)),
        Example(str(sounds / "99.wav"), ("tone 0",)),
    ]
    found = find_overlap(recipe, examples)
    assert found == Overlap(3, 12, 2, 1, 2, 1, frozenset({0, 1}))


def test_parts_of_one_recording_overlap_where_their_seconds_do(speech_run, tmp_path):
    (tmp_path / "sounds").symlink_to(speech_run.parent / "sounds")
    rows = ["file\ttext\tbegin\tduration\n", "sounds/3.wav\ttone 0\t0.05\t0.1\n"]
    (tmp_path / "list.tsv").write_text("".join(rows), "utf-8")
    recipe = dragoman.load_recipe(speech_run / "recipe.yaml")
    data = {"train": [{"manifest": "list.tsv", "begin": "begin", "duration": "duration"}]}
    recipe = recipe.model_copy(
        update={
            "data": recipe_from(
                {**recipe.model_dump(), "data": {**data, "held_out_dev": 0.001}}, tmp_path
            ).data
        }
    )
    path = tmp_path / "sounds" / "3.wav"
    examples = [
        Example(f"{path}#t={part}", ("x",)) for part in ("0,0.05", "0.04,0.06", "0.14,0.2", "0.15,0.2")
    ]
    assert find_overlap(recipe, examples).seen == {1, 2}


def test_series_are_not_looked_up(series_run):
    assert find_overlap(dragoman.load_recipe(series_run / "recipe.yaml"), SCORED) is None
    report = dragoman.evaluate(series_run)
    assert report.overlap is None
    assert "overlap" not in summary(report)


def test_what_is_left_is_scored_and_reported(speech_run, tmp_path):
    """The dev set of this run is its training set: of it a part is left when the list is changed."""
    changes = ["evaluation.metrics=[cer]", "evaluation.bootstrap_samples=100"]
    whole = dragoman.evaluate(speech_run, *changes, split="dev")
    assert whole.overlap.sources == whole.examples == 12
    assert whole.overlap.scores == ()
    bundle = dragoman.load(speech_run)
    examples = read_examples(bundle.recipe, (), None, "dev")
    section = dragoman.recipe.loading.override(bundle.recipe, changes).evaluation
    seen = replace(whole.overlap, sources=5, near_sources=5, near_pairs=4, pairs=4, seen=frozenset(range(5)))
    part = evaluate(bundle, examples, evaluation=section, overlap=seen)
    alone = evaluate(bundle, examples[5:], evaluation=section)
    assert part.overlap.scores == alone.scores
    lines = format_scores(part).splitlines()
    assert lines[-3].startswith("OVERLAP: of the 12 sources 5 (41.7%) are among the 12 training examples;")
    assert lines[-2] == "the 7 examples without these:"
    assert lines[-1].startswith(f"  cer  {alone.scores[0].value:.2f}")
    write_report(part, tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text("utf-8"))["overlap"]
    assert written["is_known"] is True
    assert (written["sources"], written["training_examples"]) == (5, 12)
    assert written["scores_without"]["cer"]["value"] == alone.scores[0].value
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert [row.get("seen_in_training", False) for row in rows] == [True] * 5 + [False] * 7


def test_it_can_be_left_out_and_may_be_unknown(speech_run, tmp_path):
    assert dragoman.evaluate(speech_run, split="dev", overlap=False).overlap is None
    unknown = replace(dragoman.evaluate(speech_run, split="dev"), overlap=NotKnown("gone"))
    assert format_scores(unknown).splitlines()[-1] == "overlap with the training data is not known: gone"
    assert summary(unknown)["overlap"] == {"is_known": False, "reason": "gone"}


@pytest.mark.parametrize("count", [1, 2])
def test_one_is_one(count):
    found = Overlap(4, 9, count, 0, count, 0, frozenset(range(count)))
    assert (" is among " if count == 1 else " are among ") in format_overlap(found)
