"""What several models of numbers forecast together: the mean of theirs, each from the past that it knows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs, ports_of
from dragoman.data.windows import context_of
from dragoman.decoding.decode import decode
from dragoman.decoding.ensemble import ensemble
from dragoman.errors import DataError, UserError
from dragoman.evaluation.evaluate import evaluate
from dragoman.explanation.subject import subject_of
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Forecasting
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example, Series

HORIZON = 4


def long_series(seed, names=("a", "b")):
    values = 5 + np.random.default_rng(seed).random((40, len(names)))
    times = np.datetime64("2020-01-01T00", "s") + 3600 * np.arange(40)
    return Series(values, names, f"s{seed}", times)


def bundle_of(seed=1, context=6, horizon=HORIZON, names=("a", "b"), **numbers):
    """A tiny model of its own weights, context and scale."""
    recipe = recipe_from(
        {
            "run": f"run-{seed}",
            "data": {
                "train": [{"series": "made.csv", "time": 0, "part": [None, -10]}],
                "dev": {"series": "made.csv", "time": 0, "part": [-10, None]},
                "windows": {"context": context, "horizon": horizon},
            },
            "source": {"kind": "numbers", **numbers},
            "target": {"kind": "numbers", **numbers},
            "model": {
                "encoder": {"kind": "lstm", "width": 8},
                "decoder": {"kind": "lstm", "width": 8},
                "rollout": {"kind": "whole", "linear": True},
            },
            "training": {"max_steps": 1, "objective": {"kind": "squared"}},
            "decoding": {"method": "forecast"},
            "evaluation": {"metrics": ["mse"]},
        }
    )
    heard = [Example(long_series(number, names), (long_series(number, names),)) for number in range(3)]
    codecs = learn_codecs(recipe, lambda: heard)
    torch.manual_seed(seed)
    model = build_model(recipe.model, *ports_of(recipe, codecs), recipe.training.objective).eval()
    return Bundle(recipe, codecs, model, recipe.run)


def asked(context=6, count=3):
    """Windows of series, each with what was before it."""
    series = [long_series(seed) for seed in range(count)]
    return [
        Example(context_of(one, 20, context, HORIZON), (replace(one, values=one.values[20 : 20 + HORIZON]),))
        for one in series
    ]


def answers(bundle, examples, **options):
    section = Forecasting(method="forecast", **options)
    return [found.values[0].values for found in decode(bundle, examples, section)]


MEMBERS = (
    {"seed": 1, "context": 6},
    {"seed": 2, "context": 9, "scale": "window"},
    {"seed": 3, "context": 3, "scale": "series", "transform": "log"},
)


def test_they_answer_with_the_mean_in_the_units_of_the_data():
    members = [bundle_of(**member) for member in MEMBERS]
    each = [answers(one, asked(member["context"])) for one, member in zip(members, MEMBERS, strict=True)]
    together = answers(ensemble(members), asked())
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-5)


def test_frames_are_those_of_the_first_and_times_those_that_follow():
    members = [bundle_of(**member) for member in MEMBERS]
    (example,) = asked(count=1)
    (found,) = decode(ensemble(members), [example])
    back = members[0].codecs.target.decode(found.forecast.values, example.source)
    np.testing.assert_allclose(back.values, found.values[0].values, rtol=1e-5)
    assert np.array_equal(found.values[0].times, example.source.times[6:])
    assert found.example is example


def test_they_are_scored_like_one_without_a_loss():
    together = ensemble([bundle_of(1), bundle_of(2)])
    report = evaluate(together, asked())
    (score,) = report.scores
    truth = [example.targets[0].values for example in asked()]
    assert score.value == pytest.approx(
        np.mean((np.array(answers(together, asked())) - truth) ** 2), rel=1e-5
    )
    assert report.loss is None
    assert report.tokens == 3 * HORIZON


def test_too_little_past_names_the_input_and_the_model():
    longer = ensemble([bundle_of(1), bundle_of(2, context=30)])
    with pytest.raises(DataError, match=r"input 1: .*run-2 reads 30 steps of context, found fewer"):
        answers(longer, asked())


def test_distributions_are_refused():
    with pytest.raises(UserError, match="the mean of their point forecasts"):
        answers(ensemble([bundle_of(1), bundle_of(2)]), asked(), samples=2)


@pytest.mark.parametrize("other", [{"horizon": 3}, {"names": ("a", "c")}])
def test_other_variables_and_horizons_are_refused(other):
    with pytest.raises(UserError, match="forecast the same variables and as many steps"):
        ensemble([bundle_of(1), bundle_of(2, **other)])


def test_they_are_explained_one_by_one():
    with pytest.raises(UserError, match="member by member"):
        subject_of(ensemble([bundle_of(1), bundle_of(2)]), asked()[0])
