"""What intervals must do: the bootstrap's and Wilson's."""

import numpy as np
import pytest

from dragoman.evaluation import significance
from dragoman.evaluation.significance import drawn_together, interval, wilson_interval


def mean(sums_F):
    return float(sums_F[0] / sums_F[1])


def coins(count, seed=0):
    heads = np.random.default_rng(seed).random(count) < 0.3
    return np.stack([heads.astype(float), np.ones(count)], axis=1)


def test_it_agrees_with_the_normal_approximation():
    rows = coins(2000)
    value, low, high = interval(rows, mean, 2000, 0.95, seed=1)
    spread = 1.96 * (value * (1 - value) / 2000) ** 0.5
    assert value == rows[:, 0].mean()
    assert (low, high) == pytest.approx((value - spread, value + spread), abs=0.1 * spread)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    rows = coins(200)
    assert interval(rows, mean, 200, 0.9, seed=1) == interval(rows, mean, 200, 0.9, seed=1)
    assert interval(rows, mean, 200, 0.9, seed=1) != interval(rows, mean, 200, 0.9, seed=2)


def test_it_narrows_with_examples_and_widens_with_confidence():
    def width(count, confidence):
        _, low, high = interval(coins(count), mean, 1000, confidence, seed=1)
        return high - low

    assert width(100, 0.95) > 1.5 * width(1000, 0.95) > 0
    assert width(100, 0.8) < width(100, 0.95) < width(100, 0.99)


def test_chunks_are_only_a_matter_of_memory(monkeypatch):
    rows = coins(50)
    whole = interval(rows, mean, 101, 0.95, seed=3)
    monkeypatch.setattr(significance, "_CHUNK", 50 * 7)
    assert interval(rows, mean, 101, 0.95, seed=3) == whole


def test_it_holds_the_value_and_one_example_has_no_spread():
    rows = coins(3, seed=5)
    value, low, high = interval(rows, mean, 100, 0.51, seed=1)
    assert low <= value <= high
    assert interval(np.array([[0.1, 3.0]]), mean, 100, 0.95, seed=1) == pytest.approx([0.1 / 3] * 3)


def test_resamples_draw_as_many_sentences_as_there_are():
    sums = significance._resampled(coins(40), 100, seed=1)
    assert (sums[:, 1] == 40).all()
    assert len(set(sums[:, 0])) > 5


def test_wilson_by_hand():
    share, low, high = wilson_interval(
        81, 263, 0.95
    )  # an example of Newcombe 1998, method 3: 0.2553 to 0.3662
    assert share == pytest.approx(100 * 81 / 263)
    assert (low, high) == (pytest.approx(25.53, abs=0.005), pytest.approx(36.62, abs=0.005))


@pytest.mark.parametrize(("hits", "ends"), [(20, (83.89, 100.0)), (0, (0.0, 16.11))])
def test_wilson_does_not_take_twenty_of_twenty_for_certainty(hits, ends):
    share, low, high = wilson_interval(hits, 20, 0.95)
    assert (low, high) == (pytest.approx(ends[0], abs=0.005), pytest.approx(ends[1], abs=0.005))
    assert low <= share <= high


def test_blocks_of_independent_rows_change_little_and_blocks_of_equal_rows_a_lot():
    def width(rows, block):
        _, low, high = interval(rows, mean, 1000, 0.95, seed=1, block=block)
        return high - low

    rows = coins(600)
    assert width(rows, 7) == pytest.approx(width(rows, 1), rel=0.2)
    repeated = np.repeat(coins(60), 10, axis=0)
    assert width(repeated, 10) == pytest.approx(width(coins(60), 1), rel=0.25)
    assert width(repeated, 1) < 0.5 * width(repeated, 10)


def test_intervals_of_windows_that_overlap_hold_the_truth():
    """Windows of 12 steps, neighbours alike: intervals of 95% hold the mean error about 19 times in 20."""
    trials, steps, overlap = 200, 2000, 12
    numbers = np.random.default_rng(0)
    errors = numbers.standard_normal((steps + overlap + 99, trials))
    for step in range(1, len(errors)):
        errors[step] += 0.9 * errors[step - 1]
    sums = np.cumsum(np.abs(errors[100:]), axis=0)
    truth = overlap * np.sqrt(2 / np.pi / (1 - 0.9**2))

    def coverage(block):
        ends = [
            interval(np.stack([row, np.ones(len(row))], 1), mean, 200, 0.95, 1, block)[1:]
            for row in (sums[overlap:] - sums[:-overlap]).T
        ]
        return np.mean([low <= truth <= high for low, high in ends])

    assert drawn_together(steps - 1, overlap) == 3 * overlap
    assert coverage(3 * overlap) > 0.89 > coverage(overlap)


def test_how_many_windows_are_drawn_together():
    assert drawn_together(1000, 1) == 1
    assert drawn_together(1000, 10) == 30
    assert drawn_together(250, 10) == 25  # ten blocks are left
    assert drawn_together(50, 10) == 10  # never fewer than share steps
    assert drawn_together(15, 10) == 7  # but two blocks
    assert drawn_together(1, 10) == 1


def test_intervals_of_few_blocks_are_as_wide_as_students():
    """With ten blocks, and normal sums, ends lie where t of nine degrees is, not 1.96 deviations away."""
    rows = coins(20_000)
    _, low, high = interval(rows, mean, 20_000, 0.95, seed=1, block=2000)
    runs = np.lib.stride_tricks.sliding_window_view(rows[:, 0], 2000).mean(axis=1)
    spread = runs.std() / np.sqrt(10)
    assert (high - low) / 2 == pytest.approx(2.262 * np.sqrt(10 / 9) * spread, rel=0.03)


@pytest.mark.parametrize("block", [2, 7, 20])
def test_blocks_draw_as_many_rows_as_there_are(block):
    sums = significance._blocks(coins(40), 100, 1, block)
    assert sums[:, 1] == pytest.approx(np.full(100, 40))
    assert len(set(sums[:, 0].round(6))) > 3
    assert interval(coins(40), mean, 100, 0.9, 1, block) == interval(coins(40), mean, 100, 0.9, 1, block)
