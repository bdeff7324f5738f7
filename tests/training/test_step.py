"""A run on numbers that diverges leaves them behind as the model took them."""

import json

import pytest

from dragoman.errors import Diverged
from dragoman.recipe.loading import recipe_from
from dragoman.training import step
from dragoman.training.train import train


def test_numbers_that_diverged_are_left_as_json(tmp_path, monkeypatch):
    values = [f"{hour % 7}.5" if hour != 30 else "" for hour in range(60)]
    (tmp_path / "made.csv").write_text("load\n" + "".join(f"{value}\n" for value in values))
    recipe = recipe_from(
        {
            "run": str(tmp_path / "run"),
            "data": {
                "train": [{"series": "made.csv", "part": [None, -12]}],
                "dev": {"series": "made.csv", "part": [-12, None]},
                "windows": {"context": 6, "horizon": 3},
            },
            "source": {"kind": "numbers", "missing": "zero"},
            "target": {"kind": "numbers"},
            "model": {"encoder": {"kind": "gru", "width": 4}, "decoder": {"kind": "gru", "width": 4}},
            "training": {"max_steps": 9, "batch_tokens": 36, "precision": "fp32", "device": "cpu"},
        },
        folder=tmp_path,
    )
    real = step.objective_loss

    def spoiled(*given):
        loss = real(*given)
        return type(loss)(loss.total * float("inf"), loss.nll, loss.tokens)

    monkeypatch.setattr(step, "objective_loss", spoiled)
    with pytest.raises(Diverged):
        train(recipe, say=lambda line: None)
    rows = json.loads((tmp_path / "run" / "diverged.json").read_text(), parse_constant=pytest.fail)[
        "examples"
    ]
    assert rows
    for row in rows:
        assert [len(row["source"]), len(row["source"][0])] == [6, 2]
        assert [len(row["target"]), len(row["target"][0])] == [3, 1]
