"""The most probable tokens and continuations, ties broken by the lowest id.

N sources, K rows of each source, B = N·K rows, V vocabulary, C candidates of a row. Logits are tensors, where
the model is; what is chosen among few candidates is chosen in NumPy: for arrays so small, calls are all that
counts, and those of NumPy are the cheapest.
"""

from __future__ import annotations

import math
from ctypes import CDLL, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.native.library import address, library

Ids = NDArray[np.int64]
Reals = NDArray[np.float64]
Bounds = NDArray[np.float32]
"""What no logit of a row's block is larger than, (B, blocks)."""

_BLOCK = 64
_FEWEST_BLOCKS = 4
"""Blocks for each score wanted, below which looking for blocks first saves nothing."""
_MOST_NATIVE = 64
"""Scores of a row that the kernel is asked for at most: it inserts them one by one."""


@dataclass(frozen=True)
class Choice:
    """One more token for each row: `tokens_NK` after row `parents_NK` of the same source.

    Without parents each row goes on by itself. `log_probs_NK` are those of the tokens, `totals_NK` sums over
    the whole hypothesis, both float64; rows without a hypothesis have a total of minus infinity.
    """

    tokens_NK: Ids
    log_probs_NK: Reals
    totals_NK: Reals
    parents_NK: Ids | None = None


def normalisers(logits_BV: Tensor) -> tuple[Reals, Bounds | None]:
    """Return the logarithm of each row's sum of exponentials, not finite where it has no probabilities.

    What comes beside it makes `top` of these logits faster, as long as none of them has grown.
    """
    kernels = _kernels(logits_BV)
    if kernels is None:
        # logsumexp in half its time
        return _array((logits_BV.amax(1) - logits_BV.log_softmax(1).amax(1)).double()), None
    rows, size = logits_BV.shape
    found_B = np.empty(rows, dtype=np.float32)
    bounds_BX = np.empty((rows, -(-size // _BLOCK)), dtype=np.float32)
    kernels.normalise(logits_BV.data_ptr(), rows, size, address(found_B), address(bounds_BX))
    return found_B.astype(np.float64), bounds_BX


def continue_rows(logits_B: Tensor, normaliser_B: Reals, totals_NK: Reals, tokens_B: Tensor) -> Choice:
    """Continue each row with the given token, which has the given logit."""
    with np.errstate(invalid="ignore"):
        log_probs_NK = (_array(logits_B) - normaliser_B).reshape(totals_NK.shape)
        totals_NK = _add(totals_NK, log_probs_NK)
    return Choice(_array(tokens_B).reshape(totals_NK.shape), log_probs_NK, totals_NK)


def best_continuations(
    logits_BV: Tensor,
    normaliser_B: Reals,
    totals_NK: Reals,
    wanted: int,
    bounds_BX: Bounds | None = None,
) -> Choice:
    """Choose the best continuations of all rows of each source, as many as wanted or as there are."""
    kernels = _kernels(logits_BV) if wanted <= _MOST_NATIVE else None
    if kernels is not None:
        return _native_continuations(kernels, logits_BV, normaliser_B, totals_NK, wanted, bounds_BX)
    tokens_NKC, log_probs_NKC, totals_NKC = continuations(
        logits_BV, normaliser_B, totals_NK, wanted, bounds_BX
    )
    sources = len(totals_NK)
    totals_NX = totals_NKC.reshape(sources, -1)
    order_NK = (-totals_NX).argsort(axis=1, kind="stable")[:, :wanted]
    sources_N1 = np.arange(sources)[:, None]
    return Choice(
        tokens_NKC.reshape(sources, -1)[sources_N1, order_NK],
        log_probs_NKC.reshape(sources, -1)[sources_N1, order_NK],
        totals_NX[sources_N1, order_NK],
        order_NK // tokens_NKC.shape[2],
    )


def _native_continuations(
    kernels: CDLL,
    logits_BV: Tensor,
    normaliser_B: Reals,
    totals_NK: Reals,
    wanted: int,
    bounds_BX: Bounds | None,
) -> Choice:
    (sources, rows), size = totals_NK.shape, logits_BV.shape[1]
    count = min(wanted, size)
    shape = (sources, min(wanted, rows * count))
    tokens_NK, parents_NK = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
    log_probs_NK, new_totals_NK = np.empty(shape), np.empty(shape)
    normaliser_B, totals_NK = np.ascontiguousarray(normaliser_B), np.ascontiguousarray(totals_NK)
    kernels.continue_rows(
        *(logits_BV.data_ptr(), sources, rows, size, count),
        None if bounds_BX is None else address(bounds_BX),
        *(address(normaliser_B), address(totals_NK), shape[1]),
        *(address(tokens_NK), address(parents_NK), address(log_probs_NK), address(new_totals_NK)),
    )
    return Choice(tokens_NK, log_probs_NK, new_totals_NK, parents_NK)


def continuations(
    logits_BV: Tensor,
    normaliser_B: Reals,
    totals_NK: Reals,
    wanted: int,
    bounds_BX: Bounds | None = None,
) -> tuple[Ids, Reals, Reals]:
    """Return the best tokens of each row, at most as many as wanted, with their log-probabilities and totals.

    All are (N, K, C), best first.
    """
    sources, beams = totals_NK.shape
    logits_BC, tokens_BC = top(logits_BV, min(wanted, logits_BV.shape[1]), bounds_BX)
    shape = (sources, beams, logits_BC.shape[1])
    with np.errstate(invalid="ignore"):
        log_probs_NKC = (_array(logits_BC) - normaliser_B[:, None]).reshape(shape)
        # sums are float64: close candidates stay apart where a float32 sum would make them equal
        totals_NKC = _add(totals_NK[:, :, None], log_probs_NKC)
    return _array(tokens_BC).reshape(shape), log_probs_NKC, totals_NKC


def _add(totals: Reals, log_probs: Reals) -> Reals:
    """Add log-probabilities to totals; what has no total stays without, whatever its row computed."""
    return np.where(totals == -math.inf, totals, totals + log_probs)


def _array(x: Tensor) -> NDArray[Any]:
    return x.cpu().numpy()


def top(scores_BV: Tensor, count: int, bounds_BX: Bounds | None = None) -> tuple[Tensor, Tensor]:
    """Return the largest scores of each row and their ids, largest first, the lowest ids first among equals.

    `torch.topk` alone leaves open which of equal scores it takes, and in what order.
    """
    size = scores_BV.shape[1]
    kernels = _kernels(scores_BV) if count <= _MOST_NATIVE else None
    if kernels is not None:
        return _native_top(kernels, scores_BV, count, bounds_BX)
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


def _native_top(
    kernels: CDLL, scores_BV: Tensor, count: int, bounds_BX: Bounds | None
) -> tuple[Tensor, Tensor]:
    values_BC = torch.empty(len(scores_BV), count)
    ids_BC = torch.empty(len(scores_BV), count, dtype=torch.long)
    bounds = None if bounds_BX is None else address(bounds_BX)
    pointers = (bounds, values_BC.data_ptr(), ids_BC.data_ptr())
    kernels.top(scores_BV.data_ptr(), *scores_BV.shape, count, *pointers)
    return values_BC, ids_BC


def _kernels(scores_BV: Tensor) -> CDLL | None:
    """Return the kernels for rows like these, or None: they take contiguous float32 on a CPU."""
    if (
        scores_BV.dtype is not torch.float32
        or scores_BV.device.type != "cpu"
        or not scores_BV.is_contiguous()
    ):
        return None
    return _choosing()


@cache
def _choosing() -> CDLL | None:
    kernels = library("choosing")
    if kernels is not None:
        kernels.normalise.argtypes = (c_void_p, c_int64, c_int64, c_void_p, c_void_p)
        kernels.top.argtypes = (c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p, c_void_p)
        kernels.continue_rows.argtypes = (c_void_p, *[c_int64] * 4, *[c_void_p] * 3, c_int64, *[c_void_p] * 4)
    return kernels


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
