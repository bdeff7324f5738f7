"""Errors of forecasts by step and series, on windows made by hand."""

import numpy as np
import pytest

from dragoman.evaluation.forecast_errors import (
    best_windows,
    errors_by_series,
    errors_by_step,
    errors_of,
    level_coverage,
    worst_windows,
)
from dragoman.evaluation.forecasting import Outcomes

NAN = np.nan
TRUTH = np.array([[[1.0], [2.0]], [[1.0], [NAN]], [[0.0], [0.0]]])
POINTS = np.array([[[2.0], [0.0]], [[1.0], [5.0]], [[4.0], [0.0]]])


def errors(deviation=1.0):
    return errors_of(Outcomes(TRUTH, POINTS, deviations=np.full((3, 1), deviation)))


def test_errors_are_in_deviations_and_what_is_missing_has_none():
    expected = np.array([[[1.0], [-2.0]], [[0.0], [NAN]], [[4.0], [0.0]]])
    np.testing.assert_array_equal(errors(), expected)
    np.testing.assert_array_equal(errors(2.0), expected / 2)


def test_each_step_has_the_mean_of_what_is_there():
    np.testing.assert_allclose(errors_by_step(errors()), [5 / 3, 1.0])
    assert np.isnan(errors_by_step(np.full((2, 1, 1), NAN))).all()


def test_series_come_with_the_largest_error_first():
    south, north = errors_by_series(errors(), ["north", "north", "south"])
    assert (south.name, south.windows, south.error, south.bias) == ("south", 1, 2.0, 2.0)
    assert (north.name, north.windows) == ("north", 2)
    assert (north.error, north.bias) == (pytest.approx(1.0), pytest.approx(-1 / 3))


def test_variables_are_named():
    many = np.ones((2, 3, 2))
    assert {one.name for one in errors_by_series(many, ["", ""], ["load", "wind"])} == {"load", "wind"}
    assert {one.name for one in errors_by_series(many, ["a", "a"])} == {"a variable 1", "a variable 2"}


def test_a_quantile_holds_what_lies_below_it():
    truth = np.arange(10.0).reshape(10, 1, 1)
    quantiles = {level: np.full((10, 1, 1), 10 * level) for level in (0.9, 0.5)}
    truth[0] = NAN
    found = level_coverage(Outcomes(truth, truth, quantiles=quantiles))
    assert [(one.level, one.values) for one in found] == [(0.5, 9), (0.9, 9)]
    assert [one.share for one in found] == [pytest.approx(4 / 9), pytest.approx(8 / 9)]


def test_the_worst_windows_share_no_step():
    given = np.zeros((6, 3, 1))
    given[:, 0, 0] = [1, 5, 6, 4, 0, 3]
    assert worst_windows(given, ["a"] * 6, 2) == [2, 5]
    assert worst_windows(given, ["a", "b", "a", "b", "a", "b"], 3) == [2, 1, 5]


def test_the_best_windows_share_no_step_and_are_not_those_that_are_shown_already():
    given = np.zeros((6, 3, 1))
    given[:, 0, 0] = [1, 5, 6, 4, 0, 3]
    assert best_windows(given, ["a"] * 6, 3) == [4, 0]
    assert best_windows(given, ["a"] * 6, 2, besides=[4]) == [0, 5]


def test_windows_of_which_nothing_came_are_neither_good_nor_bad():
    given = np.ones((4, 1, 1))
    given[1] = NAN
    assert worst_windows(given, ["a"] * 4) == [0, 2, 3]
    assert best_windows(given, ["a"] * 4, 4) == [0, 2, 3]
