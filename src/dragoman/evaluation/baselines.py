"""The forecasts that every other must be held against: last value, seasonal naive, and a linear model.

They forecast the same windows from the same contexts, in the units of the data.
Shapes: N windows, S steps of a context, H horizon, V variables, R rows: a variable of a window each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from dragoman.data.number_codec import NumbersCodec
from dragoman.data.scaling import Scale
from dragoman.errors import DataError
from dragoman.records import Series

Numbers = NDArray[np.float64]
Block = tuple[Numbers, Numbers, Numbers]
"""Contexts (N, S, V), targets (N, H, V) and units (N, V) of some windows."""
KERNEL = 25
"""Steps of DLinear's moving average (Zeng et al. 2023, appendix)."""
RIDGE = 1e-4
"""Penalty on squared weights, as a share of the mean variance of DLinear's inputs: it decides between weights
that forecast alike, no more."""
_AT_ONCE = 512


def last_value(contexts_NSV: Numbers, horizon: int, otherwise_V: Numbers) -> Numbers:
    """Repeat each variable's last value that is there; `otherwise_V` where a context has none: (N, H, V)."""
    last_NV = filled(contexts_NSV, otherwise_V)[:, -1]
    return np.repeat(last_NV[:, None], horizon, axis=1)


def seasonal_naive(contexts_NSV: Numbers, horizon: int, season: int, otherwise_V: Numbers) -> Numbers:
    """Repeat the last season: of each of its steps the last value that is there, or else the last value.

    DataError for a context shorter than a season.
    """
    windows, steps, variables = contexts_NSV.shape
    if steps < season:
        raise DataError(f"a context of {steps:,} steps holds no whole season of {season:,}; lengthen it")
    whole = contexts_NSV[:, steps % season :].reshape(windows, -1, season * variables)
    rows = np.where(np.isnan(whole), 0, np.arange(whole.shape[1])[None, :, None]).max(axis=1, keepdims=True)
    last = np.take_along_axis(whole, rows, axis=1).reshape(windows, season, variables)
    last = np.where(np.isnan(last), last_value(contexts_NSV, season, otherwise_V), last)
    return last[:, np.arange(horizon) % season]


def filled(contexts_NSV: Numbers, otherwise_V: Numbers) -> Numbers:
    """Let each missing value be the one before it, or `otherwise_V` where there is none before it."""
    missing = np.isnan(contexts_NSV)
    if not missing.any():
        return contexts_NSV
    rows = np.where(missing, 0, np.arange(contexts_NSV.shape[1])[None, :, None])
    forward = np.take_along_axis(contexts_NSV, np.maximum.accumulate(rows, axis=1), axis=1)
    return np.where(np.isnan(forward), otherwise_V, forward)


@dataclass(frozen=True, eq=False)
class DLinear:
    """DLinear (Zeng et al. 2023): a linear map of a context's trend and one of the rest, for all variables.

    The trend is a moving average over KERNEL steps, the ends repeated. The paper trains both maps by Adam;
    here they are the exact least-squares solution with a small ridge, in float64, which needs no tuning and
    is the same on every machine. The maps are kept as the one map of a context that they are together.
    """

    weights_SH: Numbers
    bias_H: Numbers

    def forecast(self, contexts_NSV: Numbers) -> Numbers:
        """Map contexts without NaN, in the scale that it was fitted in: (N, H, V)."""
        forecasts = np.einsum("nsv,sh->nhv", contexts_NSV, self.weights_SH, optimize=True)
        return np.asarray(forecasts + self.bias_H[:, None])


def fit_dlinear(blocks: Iterable[Block], context: int, horizon: int) -> DLinear:
    """Fit DLinear to blocks of contexts without NaN and targets, one pass, any number.

    Units say how large 1 is in each row, as a share of what it is in its series, and errors count as they are
    in series. Where windows have scales of their own, one that hardly varies has targets of thousands of its
    units, and would decide alone; where all have one scale, this is least squares. A variable of a window
    whose target has NaN is left out. DataError where nothing is left.
    """
    width = context + horizon
    count, sum_J, products_JJ = 0.0, np.zeros(width), np.zeros((width, width))
    for contexts_NSV, targets_NHV, units_NV in blocks:
        rows_RJ = np.concatenate((contexts_NSV, targets_NHV), axis=1).swapaxes(1, 2).reshape(-1, width)
        is_whole_R = ~np.isnan(rows_RJ).any(axis=1)
        rows_RJ, counts_R = rows_RJ[is_whole_R], units_NV.reshape(-1)[is_whole_R] ** 2
        count += counts_R.sum()
        sum_J += counts_R @ rows_RJ
        products_JJ[:context] += (counts_R[:, None] * rows_RJ[:, :context]).T @ rows_RJ
    if not count:
        raise DataError("no training window has a target without missing values to fit the linear model to")
    mean_J = sum_J / count
    covariance_SJ = products_JJ[:context] / count - np.outer(mean_J[:context], mean_J)
    trend_SS = moving_average(context)
    parts = np.concatenate((trend_SS, np.eye(context) - trend_SS))
    inputs = parts @ covariance_SJ[:, :context] @ parts.T
    ridge = RIDGE * np.trace(inputs) / len(inputs) or 1.0
    both = np.linalg.solve(inputs + ridge * np.eye(len(inputs)), parts @ covariance_SJ[:, context:])
    weights_SH = parts.T @ both
    return DLinear(weights_SH, mean_J[context:] - mean_J[:context] @ weights_SH)


def moving_average(steps: int, kernel: int = KERNEL) -> Numbers:
    """Return the matrix (S, S) that averages over `kernel` steps, the first and the last step repeated."""
    sources = np.clip(np.arange(steps)[:, None] + np.arange(kernel) - (kernel - 1) // 2, 0, steps - 1)
    matrix = np.zeros((steps, steps))
    np.add.at(matrix, (np.arange(steps)[:, None], sources), 1 / kernel)
    return matrix


class Baselines:
    """The baselines of one codec, fitted: what `fit_baselines` returns."""

    def __init__(self, codec: NumbersCodec, horizon: int, season: int | None, dlinear: DLinear) -> None:
        """Keep what the forecasts need."""
        self._codec, self._horizon, self._season, self.dlinear = codec, horizon, season, dlinear

    def forecasts(self, sources: Sequence[Series]) -> dict[str, Numbers]:
        """Return each baseline's forecasts of windows (N, H, V), by its name."""
        contexts_NSV = np.stack([source.values for source in sources])
        otherwise_V = self._codec.statistics.whole.middle
        found = {"last value": last_value(contexts_NSV, self._horizon, otherwise_V)}
        if self._season is not None:
            found[f"seasonal naive ({self._season})"] = seasonal_naive(
                contexts_NSV, self._horizon, self._season, otherwise_V
            )
        scales = [self._codec.scale_at(source) for source in sources]
        scaled = _each(Scale.apply, scales, filled(contexts_NSV, otherwise_V))
        found["DLinear"] = _each(Scale.undo, scales, self.dlinear.forecast(scaled))
        return found


def fit_baselines(
    codec: NumbersCodec, windows: Iterable[tuple[Series, Series]], horizon: int, season: int | None
) -> Baselines:
    """Fit the linear model to training windows, sources and targets, scaled as the codec scales them.

    Without a season there is no seasonal naive forecast. DataError where there is no window.
    """
    blocks = _scaled_blocks(codec, iter(windows))
    first = next(blocks, None)
    if first is None:
        raise DataError("there is no training window to fit the linear model to")
    dlinear = fit_dlinear(chain([first], blocks), first[0].shape[1], horizon)
    return Baselines(codec, horizon, season, dlinear)


def _scaled_blocks(codec: NumbersCodec, windows: Iterator[tuple[Series, Series]]) -> Iterator[Block]:
    """Stack windows, some at a time, in the scale of the codec."""
    otherwise_V = codec.statistics.whole.middle
    while pairs := list(islice(windows, _AT_ONCE)):
        sources = [source for source, _ in pairs]
        scales = [codec.scale_at(source) for source in sources]
        alike = [codec.statistics.of(source.id) for source in sources]
        contexts_NSV = filled(np.stack([source.values for source in sources]), otherwise_V)
        targets_NHV = np.stack([target.values for _, target in pairs])
        yield (
            _each(Scale.apply, scales, contexts_NSV),
            _each(Scale.apply, scales, targets_NHV),
            np.stack([own.deviation / one.deviation for own, one in zip(scales, alike, strict=True)]),
        )


def _each(act: Callable[[Scale, Numbers], Numbers], scales: Sequence[Scale], values: Numbers) -> Numbers:
    """Apply or undo the scale of each window (N, S, V)."""
    return np.stack([act(scale, window) for scale, window in zip(scales, values, strict=True)])
