"""Is the model's confidence right: of what it is 80% sure of, are four of five right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Numbers = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions of a confidence from `low` to `high`: how many, how sure on average, what share was right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Bins that hold any decision, and the expected calibration error (Guo et al. 2017), all from 0 to 1.

    `confidence` and `accuracy` are means over all decisions: a model is too sure where the first is larger.
    """

    bins: tuple[Bin, ...]
    error: float
    confidence: float
    accuracy: float


def calibration(confidences: Sequence[float], is_right: Sequence[bool], bins: int = 10) -> Calibration | None:
    """Compare how sure decisions were, 0 to 1, with whether they were right; None where there are none.

    Bins are equally wide; a confidence of 1 belongs to the last.
    """
    sure_N, right_N = np.asarray(confidences, np.float64), np.asarray(is_right, np.float64)
    if not len(sure_N):
        return None
    bin_N = np.minimum((sure_N * bins).astype(int), bins - 1)
    found = tuple(
        Bin(number / bins, (number + 1) / bins, len(sure), float(sure.mean()), float(right.mean()))
        for number in range(bins)
        if len(sure := sure_N[bin_N == number])
        for right in (right_N[bin_N == number],)
    )
    error = sum(one.count * abs(one.confidence - one.accuracy) for one in found) / len(sure_N)
    return Calibration(found, error, float(sure_N.mean()), float(right_N.mean()))


def rank_correlation(ones: _Numbers, others: _Numbers, fewest: int = 3) -> float | None:
    """Return Spearman's correlation of pairs of finite numbers.

    None where ranks do not differ, or of fewer than `fewest` pairs: of two it is always 1 or -1.
    """
    pairs_N2 = np.stack([np.asarray(ones, np.float64), np.asarray(others, np.float64)], axis=1)
    pairs_N2 = pairs_N2[np.isfinite(pairs_N2).all(axis=1)]
    if len(pairs_N2) < fewest:
        return None
    first_N, second_N = _ranks(pairs_N2[:, 0]), _ranks(pairs_N2[:, 1])
    if first_N.std() == 0 or second_N.std() == 0:
        return None
    return float(np.corrcoef(first_N, second_N)[0, 1])


def _ranks(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank values from 0; equal ones share their mean rank."""
    _, place_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts + 1) / 2)[place_N]
    return means
