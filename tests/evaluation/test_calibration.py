"""Confidence against being right, on cases counted by hand."""

import math

import numpy as np
import pytest

from dragoman.evaluation.calibration import calibration, rank_correlation


def test_bins_hold_how_sure_and_how_right():
    found = calibration([0.95, 0.85, 0.81, 0.15, 1.0], [True, True, False, False, True], bins=10)
    assert [(one.count, one.accuracy) for one in found.bins] == [(1, 0.0), (2, 0.5), (2, 1.0)]
    assert found.bins[1].confidence == pytest.approx(0.83)
    assert found.error == pytest.approx((0.15 + 2 * 0.33 + 2 * 0.025) / 5)
    assert found.accuracy == pytest.approx(0.6)
    assert found.confidence == pytest.approx((0.95 + 0.85 + 0.81 + 0.15 + 1.0) / 5)


def test_a_model_that_says_what_is_has_no_error():
    right = [True] * 8 + [False] * 2
    assert calibration([0.8] * 10, right).error == pytest.approx(0)
    assert calibration([1.0] * 10, right).error == pytest.approx(0.2)


def test_no_decisions_are_no_calibration():
    assert calibration([], []) is None


def test_ranks_alone_count():
    ones = [0.1, 0.5, 0.2, 0.9]
    assert rank_correlation(ones, [math.exp(one) for one in ones]) == pytest.approx(1)
    assert rank_correlation(ones, [-one for one in ones]) == pytest.approx(-1)


def test_equal_values_share_a_rank():
    draw = np.random.default_rng(3)
    ones, others = (draw.integers(0, 5, 60).astype(float).tolist() for _ in range(2))
    ranks = [[np.mean([i for i, o in enumerate(sorted(s)) if o == v]) for v in s] for s in (ones, others)]
    assert rank_correlation(ones, others) == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_what_does_not_differ_or_is_not_there_correlates_with_nothing():
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2, math.nan], [1, 2, 3]) is None
