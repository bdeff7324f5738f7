"""How far a score may be off because other examples could have been drawn.

The bootstrap of Koehn 2004 for scores of any kind; Wilson's interval for shares of right answers.

Shapes: N sentences, R resamples, F features of a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22
"""Draws held at a time: 32 MiB of indices, and as much of counts."""


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
    Where neighbours are alike, runs of `block` rows are drawn together (moving blocks, Kuensch 1989).
    """
    value = score(rows_NF.sum(axis=0))
    drawn = _resampled(rows_NF, samples, seed) if block == 1 else _blocks(rows_NF, samples, seed, block)
    drawn_R = np.array([score(sums_F) for sums_F in drawn])
    low, high = np.quantile(drawn_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return value, min(float(low), value), max(float(high), value)


def wilson_interval(hits: float, trials: int, confidence: float) -> tuple[float, float, float]:
    """Return a share of trials and the ends of its interval, all in percent (Wilson 1927).

    Unlike a bootstrap it says of 20 right answers in 20 that the next may be wrong.
    """
    share, z = hits / trials, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low, high = max(0.0, centre - spread), min(1.0, centre + spread)
    return 100 * share, 100 * min(low, share), 100 * max(high, share)


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
