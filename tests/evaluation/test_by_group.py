"""Groups of examples about equally large, each with its own score."""

import math

import numpy as np
import pytest

from dragoman.evaluation.by_group import ranges, scores_of_ranges
from dragoman.evaluation.metrics import statistics
from dragoman.recipe.metrics import Evaluation, ExactMatch


@pytest.mark.parametrize("groups", [1, 3, 5])
def test_every_example_is_in_one_range_and_ranges_do_not_touch(groups):
    values = np.random.default_rng(groups).integers(0, 9, 100).tolist()
    found = ranges(values, groups)
    assert sorted(number for one in found for number in one.numbers) == list(range(100))
    for one in found:
        assert {one.low, one.high} <= {values[number] for number in one.numbers}
        assert all(one.low <= values[number] <= one.high for number in one.numbers)
    assert all(one.high < other.low for one, other in zip(found, found[1:], strict=False))
    assert len(found) <= groups


def test_equal_values_are_one_range_and_what_is_not_known_is_none():
    (only,) = ranges([2, 2, math.nan, 2], 5)
    assert only.numbers == (0, 1, 3)
    assert ranges([math.nan]) == ()


def test_each_range_has_its_own_score_and_small_ones_none():
    answers = ["a"] * 6 + ["b"] * 6 + ["a"] * 2
    found = statistics(ExactMatch(name="exact_match"), answers, [["a"]] * 14)
    values = [1] * 6 + [2] * 6 + [3] * 2
    groups = scores_of_ranges([found], ranges(values, 3), Evaluation(), "{}-{}".format)
    assert [(one.name, one.examples, one.scores[0].value) for one in groups] == [
        ("1-1", 6, 100.0),
        ("2-2", 6, 0.0),
    ]
