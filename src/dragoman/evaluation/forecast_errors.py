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


def worst_windows(errors_NHV: Numbers, series: Sequence[str], count: int = 4) -> list[int]:
    """Return the windows with the largest mean errors, the worst first, and no two that share a step."""
    error_N = np.nan_to_num(_mean(np.abs(errors_NHV), (1, 2)))
    horizon = errors_NHV.shape[1]
    chosen: list[int] = []
    for number in np.argsort(-error_N, kind="stable").tolist():
        apart = (abs(number - other) >= horizon or series[number] != series[other] for other in chosen)
        if all(apart):
            chosen.append(number)
        if len(chosen) == count:
            break
    return chosen


def _mean(values: Numbers, axes: tuple[int, int]) -> Numbers:
    """Return the mean of what is there; NaN where nothing is."""
    is_there: NDArray[np.bool_] = ~np.isnan(values)
    counts = is_there.sum(axis=axes)
    sums = np.where(is_there, values, 0.0).sum(axis=axes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
