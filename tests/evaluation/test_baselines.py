"""Baselines: what they repeat, and a linear model that is the exact solution."""

import numpy as np
import pytest

from dragoman.data.number_codec import NumbersLearner
from dragoman.errors import DataError
from dragoman.evaluation.baselines import (
    DLinear,
    fit_baselines,
    fit_dlinear,
    last_value,
    moving_average,
    seasonal_naive,
)
from dragoman.recipe.series import Numbers
from dragoman.records import Series

nan = np.nan
OTHERWISE = np.array([-1.0])


def contexts(*rows):
    return np.array(rows)[..., None]


def test_the_last_value_is_the_last_that_is_there():
    given = contexts([1, 2, 3], [1, nan, nan], [nan, nan, nan])
    assert last_value(given, 2, OTHERWISE)[..., 0].tolist() == [[3, 3], [1, 1], [-1, -1]]


def test_a_season_is_repeated_from_where_it_was_last_there():
    given = contexts([9, 1, 2, 3, 4], [9, 1, 2, nan, 4], [nan, nan, 2, nan, 4])
    found = seasonal_naive(given, 5, 2, OTHERWISE)[..., 0]
    assert found.tolist() == [[3, 4, 3, 4, 3], [1, 4, 1, 4, 1], [4, 4, 4, 4, 4]]
    assert seasonal_naive(given, 2, 5, OTHERWISE)[0, :, 0].tolist() == [9, 1]
    with pytest.raises(DataError, match="a context of 5 steps holds no whole season of 6"):
        seasonal_naive(given, 5, 6, OTHERWISE)


def test_a_season_of_several_variables_keeps_them_apart():
    given = np.arange(24.0).reshape(2, 6, 2)
    found = seasonal_naive(given, 3, 2, np.zeros(2))
    assert found[0].tolist() == [[8, 9], [10, 11], [8, 9]]


def test_the_moving_average_repeats_the_ends():
    row = np.random.default_rng(0).standard_normal(40)
    padded = np.concatenate((np.repeat(row[0], 12), row, np.repeat(row[-1], 12)))
    np.testing.assert_allclose(moving_average(40) @ row, np.convolve(padded, np.ones(25) / 25, "valid"))
    np.testing.assert_allclose(moving_average(3).sum(axis=1), 1)


def linear_windows(windows=400, context=12, horizon=3, variables=2, noise=0.0):
    numbers = np.random.default_rng(0)
    weights, bias = numbers.standard_normal((context, horizon)), numbers.standard_normal(horizon)
    given = numbers.standard_normal((windows, context, variables))
    wanted = np.einsum("nsv,sh->nhv", given, weights) + bias[:, None]
    return given, wanted + noise * numbers.standard_normal(wanted.shape)


def alike(given, wanted):
    """A block whose rows count alike."""
    return given, wanted, np.full((len(given), given.shape[2]), 0.7)


def test_dlinear_finds_a_linear_law():
    given, wanted = linear_windows()
    np.testing.assert_allclose(fit_dlinear([alike(given, wanted)], 12, 3).forecast(given), wanted, atol=2e-2)


def test_dlinear_is_least_squares_of_trend_and_remainder():
    given, wanted = linear_windows(noise=1.0)
    found = fit_dlinear([alike(given, wanted)], 12, 3).forecast(given)
    rows = given.swapaxes(1, 2).reshape(-1, 12)
    trend = rows @ moving_average(12).T
    inputs = np.concatenate((trend, rows - trend, np.ones((len(rows), 1))), axis=1)
    answers = wanted.swapaxes(1, 2).reshape(-1, 3)
    best = inputs @ np.linalg.lstsq(inputs, answers, rcond=1e-10)[0]
    np.testing.assert_allclose(found.swapaxes(1, 2).reshape(-1, 3), best, atol=0.02)


def test_blocks_are_only_a_matter_of_memory_and_gaps_are_left_out():
    given, wanted = linear_windows(noise=0.5)
    whole = fit_dlinear([alike(given, wanted)], 12, 3)
    more, bad = linear_windows(5)
    bad[:, 1] = nan
    parts = [alike(given[:7], wanted[:7]), alike(more, bad), alike(given[7:], wanted[7:])]
    cut = fit_dlinear(parts, 12, 3)
    np.testing.assert_allclose(cut.weights_SH, whole.weights_SH, atol=1e-9)
    with pytest.raises(DataError, match="no training window has a target without missing values"):
        fit_dlinear([alike(more, bad)], 12, 3)


def test_windows_that_hardly_vary_do_not_decide_how_others_are_forecast():
    """One variable is fixed and steps aside a few times; by itself the other is forecast as beside it."""
    numbers = np.random.default_rng(4)
    walk = 10 + np.cumsum(numbers.standard_normal((1200, 1)), axis=0)
    fixed = 5 + 1e-6 * numbers.standard_normal((1200, 1)) + (np.arange(1200)[:, None] // 300) * 3.0

    def dlinear(values, names):
        learner = NumbersLearner(Numbers(kind="numbers", scale="window"), "target")
        learner.hear(Series(values, names, "s"))
        pairs = [
            (Series(values[at - 30 : at], names, "s"), Series(values[at : at + 5], names, "s"))
            for at in range(30, 1195, 5)
        ]
        found = fit_baselines(learner.learnt(), pairs, 5, None).forecasts([source for source, _ in pairs])
        truth = np.stack([target.values for _, target in pairs])
        return tuple(np.abs(found[name] - truth)[..., 0].mean() for name in ("DLinear", "last value"))

    alone, naive = dlinear(walk, ("walk",))
    beside, _ = dlinear(np.concatenate([walk, fixed], axis=1), ("walk", "fixed"))
    assert alone < naive
    assert beside < 1.1 * alone


def test_dlinear_of_constant_windows_is_their_constant():
    flat = np.full((5, 12, 1), 2.0)
    model = fit_dlinear([alike(flat, flat[:, :3])], 12, 3)
    np.testing.assert_allclose(model.forecast(flat), 2)
    assert isinstance(model, DLinear)


@pytest.mark.parametrize("scale", ["none", "global", "series", "window"])
def test_all_baselines_forecast_the_same_windows_in_units_of_the_data(scale):
    steps = np.arange(200.0)[:, None]
    values = 1000 + 30 * np.sin(2 * np.pi * steps / 8 + [0, 1]) + [0, 500]
    learner = NumbersLearner(Numbers(kind="numbers", scale=scale), "target")
    learner.hear(Series(values, ("a", "b"), "s"))
    pairs = [
        (Series(values[at - 24 : at], ("a", "b"), "s"), Series(values[at : at + 6], ("a", "b"), "s"))
        for at in range(24, 194)
    ]
    found = fit_baselines(learner.learnt(), pairs, 6, 8).forecasts([source for source, _ in pairs])
    assert list(found) == ["last value", "seasonal naive (8)", "DLinear"]
    truth = np.stack([target.values for _, target in pairs])
    np.testing.assert_allclose(found["seasonal naive (8)"], truth, rtol=1e-9)
    np.testing.assert_allclose(found["DLinear"], truth, atol=1.0)
    assert np.abs(found["last value"] - truth).max() > 30
    assert "DLinear" in fit_baselines(learner.learnt(), pairs, 6, None).forecasts([pairs[0][0]])


def test_without_windows_there_is_nothing_to_fit():
    learner = NumbersLearner(Numbers(kind="numbers"), "target")
    learner.hear("1 2 3")
    with pytest.raises(DataError, match="no training window to fit"):
        fit_baselines(learner.learnt(), [], 6, None)


def test_logarithms_are_forecast_as_logarithms_are():
    numbers = np.random.default_rng(3)
    values = np.exp(numbers.standard_normal((60, 1)) / 3)
    found = {}
    for transform, taken in (("log", values), ("none", np.log(values))):
        whole = Series(taken, ("value",), "s")
        learner = NumbersLearner(Numbers(kind="numbers", scale="level", transform=transform), "target")
        learner.hear(whole)
        windows = [
            (Series(taken[at : at + 6], ("value",), "s"), Series(taken[at + 6 : at + 8], ("value",), "s"))
            for at in range(50)
        ]
        fitted = fit_baselines(learner.learnt(), windows, 2, None)
        found[transform] = fitted.forecasts([source for source, _ in windows])["DLinear"]
    np.testing.assert_allclose(np.log(found["log"]), found["none"], rtol=1e-6)
