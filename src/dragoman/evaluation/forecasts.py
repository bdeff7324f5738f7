"""Forecasts of a bundle scored, and beside them what simple methods forecast of the same windows.

Shapes: N windows, H horizon, V variables, M samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.decoding.batches import where
from dragoman.decoding.forecast import in_data_units
from dragoman.errors import DataError
from dragoman.evaluation.baselines import fit_baselines
from dragoman.evaluation.forecasting import Outcomes, naive_error, window_statistics
from dragoman.evaluation.metrics import Statistics
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.series import Crps, ForecastError, Mase, Smape
from dragoman.records import Prediction, Series, Value

Numbers = NDArray[np.float64]
_METRICS = (ForecastError, Smape, Mase, Crps)
MODEL = "model"
"""Whose scores are not a baseline's."""


def forecast_statistics(
    bundle: Bundle,
    predictions: Sequence[Prediction],
    references: Sequence[Sequence[Value]],
    evaluation: Evaluation,
    training: Iterable[tuple[Series, Series]] = (),
) -> dict[str, tuple[Statistics, ...]]:
    """Return the errors of forecasts under "model", and where there are training windows those of baselines.

    DataError for an answer that ends before its reference does.
    """
    codec = bundle.codecs.target
    assert isinstance(codec, NumbersCodec), "only numbers are forecast"
    is_numeric = isinstance(bundle.codecs.source, NumbersCodec)
    sources = [series_of(prediction.example.source) for prediction in predictions] if is_numeric else []
    season = codec.section.season
    targets = [series_of(given[0]).values for given in references]
    _refuse_short(predictions, targets)
    truth = _stacked(targets)
    names = [source.id for source in sources] or [""] * len(targets)
    deviations = np.stack([codec.statistics.of(name).deviation for name in names])
    naive = _naive_errors(codec, sources, evaluation, season)
    outcomes = {MODEL: _outcomes(codec, predictions, truth, deviations, naive)}
    pairs = iter(training)
    if (first := next(pairs, None)) is not None:
        fitted = fit_baselines(codec, chain([first], pairs), truth.shape[1], season)
        for name, points in fitted.forecasts(sources).items():
            outcomes[name] = Outcomes(truth, points, deviations=deviations, naive_errors=naive)
    overlap = _overlap(bundle, names)
    return {
        name: tuple(
            window_statistics(metric, [outcome], overlap, season)
            for metric in evaluation.metrics
            if isinstance(metric, _METRICS)
        )
        for name, outcome in outcomes.items()
    }


def outcomes_of(
    bundle: Bundle, predictions: Sequence[Prediction], references: Sequence[Sequence[Value]]
) -> Outcomes:
    """Put forecasts beside what came, in the units of the data, with the deviations of their series."""
    codec = bundle.codecs.target
    assert isinstance(codec, NumbersCodec), "only numbers are forecast"
    is_numeric = isinstance(bundle.codecs.source, NumbersCodec)
    names = [series_of(one.example.source).id if is_numeric else "" for one in predictions]
    deviations = np.stack([codec.statistics.of(name).deviation for name in names])
    truth = _stacked([series_of(given[0]).values for given in references])
    return _outcomes(codec, predictions, truth, deviations, None)


def _overlap(bundle: Bundle, series: Sequence[str]) -> int:
    """Return how many neighbouring windows, each of the series named, share steps of their targets."""
    windows = bundle.recipe.data.windows
    if windows is None:
        return 1
    return min(-(-windows.horizon // windows.score_stride), max(Counter(series).values()))


def _refuse_short(predictions: Sequence[Prediction], targets: Sequence[Numbers]) -> None:
    for number, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        if (found := len(series_of(prediction.values[0]).values)) < len(target):
            raise DataError(
                f"{where(number, prediction.example)}: a target of {len(target):,} steps and an answer of "
                f"{found:,}; `decoding.horizon` must reach as far as what is scored"
            )


def _stacked(rows: Sequence[Numbers]) -> Numbers:
    """Put targets together (N, H, V); steps that shorter ones lack count as missing."""
    longest = max(len(row) for row in rows)
    return np.stack([_fitted(row, longest) for row in rows])


def _fitted(values: Numbers, steps: int) -> Numbers:
    """Cut values (..., T, V) to so many steps, or fill them up with missing ones."""
    cut = values[..., :steps, :]
    lacking = [(0, 0)] * (cut.ndim - 2) + [(0, steps - cut.shape[-2]), (0, 0)]
    return np.pad(cut, lacking, constant_values=np.nan)


def _outcomes(
    codec: NumbersCodec,
    predictions: Sequence[Prediction],
    truth: Numbers,
    deviations: Numbers,
    naive: Numbers | None,
) -> Outcomes:
    steps = truth.shape[1]
    points = np.stack([_fitted(series_of(prediction.values[0]).values, steps) for prediction in predictions])
    first = predictions[0].forecast
    assert first is not None, "numbers are answered by forecasts"
    samples = None
    if first.samples is not None:
        samples = np.stack(
            [_in_units(codec, one, one.forecast.samples, steps) for one in predictions if one.forecast]
        )
    quantiles: Mapping[float, Numbers] = {
        level: np.stack(
            [
                _in_units(codec, one, one.forecast.quantiles[level], steps)
                for one in predictions
                if one.forecast
            ]
        )
        for level in first.quantiles
    }
    return Outcomes(truth, points, samples, quantiles, deviations, naive)


def _in_units(
    codec: NumbersCodec, prediction: Prediction, frames: NDArray[np.float32] | None, steps: int
) -> Numbers:
    assert frames is not None, "all forecasts of one call have samples, or none has"
    return _fitted(in_data_units(codec, frames, prediction.example.source), steps)


def _naive_errors(
    codec: NumbersCodec, sources: Sequence[Series], evaluation: Evaluation, season: int | None
) -> Numbers | None:
    """Return the errors of seasonal naive forecasts in the past of each window (N, V), where MASE asks."""
    asked = [metric for metric in evaluation.metrics if isinstance(metric, Mase)]
    if not asked or season is None:
        return None
    whole = asked[0].past == "series"
    return np.stack([naive_error(_past(codec.normalise(source), whole), season) for source in sources])


def _past(source: Series, whole: bool) -> Numbers:
    if whole and source.before is not None:
        return np.concatenate([source.before, source.values])
    return source.values
