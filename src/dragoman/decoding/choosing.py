"""The most probable tokens and continuations, ties broken by the lowest id.

N sources, K rows of each source, B = N·K rows, V vocabulary, C candidates of a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 64
_FEWEST_BLOCKS = 4
"""Blocks for each score wanted, below which looking for blocks first saves nothing."""


@dataclass(frozen=True)
class Choice:
    """One more token for each row: `tokens_NK` after row `parents_NK` of the same source.

    Without parents each row goes on by itself. `log_probs_NK` are those of the tokens, `totals_NK` sums over
    the whole hypothesis, both float64; rows without a hypothesis have a total of minus infinity.
    """

    tokens_NK: Tensor
    log_probs_NK: Tensor
    totals_NK: Tensor
    parents_NK: Tensor | None = None


def continue_rows(logits_BV: Tensor, normaliser_B: Tensor, totals_NK: Tensor, tokens_B: Tensor) -> Choice:
    """Continue each row with the given token."""
    chosen_NK = logits_BV.gather(1, tokens_B[:, None]).view(totals_NK.shape)
    log_probs_NK = chosen_NK.double() - normaliser_B.view(totals_NK.shape)
    return Choice(tokens_B.view(totals_NK.shape), log_probs_NK, _add(totals_NK, log_probs_NK))


def best_continuations(logits_BV: Tensor, normaliser_B: Tensor, totals_NK: Tensor) -> Choice:
    """Choose the K best continuations of all rows of each source."""
    sources, beams = totals_NK.shape
    logits_BC, tokens_BC = top(logits_BV, min(beams, logits_BV.shape[1]))
    candidates = logits_BC.shape[1]
    log_probs_NKC = (logits_BC.double() - normaliser_B[:, None]).view(sources, beams, candidates)
    # sums are float64: close candidates stay apart where a float32 sum would make them equal
    totals_NX = _add(totals_NK[:, :, None], log_probs_NKC).flatten(1)
    order_NK = totals_NX.sort(dim=1, descending=True, stable=True).indices[:, :beams]
    return Choice(
        tokens_BC.reshape(sources, -1).gather(1, order_NK),
        log_probs_NKC.flatten(1).gather(1, order_NK),
        totals_NX.gather(1, order_NK),
        order_NK // candidates,
    )


def _add(totals: Tensor, log_probs: Tensor) -> Tensor:
    """Add log-probabilities to totals; what has no total stays without, whatever its row computed."""
    return torch.where(totals == -math.inf, totals, totals + log_probs)


def top(scores_BV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest scores of each row and their ids, largest first, the lowest ids first among equals.

    `torch.topk` alone leaves open which of equal scores it takes, and in what order.
    """
    size = scores_BV.shape[1]
    if count == 1:
        return _some_top(scores_BV, 1)
    if count == size:
        values_BV, ids_BV = scores_BV.sort(dim=1, descending=True, stable=True)
        return values_BV, ids_BV
    values_BX, ids_BX = _some_top(scores_BV, count + 1)
    values_BC, ids_BC = values_BX[:, :count], ids_BX[:, :count]
    equal_BC = (values_BX[:, :-1] == values_BX[:, 1:]) & (values_BC != -math.inf)
    if not equal_BC.any():
        return values_BC, ids_BC
    ids_BC = ids_BC.clone()
    rows = equal_BC[:, -1].nonzero().flatten()
    if len(rows):
        ids_BC[rows] = _lowest_at_the_edge(scores_BV[rows], values_BC[rows, -1:], count)
    ids_BC = ids_BC.sort(dim=1).values
    values_BC, order_BC = scores_BV.gather(1, ids_BC).sort(dim=1, descending=True, stable=True)
    return values_BC, ids_BC.gather(1, order_BC)


def _some_top(scores_BV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest scores of each row and their ids, largest first; of one, the lowest id among equals.

    Looks first for the blocks that have the largest scores, by their maxima: these are found many times
    faster than places are, and no other block can hold any of as many largest scores.
    """
    rows, size = scores_BV.shape
    blocks = size // _BLOCK
    if blocks < _FEWEST_BLOCKS * count:
        return _largest(scores_BV, count)
    blocks_BYX = scores_BV[:, : blocks * _BLOCK].view(rows, blocks, _BLOCK)
    chosen_BC = _largest(blocks_BYX.amax(2), count)[1].sort(dim=1).values
    taken_BCX = blocks_BYX.gather(1, chosen_BC[:, :, None].expand(rows, count, _BLOCK))
    candidates_BZ = torch.cat([taken_BCX.flatten(1), scores_BV[:, blocks * _BLOCK :]], 1)
    values_BC, places_BC = _largest(candidates_BZ, count)
    taken = count * _BLOCK
    block_BC = chosen_BC.gather(1, (places_BC // _BLOCK).clamp(max=count - 1))
    ids_BC = torch.where(
        places_BC < taken, block_BC * _BLOCK + places_BC % _BLOCK, places_BC + (blocks * _BLOCK - taken)
    )
    return values_BC, ids_BC


def _largest(scores_BX: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values_BC, places_BC = scores_BX.max(dim=1, keepdim=True) if count == 1 else scores_BX.topk(count, dim=1)
    return values_BC, places_BC


def _lowest_at_the_edge(scores_RV: Tensor, edge_R1: Tensor, count: int) -> Tensor:
    """Return the ids of the `count` largest scores, the lowest ids of those that equal the smallest taken."""
    above_RV = scores_RV > edge_R1
    at_edge_RV = scores_RV == edge_R1
    room_R1 = count - above_RV.sum(dim=1, keepdim=True)
    taken_RV = above_RV | (at_edge_RV & (at_edge_RV.cumsum(dim=1) <= room_R1))
    return taken_RV.nonzero()[:, 1].view(len(scores_RV), count)
