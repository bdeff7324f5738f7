"""The linear highway of a model of numbers, fitted before the first step: training begins at the best line.

Shapes: N windows, S steps of a context, H steps of a horizon, V variables, R = N·V rows, K lines, W = S + 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.data.frames import Frames
from dragoman.data.store import Entries
from dragoman.model.highway import Highway
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.objectives import Absolute
from dragoman.training.kinds import fit_kinds

MOST_WINDOWS = 1_000_000
"""Windows that the fit looks at, evenly spaced. Neighbours overlap, and yet more of them fit better: on ETTh1
all windows came to a development error of 0.650, every other one to 0.657."""
_WINDOWS_OF_KINDS = 20_000
"""Windows, evenly spaced, that kinds are found in."""
_AT_ONCE = 512
_ROUNDS = 2
"""Fits after the first, for absolute errors; what further ones change is lost in noise."""
_LEAST_ERROR = 0.01
"""A row counts as if its error were at least this, in the scale of the codec: no row decides alone."""

Numbers = NDArray[np.float64]


def fit_highway(model: Seq2Seq, entries: Entries, ridge: float, growth: float = 0.0) -> None:
    """Set the highway to the ridge regression of targets on contexts, and the answers beside it to nothing.

    The penalty is `ridge` times the mean square of the context (Hoerl and Kennard 1970). With a `growth` it
    is in proportion to that power of a step's distance from the forecast, and `ridge` is its mean: what is
    long ago says less (Litterman 1986). Rows count by their units: the loss counts them by the square of
    these, but where windows have their own scales those that vary more are noisier too, and least squares
    are most exact with as much noise in each row (Aitken 1935). Half of the way was best on development of
    ETTh2 at every horizon, and constant windows cannot break it.
    Where the loss is the absolute error, the fit is repeated with rows that count inversely by their mean
    error of the fit before, which leads to least absolute errors (Schlossmacher 1973), here of whole rows.
    Windows with a missing target are passed over. Each of several lines is fitted to the windows of its kind.
    """
    highway = model.highway
    assert highway is not None, "asked for of models that have one"
    if highway.kinds is not None:
        blocks = _blocks(entries, highway.size, _WINDOWS_OF_KINDS)
        fit_kinds(highway.kinds, np.concatenate([contexts_RS for contexts_RS, *_ in blocks]))
    penalty_S = ridge * _growing(highway.context, growth)
    weights_KWH = _fitted(entries, highway, penalty_S)
    if isinstance(model.number_head.section, Absolute):
        for _ in range(_ROUNDS):
            weights_KWH = _fitted(entries, highway, penalty_S, weights_KWH)
    with torch.no_grad():
        slopes_KHS = torch.from_numpy(weights_KWH[:, :-1]).transpose(1, 2)
        highway.linear.weight.copy_(slopes_KHS.flatten(0, 1))
        highway.linear.bias.copy_(torch.from_numpy(weights_KWH[:, -1]).flatten())
        model.number_head.linear.weight.zero_()


def _growing(steps: int, power: float) -> Numbers:
    """Return distances from the end of a context to that power, as shares of their mean (S,)."""
    distances_S = np.arange(steps, 0, -1) / steps
    return np.asarray(distances_S**power / (distances_S**power).mean())


def _fitted(
    entries: Entries, highway: Highway, penalty_S: Numbers, before_KWH: Numbers | None = None
) -> Numbers:
    """Return weights and below them the bias (K, W, H), by the errors of those before if there are any."""
    lines, wide = highway.lines, highway.context + 1
    gram_KWW, products_KWH = np.zeros((lines, wide, wide)), np.zeros((lines, wide, highway.horizon))
    for contexts_RS, targets_RH, units_R1 in _blocks(entries, highway.size, MOST_WINDOWS):
        rows_RW = np.concatenate([contexts_RS, np.ones_like(units_R1)], axis=1)
        kinds_R = _kinds(highway, contexts_RS)
        for kind in range(lines):
            of_kind_R = kinds_R == kind
            rows, targets, counts = rows_RW[of_kind_R], targets_RH[of_kind_R], units_R1[of_kind_R]
            if before_KWH is not None:
                errors = np.abs(targets - rows @ before_KWH[kind]).mean(axis=1, keepdims=True)
                counts = counts / np.maximum(errors, _LEAST_ERROR)
            gram_KWW[kind] += rows.T @ (rows * counts)
            products_KWH[kind] += rows.T @ (targets * counts)
    return np.stack([_solved(*sums, penalty_S) for sums in zip(gram_KWW, products_KWH, strict=True)])


def _kinds(highway: Highway, contexts_RS: Numbers) -> NDArray[np.int64]:
    """Return the line that leads on from each context, as the model will find it."""
    if highway.kinds is None:
        return np.zeros(len(contexts_RS), np.int64)
    with torch.no_grad():
        device = highway.kinds.weights_L.device
        return np.asarray(highway.kinds(torch.from_numpy(contexts_RS).to(device)).cpu().numpy())


def _solved(gram_WW: Numbers, products_WH: Numbers, penalty_S: Numbers) -> Numbers:
    """Return the ridge regression of these sums (W, H); the penalties are shares of the mean square."""
    steps = len(penalty_S)
    mean_square = np.trace(gram_WW[:steps, :steps]) / steps
    penalty_W = np.append(penalty_S * mean_square, 0.0)  # the mean is free
    # Least norm where contexts leave some direction open: constant ones do without ridge.
    weights_WH, *_ = np.linalg.lstsq(gram_WW + np.diag(penalty_W), products_WH, rcond=None)
    return np.asarray(weights_WH)


def _blocks(entries: Entries, size: int, most: int) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Give contexts (R, S), targets (R, H) and units (R, 1) of evenly spaced windows, some at a time."""
    count = min(len(entries), most)
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
