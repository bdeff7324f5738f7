"""Where forecasts go wrong, and what the worst and the best of them came from.

Shapes: N windows, H horizon, V variables, P places of a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragoman.bundle import Bundle
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.evaluation.evaluate import Report
from dragoman.evaluation.forecast_errors import (
    LevelCoverage,
    SeriesError,
    best_windows,
    errors_by_series,
    errors_by_step,
    errors_by_window,
    errors_of,
    level_coverage,
    worst_windows,
)
from dragoman.evaluation.forecasting import Numbers, Outcomes
from dragoman.evaluation.forecasts import outcomes_of
from dragoman.explanation.attribution import Method
from dragoman.explanation.report.shown_examples import what_counts
from dragoman.explanation.subject import Place
from dragoman.records import Series


@dataclass(frozen=True, eq=False)
class Window:
    """A window of a series, where it begins, its forecast, what came, and quantiles by their level (H, V).

    `weights_P` say how much each of `places` of the context counts for the whole forecast, the largest being
    1. Both are empty where the forecast cannot be explained.
    """

    context: Series
    name: str
    point: Numbers
    truth: Numbers
    quantiles: Mapping[float, Numbers]
    error: float
    places: tuple[Place, ...]
    weights_P: Numbers


@dataclass(frozen=True, eq=False)
class ForecastQuality:
    """Errors in deviations of the training values: by step (H,), by series, the worst and best windows."""

    by_step: Numbers
    by_series: tuple[SeriesError, ...]
    coverage: tuple[LevelCoverage, ...]
    worst: tuple[Window, ...]
    best: tuple[Window, ...]


def forecast_quality(bundle: Bundle, report: Report, method: Method) -> ForecastQuality:
    """Measure forecasts, and explain some by a method."""
    outcomes = outcomes_of(bundle, report.predictions, report.references)
    errors_NHV = errors_of(outcomes)
    sources = [one.example.source for one in report.predictions]
    is_numeric = isinstance(bundle.codecs.source, NumbersCodec)
    contexts = [series_of(source) for source in sources] if is_numeric else []
    names = [one.id for one in contexts] or [""] * len(sources)
    worst = worst_windows(errors_NHV, names) if contexts else []
    best = best_windows(errors_NHV, names, besides=worst) if contexts else []
    errors_N = errors_by_window(errors_NHV)
    windows = [
        _window(bundle, report, outcomes, number, float(errors_N[number]), method)
        for number in (*worst, *best)
    ]
    return ForecastQuality(
        errors_by_step(errors_NHV),
        errors_by_series(errors_NHV, names, series_of(report.references[0][0]).names),
        level_coverage(outcomes),
        tuple(windows[: len(worst)]),
        tuple(windows[len(worst) :]),
    )


def _window(
    bundle: Bundle, report: Report, outcomes: Outcomes, number: int, error: float, method: Method
) -> Window:
    prediction = report.predictions[number]
    context = series_of(prediction.example.source)
    return Window(
        context,
        prediction.example.id or context.id,
        outcomes.points[number],
        outcomes.truth[number],
        {level: values[number] for level, values in outcomes.quantiles.items()},
        error,
        *what_counts(bundle, prediction, method),
    )
