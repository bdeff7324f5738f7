"""Forecasts of a bundle scored, and beside them what simple methods forecast of the same windows.

Shapes: N windows, H horizon, V variables, M samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.decoding.forecast import in_data_units
from dragoman.evaluation.baselines import fit_baselines
from dragoman.evaluation.forecasting import Outcomes, measure_forecasts, naive_error
from dragoman.evaluation.metrics import Score
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.series import Crps, ForecastError, Mase, Smape
from dragoman.records import Prediction, Series, Value

Numbers = NDArray[np.float64]
_METRICS = (ForecastError, Smape, Mase, Crps)
MODEL = "model"
"""Whose scores are not a baseline's."""


def forecast_scores(
    bundle: Bundle,
    predictions: Sequence[Prediction],
    references: Sequence[Sequence[Value]],
    evaluation: Evaluation,
    training: Iterable[tuple[Series, Series]] = (),
) -> dict[str, tuple[Score, ...]]:
    """Return the metrics of forecasts under "model", and where there are training windows those of baselines.

    Intervals are of blocks of windows as long as windows overlap.
    """
    codec = bundle.codecs.target
    assert isinstance(codec, NumbersCodec), "only numbers are forecast"
    sources = [series_of(prediction.example.source) for prediction in predictions]
    season = codec.section.season
    truth = _stacked([series_of(given[0]).values for given in references])
    deviations = np.stack([codec.statistics.of(source.id).deviation for source in sources])
    naive = _naive_errors(sources, evaluation, season)
    outcomes = {MODEL: _outcomes(codec, predictions, truth, deviations, naive)}
    pairs = iter(training)
    if (first := next(pairs, None)) is not None:
        fitted = fit_baselines(codec, _chained(first, pairs), truth.shape[1], season)
        for name, points in fitted.forecasts(sources).items():
            outcomes[name] = Outcomes(truth, points, deviations=deviations, naive_errors=naive)
    block = _overlap(bundle)
    return {
        name: tuple(
            measure_forecasts(metric, [outcome], evaluation, block, season)
            for metric in evaluation.metrics
            if isinstance(metric, _METRICS)
        )
        for name, outcome in outcomes.items()
    }


def _chained(
    first: tuple[Series, Series], rest: Iterable[tuple[Series, Series]]
) -> Iterable[tuple[Series, Series]]:
    yield first
    yield from rest


def _overlap(bundle: Bundle) -> int:
    """Return how many neighbouring windows share steps of their targets."""
    windows = bundle.recipe.data.windows
    return 1 if windows is None else -(-windows.horizon // windows.score_stride)


def _stacked(rows: Sequence[Numbers]) -> Numbers:
    """Put targets together (N, H, V); steps that shorter ones lack count as missing."""
    longest = max(len(row) for row in rows)
    stacked = np.full((len(rows), longest, rows[0].shape[1]), np.nan)
    for place, row in zip(stacked, rows, strict=True):
        place[: len(row)] = row
    return stacked


def _outcomes(
    codec: NumbersCodec,
    predictions: Sequence[Prediction],
    truth: Numbers,
    deviations: Numbers,
    naive: Numbers | None,
) -> Outcomes:
    steps = truth.shape[1]
    points = [series_of(prediction.values[0]).values[:steps] for prediction in predictions]
    first = predictions[0].forecast
    assert first is not None, "numbers are answered by forecasts"
    samples = None
    if first.samples is not None:
        samples = np.stack(
            [_in_units(codec, one, one.forecast.samples) for one in predictions if one.forecast]
        )
    quantiles: Mapping[float, Numbers] = {
        level: np.stack(
            [_in_units(codec, one, one.forecast.quantiles[level]) for one in predictions if one.forecast]
        )
        for level in first.quantiles
    }
    return Outcomes(truth, _stacked(points), samples, quantiles, deviations, naive)


def _in_units(codec: NumbersCodec, prediction: Prediction, frames: NDArray[np.float32] | None) -> Numbers:
    assert frames is not None, "all forecasts of one call have samples, or none has"
    return in_data_units(codec, frames, prediction.example.source)


def _naive_errors(sources: Sequence[Series], evaluation: Evaluation, season: int | None) -> Numbers | None:
    """Return the errors of seasonal naive forecasts in the past of each window (N, V), where MASE asks."""
    asked = [metric for metric in evaluation.metrics if isinstance(metric, Mase)]
    if not asked or season is None:
        return None
    whole = asked[0].past == "series"
    return np.stack([naive_error(_past(source, whole), season) for source in sources])


def _past(source: Series, whole: bool) -> Numbers:
    if whole and source.before is not None:
        return np.concatenate([source.before, source.values])
    return source.values
