"""Tutorials say what is: their code runs, and what they quote of recipes stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from source import ROOT

NUMBERS = (ROOT / "docs" / "tutorials" / "numbers.md").read_text("utf-8")


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


@pytest.mark.parametrize(
    "override", sorted(set(re.findall(r"\b(?:model|training|decoding)\.[\w.]+=[\w.]+", NUMBERS)))
)
def test_overrides_fit_the_recipe(override):
    from dragoman import load_recipe

    others = ["model.decoder.attention.kind=additive", "model.rollout.kind=steps"]
    together = others if "scheduled_sampling" in override else []
    load_recipe(ROOT / "recipes" / "lstm-mse.yaml", [*together, override])
