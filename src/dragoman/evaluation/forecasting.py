"""Metrics of forecasts: errors, shares and distributions, each with an interval that knows of overlap.

A value that is missing is not scored. Every metric is a mean over the values that are there, so that it is a
function of two sums over windows: of errors and of values.
Shapes: N windows, H horizon, V variables, M samples, F features of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dragoman import __version__
from dragoman.errors import DataError
from dragoman.evaluation.metrics import Score, Statistics, scored
from dragoman.evaluation.significance import drawn_together
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.series import Crps, ForecastError, ForecastMetric, Mase, Smape

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What was forecast for some windows, in the units of the data, and what came.

    `truth` and `points` are (N, H, V), `truth` with NaN where it is missing; `samples` are (N, M, H, V);
    `quantiles` map a level to (N, H, V). `deviations` (N, V) or (V,) are of all training values, for
    `units: global`. `naive_errors` (N, V) are those of `naive_error`, for MASE.
    """

    truth: Numbers
    points: Numbers
    samples: Numbers | None = None
    quantiles: Mapping[float, Numbers] = field(default_factory=dict)
    deviations: Numbers | None = None
    naive_errors: Numbers | None = None


def measure_forecasts(
    metric: ForecastMetric,
    outcomes: Sequence[Outcomes],
    section: Evaluation,
    overlap: int = 1,
    season: int | None = None,
) -> Score:
    """Score windows in their order, given in one part or several, with an interval; see `window_statistics`.

    It is a bootstrap over blocks of neighbouring windows (Kuensch 1989) where `overlap` of them share steps,
    since such windows are no independent draws.
    """
    return scored(window_statistics(metric, outcomes, overlap, season), section)


def window_statistics(
    metric: ForecastMetric, outcomes: Sequence[Outcomes], overlap: int = 1, season: int | None = None
) -> Statistics:
    """Return the errors of windows in their order, and how many neighbours share steps.

    `season` is what `naive_errors` were computed with. Raises DataError where there is nothing to score, or
    no number where one was needed.
    """
    if not sum(len(part.truth) for part in outcomes):
        raise DataError(f"nothing to score: `{metric.label}` got no windows")
    rows_NF = np.concatenate([window_rows(metric, part) for part in outcomes])
    if not rows_NF[:, 1].any():
        reason = "has no change a season apart in its past" if isinstance(metric, Mase) else "is missing"
        raise DataError(f"nothing to score: `{metric.label}` got {len(rows_NF):,} windows, and each {reason}")
    signature = "|".join(_signature(metric, outcomes[0], season))
    return statistics_of_errors(metric.label, rows_NF, overlap, signature)


def statistics_of_errors(label: str, rows_NF: Numbers, overlap: int, signature: str) -> Statistics:
    """Return the statistics of windows from their sums of errors and numbers of values (N, 2)."""
    block = drawn_together(len(rows_NF), overlap)
    parts = [
        signature,
        f"windows:{len(rows_NF)}",
        "interval:bootstrap" if block == 1 else f"interval:moving-blocks-of-{block}",
        f"dragoman:{__version__}",
    ]
    return Statistics(label, rows_NF, _ratio, "|".join(parts), higher_is_better=False, overlap=overlap)


def window_rows(metric: ForecastMetric, outcomes: Outcomes) -> Numbers:
    """Return for each window the sum of its errors and how many values they are of: (N, 2)."""
    present = ~np.isnan(outcomes.truth)
    bad = present & ~np.isfinite(outcomes.points)
    if bad.any():
        window, step, variable = np.argwhere(bad)[0]
        raise DataError(
            f"window {window + 1}, step {step + 1}, variable {variable + 1}: expected a finite forecast, "
            f"found {outcomes.points[window, step, variable]}"
        )
    truth, points = np.where(present, outcomes.truth, 0.0), np.where(present, outcomes.points, 0.0)
    match metric:
        case ForecastError(name="mse"):
            errors = np.square((points - truth) / _unit(metric, outcomes))
        case ForecastError():
            errors = np.abs(points - truth) / _unit(metric, outcomes)
        case Smape():
            sizes = np.abs(points) + np.abs(truth)
            errors = 200 * np.abs(points - truth) / np.where(sizes > 0, sizes, 1.0)
        case Mase():
            errors, present = _scaled_errors(np.abs(points - truth), present, outcomes)
        case Crps():
            errors = crps(truth, outcomes) / _unit(metric, outcomes)
    sums = np.where(present, errors, 0.0).sum(axis=(1, 2))
    return np.stack([sums, present.sum(axis=(1, 2))], axis=1)


def crps(truth: Numbers, outcomes: Outcomes) -> Numbers:
    """Return the score of each value (N, H, V): of samples exactly, else of quantiles, else of the point.

    Of samples it is that of their empirical distribution (Gneiting and Raftery 2007, equation 21); of
    quantiles, twice the mean pinball loss over the levels; of a point, the absolute error.
    """
    if outcomes.samples is not None:
        ordered = np.sort(outcomes.samples, axis=1)
        count = ordered.shape[1]
        ranks_M = (2 * np.arange(1, count + 1) - count - 1) / count**2
        spread = np.einsum("nmhv,m->nhv", ordered, ranks_M)
        return np.asarray(np.abs(ordered - truth[:, None]).mean(axis=1) - spread)
    if not outcomes.quantiles:
        return np.abs(outcomes.points - truth)
    losses = [
        np.maximum(level * (truth - quantile), (level - 1) * (truth - quantile))
        for level, quantile in outcomes.quantiles.items()
    ]
    return np.asarray(2 * np.mean(losses, axis=0))


def naive_error(past: Numbers, season: int) -> Numbers:
    """Return the mean absolute change a season apart (V,) in the past (S, V); NaN where there is none."""
    changes = np.abs(past[season:] - past[:-season])
    counts = (~np.isnan(changes)).sum(axis=0)
    return np.where(counts > 0, np.nansum(changes, axis=0) / np.maximum(counts, 1), np.nan)


def _scaled_errors(
    errors: Numbers, present: NDArray[np.bool_], outcomes: Outcomes
) -> tuple[Numbers, NDArray[np.bool_]]:
    """Divide by naive errors; where there is none, or it is 0, a value is not scored."""
    if outcomes.naive_errors is None:
        raise DataError("`mase` needs a season: say `season` in the section of the target")
    naive = outcomes.naive_errors[:, None]
    is_usable = np.nan_to_num(naive) > 0
    return errors / np.where(is_usable, naive, 1.0), present & is_usable


def _unit(metric: ForecastError | Crps, outcomes: Outcomes) -> Numbers:
    """Return what errors are divided by, to go with (N, H, V)."""
    if metric.units == "data":
        return np.ones((1, 1, 1))
    assert outcomes.deviations is not None, "deviations go with `units: global`"
    return outcomes.deviations[..., None, :]


def _signature(metric: ForecastMetric, outcomes: Outcomes, season: int | None) -> list[str]:
    match metric:
        case ForecastError():
            return [f"units:{metric.units}"]
        case Smape():
            return ["range:0-200", "zero/zero:0"]
        case Mase():
            return [f"season:{season}", f"past:{metric.past}", "constant-past:left-out"]
        case Crps():
            kind = f"{len(outcomes.quantiles)}-quantiles" if outcomes.quantiles else "point"
            if outcomes.samples is not None:
                kind = f"{outcomes.samples.shape[1]}-samples"
            return [f"units:{metric.units}", f"from:{kind}"]


def _ratio(sums_F: Numbers) -> float:
    """Divide errors by values; a resample of nothing but missing values scores 0."""
    return float(sums_F[0] / sums_F[1]) if sums_F[1] else 0.0
