"""Groups of a beam that keep away from each other (Vijayakumar et al. 2018).

N sources, K rows of each source, W rows of a group, B = N·K rows, V vocabulary, C candidates of a row, X
candidates of a group, Y tokens chosen by groups before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dragoman.decoding.choosing import Bounds, Choice, Reals, continuations
from dragoman.recipe.decoding import Beam
from dragoman.records import Hypothesis

_NONE = -1  # stands where a group has chosen nothing


def diverse_continuations(
    logits_BV: Tensor, normaliser_B: Reals, totals_NK: Reals, section: Beam, bounds_BX: Bounds | None = None
) -> Choice:
    """Choose the best continuations of each group, one group after the other.

    A token costs `diversity` for each time that groups before have chosen it at this step, which decides what
    is chosen and is not part of any score. Of K rows the groups own K / groups each; at the first step all
    continue the one row that there is. As many rows come out as the beam is wide, some without a hypothesis
    where there are not so many.
    """
    # No more than `beam` tokens: if all that others chose is passed over, enough for a group are left.
    candidates = continuations(logits_BV, normaliser_B, totals_NK, section.beam, bounds_BX)
    sources, beams = totals_NK.shape
    width = section.beam // section.groups
    taken_NY = np.zeros((sources, 0), dtype=np.int64)
    chosen = []
    for first in range(0, section.beam, width):
        rows = slice(None) if beams == 1 else slice(first, first + width)
        tokens_NX, log_probs_NX, totals_NX = (part[:, rows].reshape(sources, -1) for part in candidates)
        costs_NX = section.diversity * (tokens_NX[:, :, None] == taken_NY[:, None, :]).sum(axis=2)
        order_NW = (costs_NX - totals_NX).argsort(axis=1, kind="stable")[:, :width]
        parents_NW = order_NW // candidates[0].shape[2] + (0 if beams == 1 else first)
        group = Choice(
            _wide(np.take_along_axis(tokens_NX, order_NW, 1), width, 0),
            _wide(np.take_along_axis(log_probs_NX, order_NW, 1), width, -math.inf),
            _wide(np.take_along_axis(totals_NX, order_NW, 1), width, -math.inf),
            _wide(parents_NW, width, 0),
        )
        chosen.append(group)
        live_NW = np.where(group.totals_NK > -math.inf, group.tokens_NK, _NONE)
        taken_NY = np.concatenate([taken_NY, live_NW], axis=1)
    return _side_by_side(chosen)


def _side_by_side(groups: Sequence[Choice]) -> Choice:
    return Choice(
        np.concatenate([group.tokens_NK for group in groups], axis=1),
        np.concatenate([group.log_probs_NK for group in groups], axis=1),
        np.concatenate([group.totals_NK for group in groups], axis=1),
        np.concatenate([group.parents_NK for group in groups if group.parents_NK is not None], axis=1),
    )


def _wide(found_NX: NDArray[Any], width: int, empty: float) -> NDArray[Any]:
    return np.pad(found_NX, ((0, 0), (0, width - found_NX.shape[1])), constant_values=empty)


def in_turn(groups: Sequence[Sequence[Hypothesis]], wanted: int) -> list[Hypothesis]:
    """Take the best of each group, then the next of each, until there are enough; none twice."""
    found: dict[tuple[int, ...], Hypothesis] = {}
    for one in chain.from_iterable(zip_longest(*groups)):
        if one is not None:
            found.setdefault(one.tokens, one)
    return list(found.values())[:wanted]
