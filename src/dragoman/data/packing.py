"""Cutting entries into batches: few steps of padding, no batch over its budget."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PADDING_EXPECTED = 1.05
"""How much longer batches come out than their real steps; measured on captions."""
_BATCH_COST = 0.5
"""What one batch more costs, in budgets of padding; without it there would be many small batches."""
_AS_GOOD = 0.01
"""Costs this close, in budgets, are equal: the split nearest the middle wins, which saves work."""

Lengths = NDArray[np.int32] | NDArray[np.int64]
Sides = tuple[NDArray[np.int64], NDArray[np.int64]]


def pack(
    sources: Lengths, targets: Lengths, budget: int, jitter: NDArray[np.float64]
) -> list[NDArray[np.int64]]:
    """Cut rows of the given lengths into batches of at most `budget` = rows x longest side.

    All rows are split in two, along sources or along targets, wherever that leaves the least padding, and
    each part again until it fits: both sides of a batch end up with nearly one length. A row longer than the
    budget is a batch of its own. `jitter` (2, rows) is added to the lengths while sorting, so that batches
    change from epoch to epoch.
    """
    sides = sources.astype(np.int64), targets.astype(np.int64)
    keys = sides[0] + jitter[0], sides[1] + jitter[1]
    done: list[NDArray[np.int64]] = []
    open_parts = [np.arange(len(sources), dtype=np.int64)] if len(sources) else []
    while open_parts:
        rows = open_parts.pop()
        if len(rows) == 1 or len(rows) * max(side[rows].max() for side in sides) <= budget:
            done.append(rows)
            continue
        orders = [rows[np.argsort(key[rows], kind="stable")] for key in keys]
        (_, at), order = min(
            ((_best_split(sides, order, budget), order) for order in orders), key=lambda found: found[0]
        )
        open_parts += [order[at:], order[:at]]
    return done


def fill(sources: Lengths, targets: Lengths, batches: list[NDArray[np.int64]]) -> float:
    """Return the share of positions that are real, sources and targets together."""
    padded = sum(len(rows) * (int(sources[rows].max()) + int(targets[rows].max())) for rows in batches)
    return (int(sources.sum(dtype=np.int64)) + int(targets.sum(dtype=np.int64))) / max(padded, 1)


def _best_split(sides: Sides, order: NDArray[np.int64], budget: int) -> tuple[float, int]:
    """Return the cost of the best split of sorted rows, and how many rows come before it."""
    lengths = [side[order] for side in sides]
    before = [np.maximum.accumulate(length)[:-1] for length in lengths]
    after = [np.maximum.accumulate(length[::-1])[::-1][1:] for length in lengths]
    rows_before = np.arange(1, len(order))
    rows_after = len(order) - rows_before
    padded = rows_before * (before[0] + before[1]) + rows_after * (after[0] + after[1])
    real = np.cumsum(np.maximum(*lengths)) * _PADDING_EXPECTED / budget
    batches = _batches(rows_before * np.maximum(*before) / budget, real[:-1])
    batches += _batches(rows_after * np.maximum(*after) / budget, real[-1] - real[:-1])
    costs = padded + _BATCH_COST * 2 * budget * batches
    good = np.flatnonzero(costs <= costs.min() + _AS_GOOD * budget)
    at = int(good[np.argmin(np.abs(good - len(order) // 2))])
    return float(costs[at]), at + 1


def _batches(as_one: NDArray[np.float64], real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many batches a part will take: one if it fits as it is, else what its real steps need."""
    return np.where(as_one <= 1, 1.0, np.ceil(np.maximum(real, 1.5)))
