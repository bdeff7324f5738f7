"""How far a score may be off because other examples could have been drawn, and whether two scores differ.

The bootstrap of Koehn 2004 for scores of any kind; Wilson's interval for shares of right answers; for two
systems on the same examples the paired bootstrap and approximate randomisation (Riezler and Maxwell 2005).

Shapes: N sentences, R resamples, F features of a sentence, G groups of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22
"""Draws held at a time: 32 MiB of indices, and as much of counts."""
_STRETCH, _FEWEST_BLOCKS = 3, 10
"""Windows that overlap are drawn in blocks three times as long, where ten such blocks are left: neighbouring
blocks share steps too, and short ones take chance for a difference (docs/evaluation.md has the numbers)."""
_ROUNDING = 1e-10
"""Differences that are equal but for rounding, as a share of the scores: they count as equal."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A score less that of a baseline on the same examples, the ends of its interval, and two p-values.

    A p-value says how often a difference as large, in either direction, comes by chance between two systems
    that are equally good.
    """

    value: float
    low: float
    high: float
    p_bootstrap: float
    p_randomisation: float


def drawn_together(count: int, overlap: int) -> int:
    """Return how many neighbours of so many windows belong together, where so many share steps."""
    if overlap == 1:
        return 1
    wanted = max(overlap, min(_STRETCH * overlap, count // _FEWEST_BLOCKS))
    return min(wanted, max(1, count // 2))  # fewer than two blocks could not be drawn anew


def interval(
    rows_NF: NDArray[np.float64],
    score: Callable[[NDArray[np.float64]], float],
    samples: int,
    confidence: float,
    seed: int,
    block: int = 1,
) -> tuple[float, float, float]:
    """Return a corpus score and the ends of its percentile interval, from statistics that add up.

    `score` turns summed statistics (F,) into the score of a corpus. One seed draws the same sentences for any
    statistics, so that intervals of two systems are of the same draws. The interval always holds the value.
    Where neighbours are alike, runs of `block` rows are drawn together (moving blocks, Kuensch 1989); of few
    blocks the interval is the expanded one of Hesterberg 2015, as wide as Student's t of so many.
    """
    value = score(rows_NF.sum(axis=0))
    drawn = _resampled(rows_NF, samples, seed) if block == 1 else _blocks(rows_NF, samples, seed, block)
    drawn_R = np.array([score(sums_F) for sums_F in drawn])
    low, high = np.quantile(drawn_R, _ends(confidence, len(rows_NF), block))
    return value, min(float(low), value), max(float(high), value)


def difference(
    baseline: tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], float]],
    other: tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], float]],
    samples: int,
    confidence: float,
    seed: int,
    block: int = 1,
) -> Difference:
    """Test whether two systems, each its statistics (N, F) of the same examples and their score, differ.

    The paired bootstrap draws examples for both together; its p-value is of the resampled differences about
    their mean. Approximate randomisation lets both systems exchange what they said of each example, or not,
    at random. Both are two-sided, with one added to hits and draws (Davison and Hinkley 1997), so that no
    p-value is 0. Runs of `block` neighbours are drawn, and exchanged, together.
    """
    (first_NF, first_score), (second_NF, second_score) = baseline, other
    first, second = first_score(first_NF.sum(axis=0)), second_score(second_NF.sum(axis=0))
    found = second - first
    slack = _ROUNDING * max(abs(first), abs(second))
    both_NF, features = np.concatenate((first_NF, second_NF), axis=1), first_NF.shape[1]
    drawn = _resampled(both_NF, samples, seed) if block == 1 else _blocks(both_NF, samples, seed, block)
    drawn_R = np.array([second_score(row[features:]) - first_score(row[:features]) for row in drawn])
    gains_RF = _exchanged(second_NF - first_NF, samples, seed, block)
    first_F, second_F = first_NF.sum(axis=0), second_NF.sum(axis=0)
    chance_R = np.array([second_score(second_F - row) - first_score(first_F + row) for row in gains_RF])
    low, high = np.quantile(drawn_R, _ends(confidence, len(both_NF), block))
    return Difference(
        found,
        min(float(low), found),
        max(float(high), found),
        _p_value(drawn_R - drawn_R.mean(), found, slack),
        _p_value(chance_R, found, slack),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Raise p-values, in their order, for how many they are (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    raised, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        raised[number] = highest
    return raised


def wilson_interval(hits: float, trials: int, confidence: float) -> tuple[float, float, float]:
    """Return a share of trials and the ends of its interval, all in percent (Wilson 1927).

    Unlike a bootstrap it says of 20 right answers in 20 that the next may be wrong.
    """
    share, z = hits / trials, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low, high = max(0.0, centre - spread), min(1.0, centre + spread)
    return 100 * share, 100 * min(low, share), 100 * max(high, share)


def _ends(confidence: float, count: int, block: int) -> tuple[float, float]:
    """Return which quantiles of resamples are the ends of an interval.

    Resamples of b blocks spread less than scores do, by √((b - 1) / b), and by how much is itself a guess of
    b - 1 degrees of freedom: Student's t, by its expansion in z, which holds from four blocks on.
    """
    if block == 1:
        return (1 - confidence) / 2, (1 + confidence) / 2
    normal, blocks = NormalDist(), max(4.0, count / block)
    z, free = normal.inv_cdf((1 + confidence) / 2), blocks - 1
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    high = normal.cdf(t * math.sqrt(blocks / free))
    return 1 - high, high


def _resampled(rows_NF: NDArray[np.float64], samples: int, seed: int) -> NDArray[Any]:
    """Sum the statistics of N sentences drawn with replacement, once a resample: (R, F)."""
    generator = np.random.default_rng(seed)
    sentences = len(rows_NF)
    chunk = max(1, _CHUNK // sentences)
    sums = []
    for first in range(0, samples, chunk):
        rows = min(chunk, samples - first)
        drawn_RN = (
            generator.integers(sentences, size=(rows, sentences)) + np.arange(rows)[:, None] * sentences
        )
        counts_RN = np.bincount(drawn_RN.ravel(), minlength=rows * sentences).reshape(rows, sentences)
        sums.append(counts_RN.astype(np.float64) @ rows_NF)
    return np.concatenate(sums)


def _blocks(rows_NF: NDArray[np.float64], samples: int, seed: int, block: int) -> NDArray[Any]:
    """Sum as many rows as there are, drawn as runs of `block` neighbours and a shorter one: (R, F)."""
    generator = np.random.default_rng(seed)
    runs, rest = divmod(len(rows_NF), block)
    before = np.concatenate((np.zeros((1, rows_NF.shape[1])), np.cumsum(rows_NF, axis=0)))
    sums = np.zeros((samples, rows_NF.shape[1]))
    for length, count in ((block, runs), (rest, 1)):
        run_sums = before[length:] - before[: len(before) - length]
        chunk = max(1, _CHUNK // max(1, count))
        for first in range(0, samples if length else 0, chunk):
            drawn = generator.integers(len(run_sums), size=(min(chunk, samples - first), count))
            sums[first : first + len(drawn)] += run_sums[drawn].sum(axis=1)
    return sums


def _exchanged(differences_NF: NDArray[np.float64], samples: int, seed: int, block: int) -> NDArray[Any]:
    """Sum the differences of examples that change sides, each group of neighbours or none of it: (R, F)."""
    groups_GF = np.add.reduceat(differences_NF, np.arange(0, len(differences_NF), block), axis=0)
    generator = np.random.default_rng([seed, 1])  # not the draws of the bootstrap
    chunk = max(1, _CHUNK // len(groups_GF))
    sums = []
    for first in range(0, samples, chunk):
        shape = (min(chunk, samples - first), len(groups_GF))
        sums.append(generator.integers(2, size=shape, dtype=np.uint8).astype(np.float64) @ groups_GF)
    return np.concatenate(sums)


def _p_value(chance_R: NDArray[np.float64], found: float, slack: float) -> float:
    """Return the share of differences by chance that are as large as the one found, that one included."""
    hits = int((np.abs(chance_R) >= abs(found) - slack).sum())
    return (hits + 1) / (len(chance_R) + 1)
