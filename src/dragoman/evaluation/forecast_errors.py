"""Where forecasts go wrong: by step, by series; whether quantiles hold what they say; the worst windows.

Errors are absolute ones over the deviation of the training values, so that series compare. Shapes: N windows,
H horizon, V variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragoman.evaluation.forecasting import Numbers, Outcomes


@dataclass(frozen=True, slots=True)
class SeriesError:
    """The mean error of a variable of a series, over so many windows; `bias` has its sign."""

    name: str
    windows: int
    error: float
    bias: float


@dataclass(frozen=True, slots=True)
class LevelCoverage:
    """What share of what came lies below the quantile of a level; of `values` that are there."""

    level: float
    share: float
    values: int


def errors_of(outcomes: Outcomes) -> Numbers:
    """Return errors with their sign (N, H, V): forecast less truth; NaN where the truth is missing."""
    units = 1.0 if outcomes.deviations is None else outcomes.deviations[..., None, :]
    found: Numbers = (outcomes.points - outcomes.truth) / units
    return found


def errors_by_step(errors_NHV: Numbers) -> Numbers:
    """Return the mean absolute error at each step of the horizon (H,)."""
    return _mean(np.abs(errors_NHV), (0, 2))


def errors_by_series(
    errors_NHV: Numbers, series: Sequence[str], variables: Sequence[str] = ()
) -> tuple[SeriesError, ...]:
    """Return the mean error of each variable of each series, the largest first."""
    found = []
    for name in dict.fromkeys(series):
        members = [number for number, other in enumerate(series) if other == name]
        for variable in range(errors_NHV.shape[2]):
            part = errors_NHV[members, :, variable]
            label = variables[variable] if variable < len(variables) else f"variable {variable + 1}"
            full = name if errors_NHV.shape[2] == 1 and name else f"{name} {label}".strip()
            if not np.isnan(part).all():
                found.append(
                    SeriesError(full, len(members), float(np.nanmean(np.abs(part))), float(np.nanmean(part)))
                )
    return tuple(sorted(found, key=lambda one: -one.error))


def level_coverage(outcomes: Outcomes) -> tuple[LevelCoverage, ...]:
    """Say of each quantile how much of what came lies below it: a level of 0.9 should have 90%."""
    is_there = ~np.isnan(outcomes.truth)
    return tuple(
        LevelCoverage(level, float((outcomes.truth < quantile)[is_there].mean()), int(is_there.sum()))
        for level, quantile in sorted(outcomes.quantiles.items())
        if is_there.any()
    )


def errors_by_window(errors_NHV: Numbers) -> Numbers:
    """Return the mean absolute error of each window (N,); NaN where nothing came."""
    return _mean(np.abs(errors_NHV), (1, 2))


def worst_windows(errors_NHV: Numbers, series: Sequence[str], count: int = 4) -> list[int]:
    """Return the windows with the largest mean errors, the worst first, and no two that share a step."""
    order = np.argsort(-errors_by_window(errors_NHV), kind="stable")
    return _apart(errors_NHV, series, order.tolist(), count)


def best_windows(
    errors_NHV: Numbers, series: Sequence[str], count: int = 2, besides: Sequence[int] = ()
) -> list[int]:
    """Return the windows with the smallest mean errors, the best first, and no two that share a step.

    Those named `besides` are not among them.
    """
    order = np.argsort(errors_by_window(errors_NHV), kind="stable")
    return _apart(errors_NHV, series, [number for number in order.tolist() if number not in besides], count)


def _apart(errors_NHV: Numbers, series: Sequence[str], order: Sequence[int], count: int) -> list[int]:
    """Take the first windows of an order that share no step, of those where anything came."""
    horizon, is_known = errors_NHV.shape[1], np.isfinite(errors_by_window(errors_NHV))
    chosen: list[int] = []
    for number in order:
        if len(chosen) == count:
            break
        apart = (abs(number - other) >= horizon or series[number] != series[other] for other in chosen)
        if is_known[number] and all(apart):
            chosen.append(number)
    return chosen


def _mean(values: Numbers, axes: tuple[int, int]) -> Numbers:
    """Return the mean of what is there; NaN where nothing is."""
    is_there: NDArray[np.bool_] = ~np.isnan(values)
    counts = is_there.sum(axis=axes)
    sums = np.where(is_there, values, 0.0).sum(axis=axes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
