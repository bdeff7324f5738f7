"""Tutorials say what is: their code runs, and what they quote of recipes stands there."""

from __future__ import annotations

import json
import re
import shlex
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from source import ROOT

from dragoman.data.corpus import read_corpus
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.loading import load_recipe, override
from dragoman.recipe.speech import Manifest

NUMBERS = (ROOT / "docs" / "tutorials" / "numbers.md").read_text("utf-8")
SPEECH = (ROOT / "docs" / "tutorials" / "speech.md").read_text("utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_loop_by_hand_learns(capsys):
    (code,) = blocks(NUMBERS, "python")
    names = {}
    exec(compile(code, "numbers.md", "exec"), names)
    assert names["loss"].item() < 0.1 * names["means"].var().item()
    assert "mean squared error 0.0" in capsys.readouterr().out


def test_the_quoted_model_is_that_of_the_recipe():
    (quoted,) = blocks(NUMBERS, "yaml")
    recipe = yaml.safe_load((ROOT / "recipes" / "lstm-mse.yaml").read_text("utf-8"))
    assert yaml.safe_load(quoted) == recipe["model"]


@pytest.mark.parametrize("quoted", blocks(SPEECH, "yaml"))
def test_what_is_quoted_of_the_recipe_of_speech_stands_there(quoted):
    recipe = yaml.safe_load((ROOT / "recipes" / "fsdd-strings.yaml").read_text("utf-8"))
    stands_in(yaml.safe_load(quoted), recipe)


def stands_in(quoted, recipe):
    for key, said in quoted.items():
        if isinstance(said, dict):
            stands_in(said, recipe[key])
        else:
            assert recipe[key] == said, key


def test_the_ways_to_write_speech_are_recipes():
    ways = re.findall(r"dragoman train recipes/fsdd-strings.yaml ((?:[^\\\n]|\\\n)*)", SPEECH)
    overrides = [shlex.split(way.replace("\\\n", " ")) for way in ways]
    overrides += [[said] for said in re.findall(r"`'(model\.\S+=\{.*?\})'`", SPEECH)]
    recipes = [load_recipe(ROOT / "recipes" / "fsdd-strings.yaml", given) for given in overrides]
    assert [recipe.training.objective.kind for recipe in recipes].count("ctc") == 1
    assert [recipe.model.encoder.kind for recipe in recipes].count("lstm") == 1
    assert len(recipes) == 4
    assert override(recipes[0], ["decoding.method=ctc_greedy"]).decoding.method == "ctc_greedy"


def test_rows_are_rejected_as_the_page_says(tmp_path):
    header, *_ = re.search(r"^    (file<TAB>.*)$", SPEECH, re.MULTILINE)[1].split("<TAB>seconds")
    rows = ["a.wav\t", "a.wav\ttwo", "sox 7.mp3 -t wav - |\tseven"]
    (tmp_path / "train.tsv").write_text("\n".join([header.replace("<TAB>", "\t"), *rows]) + "\n", "utf-8")
    rejects = Rejects(path=tmp_path / "rejected.jsonl")
    with pytest.raises(DataError, match="not one of its sound files is there"):
        list(read_corpus(Manifest(manifest="train.tsv"), tmp_path, rejects))
    kinds = {json.loads(line)["kind"] for line in blocks(SPEECH, "json")[0].splitlines()}
    assert set(rejects.counts) == {"missing audio", "a command"}
    assert set(rejects.counts) <= kinds


def test_the_recipes_of_the_readme_load(tmp_path):
    page = (ROOT / "README.md").read_text("utf-8")
    shown = re.findall(r"^    data:.*\n(?:    .*\n)+", page, re.MULTILINE)
    for number, text in enumerate(shown):
        path = tmp_path / f"{number}.yaml"
        path.write_text(textwrap.dedent(text), "utf-8")
        load_recipe(path)
    assert len(shown) == 3


@pytest.mark.parametrize(
    "said", sorted(set(re.findall(r"\b(?:model|training|decoding)\.[\w.]+=[\w.]+", NUMBERS)))
)
def test_overrides_fit_the_recipe(said):
    others = ["model.decoder.attention.kind=additive", "model.rollout.kind=steps"]
    together = others if "scheduled_sampling" in said else []
    load_recipe(ROOT / "recipes" / "lstm-mse.yaml", [*together, said])
