"""Forecasts: what they are told, that they depend on nothing else, and what is refused."""

import math
import warnings

import numpy as np
import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.batching import padded
from dragoman.data.codec import learn_codecs, ports_of
from dragoman.decoding.decode import decode
from dragoman.decoding.forecast import in_data_units
from dragoman.errors import DataError, UserError
from dragoman.model.build import build_model
from dragoman.model.roll_out import roll_out
from dragoman.recipe.decoding import Forecasting, Greedy
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example, Sequence, Series

CONTEXT, HORIZON = 6, 4
DECODERS = {
    "lstm": {"kind": "lstm", "width": 8},
    "transformer": {"kind": "transformer", "width": 8, "layers": 1, "heads": 2},
    "aligned": {"kind": "lstm", "width": 8, "attention": {"kind": "aligned"}},
}


def series(seed=0, steps=CONTEXT):
    values = np.random.default_rng(seed).normal(3, 2, (steps, 2))
    return Series(values, ("a", "b"), f"s{seed}")


def timed(seed=0, begin="2020-01-01T00", known=CONTEXT + HORIZON):
    """A series with times that go on beyond its values."""
    plain = series(seed)
    times = np.datetime64(begin, "s") + 3600 * np.arange(known)
    return Series(plain.values, plain.names, plain.id, times)


def asked(**options):
    return Forecasting(method="forecast", **options)


def bundle_of(decoder="lstm", objective="squared", rollout=None, **source):
    """A tiny fresh float64 model, and scales that are learnt from three series."""
    recipe = recipe_from(
        {
            "run": "run",
            "data": {
                "train": [{"series": "made.csv", "time": 0, "part": [None, -10]}],
                "dev": {"series": "made.csv", "time": 0, "part": [-10, None]},
                "windows": {"context": CONTEXT, "horizon": HORIZON},
            },
            "source": {"kind": "numbers", **source},
            "target": {"kind": "numbers", "scale": source.get("scale", "global")},
            "model": {
                "encoder": {"kind": "lstm", "width": 8, "bidirectional": False},
                "decoder": DECODERS[decoder],
                "rollout": rollout,
            },
            "training": {"max_steps": 1, "objective": {"kind": objective}},
            "decoding": {"method": "forecast"},
        }
    )
    heard = [Example(series(seed, 40), (series(seed, 40),)) for seed in range(3)]
    codecs = learn_codecs(recipe, lambda: heard)
    torch.manual_seed(1)
    model = build_model(recipe.model, *ports_of(recipe, codecs), recipe.training.objective).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return Bundle(recipe, codecs, model)


def examples(count=5):
    return [Example(series(seed), id=str(seed)) for seed in range(count)]


def forecasts(bundle, given, **options):
    return [prediction.forecast for prediction in decode(bundle, given, asked(**options))]


def same(one, other):
    return np.array_equal(one.values, other.values) and np.array_equal(one.samples, other.samples)


KINDS = [
    ("lstm", "gaussian", None),
    ("lstm", "student_t", {"kind": "steps", "patch": 3}),
    ("transformer", "student_t", {"kind": "whole", "patch": 2}),
    ("transformer", "gaussian", {"kind": "steps", "linear": True}),
    ("aligned", "gaussian", {"kind": "whole"}),
]


@pytest.fixture(params=KINDS, ids=lambda case: f"{case[0]} {case[1]} {case[2]}")
def bundle(request):
    return bundle_of(*request.param)


def test_what_is_forecast_does_not_depend_on_the_batch(bundle):
    options = {"samples": 3, "quantiles": (0.1, 0.9), "horizon": HORIZON}
    together = forecasts(bundle, examples(), **options)
    one_by_one = forecasts(bundle, examples(), **options, batch_tokens=1)
    for mine, alone in zip(together, one_by_one, strict=True):
        assert mine.values.shape == (HORIZON, 2)
        assert mine.samples.shape == (3, HORIZON, 2)
        np.testing.assert_allclose(mine.values, alone.values, rtol=1e-6)
        np.testing.assert_allclose(mine.samples, alone.samples, rtol=1e-5, atol=1e-6)
        for level in (0.1, 0.9):
            np.testing.assert_allclose(mine.quantiles[level], alone.quantiles[level], rtol=1e-5, atol=1e-6)


def test_draws_follow_from_seed_and_number(bundle):
    twice = [Example(series(1)), Example(series(1))]
    first, second = forecasts(bundle, twice, samples=2)
    assert same(first, forecasts(bundle, twice, samples=2)[0])
    assert np.array_equal(first.values, second.values)
    assert not np.array_equal(first.samples, second.samples)
    assert not np.array_equal(first.samples[0], first.samples[1])
    assert not np.array_equal(first.samples, forecasts(bundle, twice, samples=2, seed=2)[0].samples)
    more = forecasts(bundle, twice, samples=3)[0]
    np.testing.assert_allclose(more.samples[:2], first.samples, rtol=1e-5, atol=1e-6)


def test_the_point_is_what_the_model_says_when_told_its_own_points(bundle):
    (found,) = forecasts(bundle, examples(1), samples=2, horizon=HORIZON)
    (alone,) = forecasts(bundle, examples(1), horizon=HORIZON)
    np.testing.assert_allclose(found.values, alone.values, rtol=1e-6)
    model = bundle.model
    source = padded([bundle.codecs.source.encode(series(0))])
    source = Sequence(source.values.double(), source.lengths_B)
    with torch.inference_mode():
        rolled = roll_out(
            model, source, model.encode(source), HORIZON, lambda said, first: model.number_head.point(said)
        )
    np.testing.assert_allclose(alone.values, rolled.values_BTF[0].float().numpy(), rtol=1e-6)


def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(bundle):
    whole = forecasts(bundle, examples(2), samples=2, quantiles=(0.5,), horizon=HORIZON)
    short = forecasts(bundle, examples(2), samples=2, quantiles=(0.5,), horizon=2)
    for mine, longer in zip(short, whole, strict=True):
        np.testing.assert_allclose(mine.values, longer.values[:2], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mine.samples, longer.samples[:, :2], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mine.quantiles[0.5], longer.quantiles[0.5][:2], rtol=1e-5, atol=1e-6)


def test_quantiles_are_those_of_the_samples():
    (found,) = forecasts(bundle_of(objective="gaussian"), examples(1), samples=50, quantiles=(0.1, 0.5))
    for level, values in found.quantiles.items():
        np.testing.assert_allclose(values, np.quantile(found.samples, level, axis=0), rtol=1e-5, atol=1e-6)


def test_a_quantile_loss_reports_its_own_levels():
    bundle = bundle_of("transformer", "quantile", {"kind": "whole"})
    (found,) = forecasts(bundle, examples(1), quantiles=(0.9, 0.1, 0.5))
    assert list(found.quantiles) == [0.9, 0.1, 0.5]
    assert (found.quantiles[0.9] > found.quantiles[0.1]).all()
    assert np.array_equal(found.quantiles[0.5], found.values)


def test_values_are_in_the_units_of_the_data():
    bundle = bundle_of(objective="gaussian", scale="window")
    (prediction,) = decode(bundle, [Example(series(2))], asked(samples=3))
    (value,) = prediction.values
    assert (value.names, value.id, value.values.shape) == (("a", "b"), "s2", (HORIZON, 2))
    source, codec = series(2), bundle.codecs.target
    centre, deviation = source.values.mean(0), source.values.std(0)
    np.testing.assert_allclose(value.values, prediction.forecast.values * deviation + centre, rtol=1e-6)
    in_units = in_data_units(codec, prediction.forecast.samples, source)
    np.testing.assert_allclose(in_units, prediction.forecast.samples * deviation + centre, rtol=1e-6)
    assert prediction.hypotheses == ()


@pytest.mark.parametrize("kind", ["steps", "whole"])
def test_what_is_known_beforehand_is_told(kind):
    bundle = bundle_of(objective="gaussian", rollout={"kind": kind}, calendar=("hour",))
    early, late = (Example(timed(begin=begin)) for begin in ("2020-01-01T00", "2020-01-01T07"))
    for given in (early, late):
        (alone,) = forecasts(bundle, [given], samples=2)
        together = forecasts(bundle, [given, early, late], samples=2)[0]
        np.testing.assert_allclose(alone.samples, together.samples, rtol=1e-5, atol=1e-6)
    first, second = forecasts(bundle, [early, late])
    assert not np.allclose(first.values, second.values)
    (prediction,) = decode(bundle, [early], asked(horizon=2))
    assert list(prediction.values[0].times) == list(early.source.times[CONTEXT : CONTEXT + 2])
    with pytest.raises(DataError, match="input 1: .*by what is known of them beforehand, found 2"):
        forecasts(bundle, [Example(timed(known=CONTEXT + 2))])


def test_steps_go_on_beyond_the_horizon_of_training():
    (longer,) = forecasts(bundle_of(), examples(1), horizon=9)
    (usual,) = forecasts(bundle_of(), examples(1))
    assert longer.values.shape == (9, 2)
    np.testing.assert_allclose(longer.values[:HORIZON], usual.values, rtol=1e-6)


def test_aligned_steps_answer_as_many_as_they_read():
    bundle = bundle_of("aligned", rollout={"kind": "whole"})
    given = [Example(series(seed, steps)) for seed, steps in enumerate((6, 3, 5))]
    assert [len(found.values) for found in forecasts(bundle, given)] == [6, 3, 5]
    assert [len(found.values) for found in forecasts(bundle, given, horizon=2)] == [2, 2, 2]
    with pytest.raises(DataError, match=r"input 2: .*answers as many steps as it reads, found 3"):
        forecasts(bundle, given, horizon=5)


def test_what_cannot_be_forecast_is_named_after_the_answers_before_it():
    answers = decode(bundle_of(), [*examples(2), Example("no numbers")], asked())
    assert len([next(answers), next(answers)]) == 2
    with pytest.raises(DataError, match="input 3"):
        next(answers)


def test_numbers_that_are_not_finite_become_nan_and_are_told():
    bundle = bundle_of(objective="gaussian")
    with torch.no_grad():
        bundle.model.head.linear.bias += math.inf
    with pytest.warns(RuntimeWarning, match="input 1: .*not finite"):
        (prediction,) = decode(bundle, examples(1), asked(samples=2, quantiles=(0.5,)))
    found = prediction.forecast
    assert np.isnan(prediction.values[0].values).all()
    assert all(np.isnan(part).all() for part in (found.values, found.samples, found.quantiles[0.5]))


def test_the_mode_of_the_model_stays():
    bundle = bundle_of()
    bundle.model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (forecasts(bundle, examples(1))[0] for _ in range(2))
    assert bundle.model.training
    assert same(first, second)


@pytest.mark.parametrize(
    ("made", "options", "match"),
    [
        ({}, {"samples": 2}, "`decoding.samples` needs a distribution"),
        ({}, {"quantiles": (0.5,)}, "`decoding.quantiles` need a distribution"),
        ({"objective": "quantile"}, {"quantiles": (0.33,)}, r"\[0.33\] are not among"),
        ({"objective": "gaussian"}, {"quantiles": (0.5,)}, "`decoding.samples: 100` would do"),
        ({"rollout": {"kind": "whole"}}, {"horizon": 5}, "5 steps are more than the 4"),
        ({"rollout": {"linear": True}}, {"horizon": 5}, "without `linear` goes on"),
    ],
)
def test_what_a_model_does_not_know_is_refused(made, options, match):
    with pytest.raises(UserError, match=match):
        forecasts(bundle_of(**made), examples(1), **options)


def test_what_forecasts_do_not_take_is_refused():
    bundle = bundle_of()
    with pytest.raises(UserError, match=r"`prefix`.*\n`reads`.*\n`workers`"):
        list(decode(bundle, examples(1), asked(), prefix="1 2", reads=True, workers=2))
    with pytest.raises(UserError, match="needs targets of text"):
        list(decode(bundle, examples(1), Greedy(method="greedy")))


def test_targets_of_any_length_need_a_horizon():
    bundle = bundle_of()
    bundle.model.target_port = bundle.codecs.target.port
    with pytest.raises(UserError, match=r"say `decoding.horizon`"):
        forecasts(bundle, examples(1))
    assert forecasts(bundle, examples(1), horizon=3)[0].values.shape == (3, 2)


def test_text_is_not_forecast():
    recipe = recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "training": {"max_steps": 1},
        }
    )
    codecs = learn_codecs(recipe, lambda: [Example("ab", ("ab",))])
    text = Bundle(recipe, codecs, build_model(recipe.model, codecs.source.port, codecs.target.port))
    with pytest.raises(UserError, match="is for numbers, this model writes characters"):
        list(decode(text, [Example("a")], asked()))
