"""Greedy search by a Transformer on a CPU: all steps of all sources in one call of a kernel.

Shapes: N sources, T target steps, D width, W waves of a rotation.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragoman.model.answering_linear import AnsweringHead
from dragoman.model.answering_transformer import AnsweringDecoder
from dragoman.model.contracts import Memory
from dragoman.model.frontends import AnsweringTokenFrontend
from dragoman.model.positions import LearntPositions
from dragoman.model.seq2seq import Seq2Seq
from dragoman.native import structures
from dragoman.native.library import address
from dragoman.native.structures import finished
from dragoman.records import BOS, EOS


@dataclass(frozen=True)
class Written:
    """What was written for each source: its first `lengths_N` tokens, none where it had no probabilities."""

    tokens_NT: NDArray[np.int64]
    log_probs_NT: NDArray[np.float64]
    totals_N: NDArray[np.float64]
    lengths_N: NDArray[np.int64]


def writes_at_once(model: Seq2Seq, steps: int) -> bool:
    """Whether `write_greedily` can answer with this model, up to so many steps."""
    if type(model) is not Seq2Seq or not isinstance(model.decoder, AnsweringDecoder):
        return False
    entry = model.decoder.entry.entry
    if isinstance(entry.positions, LearntPositions) and steps > len(entry.positions.weight):
        return False
    return (
        entry.projection is None
        and isinstance(model.target_frontend, AnsweringTokenFrontend)
        and isinstance(model.head, AnsweringHead)
        and model.head.projection is None
        and isinstance(model.head.table, model.decoder.stack.linear)
    )


def write_greedily(
    model: Seq2Seq, memory: Memory, longest_N: NDArray[np.int64], never: Sequence[int]
) -> Written:
    """Write the most probable token at each step until it is the end symbol, or the answer is the longest.

    Of equal tokens the lowest is written; those of `never` are not. For models that `writes_at_once` names.
    """
    decoder = model.decoder
    assert isinstance(decoder, AnsweringDecoder)
    assert isinstance(model.head, AnsweringHead)
    steps, state = int(longest_N.max()), decoder.start(memory)
    shape = (len(longest_N), steps)
    written = Written(
        np.empty(shape, np.int64), np.empty(shape), np.empty(shape[0]), np.empty(shape[0], np.int64)
    )
    frontend = model.target_frontend
    assert isinstance(frontend, AnsweringTokenFrontend)
    table_VD = frontend.weight.detach()
    longest_N = np.ascontiguousarray(longest_N)
    never_X, spans = np.array(never, dtype=np.int64), address(state.spans_2N)
    positions_TD, turns = decoder.entry.positions(steps), decoder.entry.turns(0, steps)
    head = model.head.table.structure()
    writing = structures.Writing(
        *(ctypes.pointer(head), table_VD.data_ptr()),
        None if positions_TD is None else positions_TD.data_ptr(),
        *((None, None) if turns is None else (turns.cosines_TW.data_ptr(), turns.sines_TW.data_ptr())),
        *(math.sqrt(frontend.width), BOS, EOS, address(never_X), len(never_X), shape[0]),
        *(state.memory.data_ptr(), spans, spans + 8 * shape[0], address(longest_N), steps),
        *(address(written.tokens_NT), address(written.log_probs_NT), address(written.totals_N)),
        address(written.lengths_N),
    )
    finished(
        decoder.stack.kernels.write_greedily(ctypes.byref(decoder.stack.structure()), ctypes.byref(writing))
    )
    return written
