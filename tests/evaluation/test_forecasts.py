"""Scores of forecasts: of what they are, beside baselines, over targets of several lengths."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs, ports_of
from dragoman.errors import DataError
from dragoman.evaluation.evaluate import evaluate, format_scores, summary, write_report
from dragoman.evaluation.forecasting import naive_error
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Forecasting
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example, Series

METRICS = ["mse", "mae", {"name": "mae", "units": "global", "label": "mae of all"}]


def recipe_of(source, target, data, metrics, objective, decoding, model):
    return recipe_from(
        {
            "run": "run",
            "data": data,
            "source": source,
            "target": target,
            "model": model,
            "training": {"max_steps": 1, "objective": {"kind": objective}},
            "decoding": {"method": "forecast", **decoding},
            "evaluation": {"metrics": metrics, "bootstrap_samples": 100},
        }
    )


SMALL = {"encoder": {"kind": "gru", "width": 8}, "decoder": {"kind": "gru", "width": 8}}
ALIGNED = SMALL | {"decoder": {"kind": "gru", "width": 8, "attention": {"kind": "aligned"}}}
ROWS = {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1}


def bundle_of(
    examples, source=None, target=None, metrics=METRICS, objective="squared", model=SMALL, **options
):
    """A fresh model; of rows unless windows are asked for."""
    options = {"data": ROWS, "decoding": {"horizon": 3}} | options
    sections = {"kind": "numbers"} | (source or {}), {"kind": "numbers"} | (target or {})
    recipe = recipe_of(*sections, options["data"], metrics, objective, options["decoding"], model)
    codecs = learn_codecs(recipe, lambda: examples)
    torch.manual_seed(2)
    built = build_model(recipe.model, *ports_of(recipe, codecs), recipe.training.objective)
    return Bundle(recipe, codecs, built)


def windows(count=5, context=6, horizon=4):
    """Examples of one series a step apart, and the pairs that they are made of."""
    draw = np.random.default_rng(3)
    whole = 10 + draw.standard_normal((context + horizon + count - 1, 2)).cumsum(axis=0)
    found = []
    for start in range(context, context + count):
        source = Series(whole[start - context : start], ("a", "b"), "s", before=whole[: start - context])
        found.append((source, Series(whole[start : start + horizon], ("a", "b"), "s")))
    return [Example(source, (target,), f"s:{n}") for n, (source, target) in enumerate(found)], found


SERIES = {
    "data": {
        "train": [{"series": "made.csv", "part": [None, -10]}],
        "dev": {"series": "made.csv", "part": [-10, None]},
        "windows": {"context": 6, "horizon": 4},
    },
    "decoding": {},
}


def values(report):
    return {score.label: score.value for score in report.scores}


def points_of(report):
    return [prediction.values[0].values for prediction in report.predictions]


def test_scores_are_those_of_the_answers():
    examples, _ = windows()
    report = evaluate(bundle_of(examples, **SERIES), examples)
    truth = np.stack([example.targets[0].values for example in examples])
    errors = np.stack(points_of(report)) - truth
    heard = np.concatenate([example.targets[0].values for example in examples])
    assert values(report) == pytest.approx(
        {
            "mse": np.square(errors).mean(),
            "mae": np.abs(errors).mean(),
            "mae of all": np.abs(errors / heard.std(axis=0)).mean(),
        }
    )
    assert report.tokens == 5 * 4
    assert report.baselines == {}
    assert all("interval:moving-blocks-of-2" in score.signature for score in report.scores)


def test_windows_of_different_series_share_no_steps():
    examples, _ = windows()
    apart = [replace(one, source=replace(one.source, id=f"s{number}")) for number, one in enumerate(examples)]
    report = evaluate(bundle_of(examples, **SERIES), apart)
    assert all("interval:bootstrap" in score.signature for score in report.scores)


def test_baselines_stand_beside_the_scores(tmp_path):
    examples, pairs = windows(count=12)
    bundle = bundle_of(examples, target={"season": 2}, metrics=["mae", "mase"], **SERIES)
    report = evaluate(bundle, examples, training=iter(pairs))
    assert list(report.baselines) == ["last value", "seasonal naive (2)", "DLinear"]
    errors = [np.abs(target.values - source.values[-1]) for source, target in pairs]
    assert report.baselines["last value"][0].value == pytest.approx(np.mean(errors))
    past = [naive_error(np.concatenate([source.before, source.values]), 2) for source, _ in pairs]
    scaled = [error / naive for error, naive in zip(errors, past, strict=True)]
    assert report.baselines["last value"][1].value == pytest.approx(np.mean(scaled))
    said = format_scores(report)
    for name in report.baselines:
        assert name in said
    content = summary(report)
    assert content["baselines"]["DLinear"]["mae"]["value"] == report.baselines["DLinear"][0].value
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text("utf-8")) == json.loads(json.dumps(content))
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [example.id for example in examples]
    np.testing.assert_allclose(rows[0]["answers"][0], points_of(report)[0], rtol=1e-6)


TEXTS = [Example("one two", ("1 2",)), Example("three", ("3",)), Example("4 5 6", ("4 5 6",))]


@pytest.mark.parametrize("objective", ["squared", "gaussian"])
def test_sources_of_text_and_targets_of_several_lengths(objective):
    is_drawn = objective == "gaussian"
    metrics = [*METRICS, "crps"]
    decoding = {"horizon": 5, **({"samples": 4, "quantiles": [0.5]} if is_drawn else {})}
    bundle = bundle_of(
        TEXTS, source={"kind": "characters"}, metrics=metrics, objective=objective, decoding=decoding
    )
    report = evaluate(bundle, TEXTS)
    truth = [np.array([[1.0], [2.0]]), np.array([[3.0]]), np.array([[4.0], [5.0], [6.0]])]
    assert [len(point) for point in points_of(report)] == [5, 5, 5]
    errors = [
        np.abs(point[: len(target)] - target) for point, target in zip(points_of(report), truth, strict=True)
    ]
    assert values(report)["mae"] == pytest.approx(np.concatenate(errors).mean())
    assert np.isfinite(values(report)["crps"])


def test_answers_as_long_as_their_sources():
    examples = [Example("1 2 3", ("2 3 4",)), Example("5", ("6",))]
    bundle = bundle_of(examples, objective="gaussian", model=ALIGNED, metrics=["mae", "crps"])
    report = evaluate(bundle, examples, Forecasting(method="forecast", samples=3))
    assert [len(point) for point in points_of(report)] == [3, 1]
    errors = [
        point - target for point, target in zip(points_of(report), ([[2], [3], [4]], [[6]]), strict=True)
    ]
    assert values(report)["mae"] == pytest.approx(np.abs(np.concatenate(errors)).mean())
    assert np.isfinite(values(report)["crps"])


def test_an_answer_that_ends_too_early_is_named():
    bundle = bundle_of(TEXTS, source={"kind": "characters"}, decoding={"horizon": 2})
    with pytest.raises(
        DataError, match=r"input 3: a target of 3 steps and an answer of 2; `decoding.horizon`"
    ):
        evaluate(bundle, TEXTS)
    examples, _ = windows()
    series = bundle_of(examples, **SERIES)
    with pytest.raises(DataError, match="input 1: a target of 4 steps and an answer of 1"):
        evaluate(series, examples, Forecasting(method="forecast", horizon=1))


def test_mase_of_rows_needs_sources_of_the_same_variables():
    examples = [Example("[[1, 2], [2, 4], [4, 1]]", ("1 2",))]
    bundle = bundle_of(examples, target={"season": 1}, metrics=["mase"], decoding={"horizon": 2})
    with pytest.raises(DataError, match=r"expected 1 variable \('value'\), found 2"):
        evaluate(bundle, examples)
    alike = [replace(examples[0], source="1 2 4")]
    assert np.isfinite(
        values(evaluate(bundle_of(alike, target={"season": 1}, metrics=["mase"]), alike))["mase"]
    )
