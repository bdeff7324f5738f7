"""The linear highway of a model of numbers, fitted before the first step: training begins at the best line.

Shapes: N windows, S steps of a context, H steps of a horizon, V variables, R = N·V rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.data.frames import Frames
from dragoman.data.store import Entries
from dragoman.model.frame_inputs import Highway
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.objectives import Absolute

MOST_WINDOWS = 1_000_000
"""Windows that the fit looks at, evenly spaced. Neighbours overlap, and yet more of them fit better: on ETTh1
all windows came to a development error of 0.650, every other one to 0.657."""
_AT_ONCE = 512
_ROUNDS = 2
"""Fits after the first, for absolute errors; what further ones change is lost in noise."""
_LEAST_ERROR = 0.01
"""A row counts as if its error were at least this, in the scale of the codec: no row decides alone."""

Numbers = NDArray[np.float64]


def fit_highway(model: Seq2Seq, entries: Entries, ridge: float) -> None:
    """Set the highway to the ridge regression of targets on contexts, and the answers beside it to nothing.

    The penalty is `ridge` times the mean square of the context (Hoerl and Kennard 1970). Rows count by their
    units: the loss counts them by the square of these, but where windows have their own scales those that
    vary more are noisier too, and least squares are most exact with as much noise in each row (Aitken 1935).
    Half of the way was best on development of ETTh2 at every horizon, and constant windows cannot break it.
    Where the loss is the absolute error, the fit is repeated with rows that count inversely by their mean
    error of the fit before, which leads to least absolute errors (Schlossmacher 1973), here of whole rows.
    Windows with a missing target are passed over.
    """
    highway = model.highway
    assert highway is not None, "asked for of models that have one"
    weights = _fitted(entries, highway, ridge)
    if isinstance(model.number_head.section, Absolute):
        for _ in range(_ROUNDS):
            weights = _fitted(entries, highway, ridge, weights)
    with torch.no_grad():
        highway.linear.weight.copy_(torch.from_numpy(weights[:-1].T))
        highway.linear.bias.copy_(torch.from_numpy(weights[-1]))
        model.number_head.linear.weight.zero_()


def _fitted(entries: Entries, highway: Highway, ridge: float, before: Numbers | None = None) -> Numbers:
    """Return weights and below them the bias (S + 1, H), by the errors of those `before` if there are any."""
    steps, horizon = highway.context, highway.linear.out_features
    gram, products = np.zeros((steps + 1, steps + 1)), np.zeros((steps + 1, horizon))
    for contexts_RS, targets_RH, units_R1 in _blocks(entries, highway.size):
        rows = np.concatenate([contexts_RS, np.ones_like(units_R1)], axis=1)
        counts_R1 = units_R1
        if before is not None:
            errors_R1 = np.abs(targets_RH - rows @ before).mean(axis=1, keepdims=True)
            counts_R1 = units_R1 / np.maximum(errors_R1, _LEAST_ERROR)
        gram += rows.T @ (rows * counts_R1)
        products += rows.T @ (targets_RH * counts_R1)
    penalty = np.full(steps + 1, ridge * np.trace(gram[:steps, :steps]) / steps)
    penalty[steps] = 0.0  # the mean is free
    # Least norm where contexts leave some direction open: constant ones do without ridge.
    weights, *_ = np.linalg.lstsq(gram + np.diag(penalty), products, rcond=None)
    return np.asarray(weights)


def _blocks(entries: Entries, size: int) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Give contexts (R, S), targets (R, H) and units (R, 1) of evenly spaced windows, some at a time."""
    count = min(len(entries), MOST_WINDOWS)
    chosen = np.linspace(0, len(entries) - 1, count).round().astype(np.int64).tolist()
    for first in range(0, count, _AT_ONCE):
        parts = [_rows(entries, entry, size) for entry in chosen[first : first + _AT_ONCE]]
        contexts_RS, targets_RH, units_R1 = (np.concatenate(part) for part in zip(*parts, strict=True))
        is_whole_R = np.isfinite(targets_RH).all(axis=1)
        yield contexts_RS[is_whole_R], targets_RH[is_whole_R], units_R1[is_whole_R]


def _rows(entries: Entries, entry: int, size: int) -> tuple[Numbers, Numbers, Numbers]:
    source, target = entries.encoded(entry)
    assert isinstance(source, Frames) and isinstance(target, Frames), "it leads from numbers to numbers"
    units = np.ones(size) if target.units is None else target.units
    return (
        source.values[:, :size].T.astype(np.float64),
        target.values.T.astype(np.float64),
        units[:, None].astype(np.float64),
    )
