"""The verb explain: text, sound and series in; text, JSON and a page out."""

import json

import numpy as np
import pytest

import dragoman
from dragoman.cli.program import app
from dragoman.errors import RecipeError, UserError
from dragoman.recipe.data import Table

GRU = {"kind": "gru", "width": 8}


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    rows = "".join(f"{word}\t{word.upper()}\n" for word in ("ab", "ba", "aab", "abb", "bab"))
    folder.joinpath("pairs.tsv").write_text(rows, "utf-8")
    recipe = {
        "run": str(folder / "run"),
        "data": {"train": [{"file": "pairs.tsv"}], "dev": {"file": "pairs.tsv"}, "cache": "cache"},
        "source": {"kind": "characters"},
        "target": {"kind": "characters"},
        "model": {"encoder": GRU, "decoder": GRU},
        "training": {
            "max_steps": 2,
            "validate_every": 2,
            "checkpoint_every": 2,
            "threads": 1,
            "precision": "fp32",
        },
        "decoding": {"method": "beam", "beam": 3, "max_length": 4},
    }
    dragoman.train(dragoman.recipe_from(recipe, folder))
    return folder / "run"


@pytest.fixture
def explained(capsysbinary):
    """Run the verb here and return what it prints and what it says."""

    def run(*arguments):
        app(["explain", *map(str, arguments)], standalone_mode=False)
        out, said = capsysbinary.readouterr()
        return out.decode(), said.decode()

    return run


def test_it_says_where_an_answer_comes_from(explained, text_run):
    out, _ = explained(text_run, "ab", "--target", "AB")
    assert out.startswith("source  ab\nanswer  AB (given)\n")
    for part in ("probability", "attention (mean)", "occlusion", "search: beam of 3"):
        assert part in out


def test_it_writes_json_and_a_page(explained, text_run, tmp_path):
    page = tmp_path / "new" / "why.html"
    out, said = explained(text_run, "ab", "decoding.beam=2", "--html", page, "--json")
    written = json.loads(out)
    assert written["answer"]["is_given"] is False
    assert written["search"]["width"] == 2
    methods = [one["method"] for one in written["attributions"]]
    assert methods == ["attention", "gradient_input", "occlusion", "contrastive"]
    assert list(written["left_out"]) == ["rollout"]
    assert f"page: {page}" in said
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_it_says_which_method_to_trust(explained, text_run, tmp_path):
    out, _ = explained(text_run, "ab", "--target", "AB", "--trust")
    assert "Trust " in out and "fresh weights" in out
    out, _ = explained(text_run, "ab", "--target", "AB", "--json", "--method", "attention", "--trust")
    assert list(json.loads(out)["trust"]["fresh_weights"]) == ["attention"]
    with pytest.raises(UserError, match="no method to weigh"):
        options = ["--target", "AB", "--method", "contrastive", "--step", "1", "--trust"]
        app(["explain", str(text_run), "ab", *options])


def test_it_contrasts_one_step_with_a_foil(explained, text_run):
    options = ("--target", "AB", "--step", 1, "--foil", "B", "--method", "contrastive")
    out, _ = explained(text_run, "ab", "--json", *options)
    (contrast,) = json.loads(out)["attributions"]
    assert contrast["steps"] == [0]
    assert "B" in contrast["part"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--method", "magic"), "--method: expected attention, rollout, .*; found 'magic'"),
        (("--method", "all", "--method", "attention"), "or usual, quick, all alone; found 'all'"),
        (("--target", "AB", "--step", "9"), "step: expected 1 to 3, the steps of this answer, found 9"),
        (("--series", "north"), "--series is for models of series"),
        (("--device", "moon"), "--device: expected auto, cpu or cuda, found 'moon'"),
    ],
)
def test_it_refuses_what_has_no_effect(text_run, options, complaint):
    with pytest.raises(UserError, match=complaint):
        app(["explain", str(text_run), "ab", *options])


def test_words_behind_the_input_are_changes(text_run):
    with pytest.raises(RecipeError, match="override 'nonsense': expected key=value"):
        app(["explain", str(text_run), "ab", "nonsense"])


def test_sound_is_told_in_seconds(explained, speech_run, tmp_path):
    sound = speech_run.parent / "sounds" / "3.wav"
    out, _ = explained(speech_run, sound, "--target", "tone 0", "--html", tmp_path / "why.html")
    assert out.startswith(f"source  {sound}\nanswer  tone 0 (given)\n")
    assert "0.00 s" in out
    assert str(sound) in (tmp_path / "why.html").read_text("utf-8")


def test_of_a_series_the_last_window_is_explained(explained, series_run, tmp_path):
    path = tmp_path / "later.csv"
    times = np.datetime64("2022-01-01T00", "m") + 60 * np.arange(11)
    rows = [f"{name},{time},{50 + step}\n" for name in "ab" for step, time in enumerate(times)]
    path.write_text("name,time,load\n" + "".join(rows), "utf-8")
    out, _ = explained(series_run, path, "--series", "b", "--json")
    written = json.loads(out)
    assert written["source"]["id"] == "b"
    assert written["source"]["places"][-1]["label"] == str(times[-1]).replace("T", " ")
    assert written["search"] is None
    with pytest.raises(UserError, match="later.csv: name one of its 2 series with --series: a, b"):
        app(["explain", str(series_run), str(path)])
    with pytest.raises(UserError, match="name one of its 2 series"):
        app(["explain", str(series_run), str(path), "--series", "c"])


def test_words_are_aligned_from_python(text_run):
    bundle = dragoman.load(text_run)
    from_pairs = list(bundle.align([("ab", "AB"), ("ba", "BA")], method="occlusion"))
    assert [one.source_words for one in from_pairs] == [("ab",), ("ba",)]
    assert [one.links for one in from_pairs] == [((0, 0),), ((0, 0),)]
    table = Table(file=str(text_run.parent / "pairs.tsv"))
    from_data = list(dragoman.align(text_run, table, method="occlusion"))
    assert len(from_data) == 5
    for one, other in zip(from_pairs, from_data, strict=False):
        np.testing.assert_allclose(one.weights_JI, other.weights_JI)


def test_from_python(text_run):
    found = dragoman.load(text_run).explain("ab", "decoding.beam=2", methods=["occlusion"])
    assert [one.method for one in found.attributions] == ["occlusion"]
    assert found.tree.width == 2
    given = dragoman.load(text_run).explain("ab", "decoding.beam=2", target="AB", methods=["occlusion"])
    assert (given.subject.answer, given.tree.width) == ("AB", 2)
