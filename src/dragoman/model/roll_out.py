"""Numbers written step by step, each step told what was made of the one before, or all at once.

Shapes: N sources, K rows of each source, B = N·K rows, T target steps, P steps of a patch, F variables,
X = P·F, C known beforehand, Q what is said of one number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.model.contracts import Memory
from dragoman.model.seq2seq import Seq2Seq
from dragoman.records import Sequence

Tell = Callable[[Tensor, int], Tensor]
"""From what is said of the steps from a step on (B, P, F, Q) to their values (B, P, F)."""


@dataclass(frozen=True)
class RolledOut:
    """What was said of each number, and the values that were made of it."""

    said_BTFQ: Tensor
    values_BTF: Tensor


def roll_out(
    model: Seq2Seq, source: Sequence, memory: Memory, steps: int, tell: Tell, rows: int = 1
) -> RolledOut:
    """Write numbers, `rows` of each source; `tell` makes values of what is said, told to the next step.

    With the whole horizon at once `tell` is asked once, of all steps. DataError where less is known
    beforehand than there are steps.
    """
    inputs, head = model.frame_inputs, model.number_head
    state = model.start(memory, rows)
    line_BTF = _repeated(model.line(source), rows)
    ahead_BTC = _repeated(source.ahead_BTC, rows)
    at_once = -(-steps // inputs.patch) if inputs.is_whole else 1
    end_BX = _repeated(inputs.end_of(source), rows)
    before_BJX = inputs.first(len(memory.mask_NS) * rows, at_once, head.linear.weight, end_BX)
    said, values = [], []
    for first in range(0, steps, at_once * inputs.patch):
        window = slice(first, first + at_once * inputs.patch)
        decoded, state = model.advance_numbers(before_BJX, state, _within(ahead_BTC, window))
        said_BPFQ = model.numbers(decoded.outputs_BTD, _within(line_BTF, window))
        values_BPF = tell(said_BPFQ, first)
        said.append(said_BPFQ)
        values.append(values_BPF)
        before_BJX = values_BPF.flatten(1)[:, None]
    return RolledOut(torch.cat(said, 1)[:, :steps], torch.cat(values, 1)[:, :steps])


def _within(values: Tensor | None, window: slice) -> Tensor | None:
    return None if values is None else values[:, window]


def _repeated(values: Tensor | None, rows: int) -> Tensor | None:
    return None if values is None else values.repeat_interleave(rows, dim=0)
