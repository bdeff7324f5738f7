"""Pictures are real files of the kind that their name says, and faults are named."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from dragoman.errors import DataError, MissingExtra
from dragoman.explanation.pictures import attention_picture, fan_chart, learning_curve
from dragoman.records import Series

ROWS = [
    {"kind": "start", "step": 0},
    {"kind": "train", "step": 10, "loss": 3.0},
    {"kind": "train", "step": 20, "loss": 2.0},
    {"kind": "validation", "step": 20, "loss": 2.5, "metrics": {"bleu": 11.0}},
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    return path


def test_a_learning_curve_shows_loss_and_metrics(log, tmp_path):
    out = tmp_path / "pictures" / "curve.svg"
    learning_curve(log, out)
    text = out.read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    for label in ("training", "validation", "bleu"):
        assert f"<!-- {label}" in text


def test_an_attention_picture_is_as_large_as_its_pieces(tmp_path):
    reads_TS = torch.softmax(torch.randn(9, 12), dim=1)
    attention_picture(reads_TS, ["a"] * 4, ["b"] * 3, tmp_path / "small.png")
    attention_picture(reads_TS, ["a"] * 12, ["b"] * 9, tmp_path / "large.png")
    sizes = [
        int.from_bytes((tmp_path / name).read_bytes()[16:20], "big") for name in ("small.png", "large.png")
    ]
    assert sizes[0] < sizes[1]


def test_a_log_without_steps_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n", "utf-8")
    with pytest.raises(DataError, match="no training step"):
        learning_curve(path, tmp_path / "curve.png")


def test_a_missing_matplotlib_names_the_line_that_installs_it(log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dragoman\[plots\]'"):
        learning_curve(log, tmp_path / "curve.png")


def forecast(variables=2, times=True, horizon=4):
    names = tuple(f"variable {number}" for number in range(variables))
    values = np.random.default_rng(0).standard_normal((10, variables))
    days = np.datetime64("2020-01-01", "s") + np.arange(10 + horizon) * np.timedelta64(86_400, "s")
    point = np.zeros((horizon, variables))
    quantiles = {level: point + level for level in (0.05, 0.25, 0.5, 0.75, 0.95)}
    return Series(values, names, "shop 7", days if times else None), point, quantiles


@pytest.mark.parametrize("times", [True, False])
def test_a_fan_chart_names_variables_bands_and_steps(tmp_path, times):
    context, point, quantiles = forecast(times=times)
    fan_chart(tmp_path / "fan.svg", context, np.full((4, 2), np.nan), point, quantiles)
    text = (tmp_path / "fan.svg").read_text("utf-8")
    labels = ["variable 0", "variable 1", "90% interval", "50% interval", "what came", "forecast", "shop 7"]
    for label in [*labels, "2020-Jan" if times else "step of the forecast"]:
        assert f"<!-- {label} -->" in text
    assert text.count("<!-- past -->") == 1


def test_a_fan_chart_grows_with_its_variables_and_needs_neither_truth_nor_bands(tmp_path):
    heights = []
    for variables in (1, 3):
        context, point, _ = forecast(variables)
        fan_chart(tmp_path / "fan.png", context, None, point, {})
        heights.append(int.from_bytes((tmp_path / "fan.png").read_bytes()[20:24], "big"))
    assert heights[1] > 2 * heights[0]
