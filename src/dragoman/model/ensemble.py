"""Several models that answer as one.

Shapes: N sources, B rows, T target steps, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from dragoman.model.contracts import Decoded, Memory, State
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.records import Batch, Sequence

_LOGITS_AT_ONCE = 1 << 24
"""Logits of a loss are computed in slices of about this many numbers."""


@dataclass(frozen=True)
class Memories(Memory):
    """What each member read; what is not asked of a member is that of the first."""

    members: tuple[Memory, ...]


@dataclass(frozen=True)
class States:
    """What each member's decoder remembers."""

    members: tuple[State, ...]

    def select(self, rows_B: Tensor) -> States:
        """Re-order rows within their sources; see `contracts.State`."""
        return States(tuple(state.select(rows_B) for state in self.members))

    def keep(self, sources: Tensor) -> States:
        """Keep the given sources with all their rows."""
        return States(tuple(state.keep(sources) for state in self.members))


class Ensemble(Seq2Seq):
    """Members of any kinds and sizes; the probability of a symbol is the mean of theirs at every step.

    All members have the same vocabularies. Outputs are those of the members side by side, so that search and
    scoring compute logits, here logarithms of the mean probabilities, only where they need them.
    """

    def __init__(self, members: Listed[Seq2Seq]) -> None:
        """Take members over; raises ValueError where there are none or their vocabularies differ in size."""
        nn.Module.__init__(self)
        if not members:
            raise ValueError("an ensemble needs members")
        ports = {(member.source_port, member.target_port) for member in members}
        if len(ports) > 1:
            raise ValueError(f"members of an ensemble must have the same vocabularies, found {ports}")
        self.members = nn.ModuleList(members)
        ((self.source_port, self.target_port),) = ports

    def encode(self, source: Sequence) -> Memories:
        """Let every member read the sources."""
        read = tuple(member.encode(source) for member in self._members())
        return Memories(read[0].values_NSD, read[0].mask_NS, read[0].summary_ND, read)

    def start(self, memory: Memory, beams: int = 1) -> States:
        """Return the states before the first target step, with `beams` rows for each source."""
        assert isinstance(memory, Memories)
        pairs = zip(self._members(), memory.members, strict=True)
        return States(tuple(member.start(read, beams) for member, read in pairs))

    def advance(self, tokens_BT: Tensor, state: State, reads: bool = False) -> tuple[Decoded, States]:
        """Let every member take the steps that follow these tokens; reads are the mean of those there are."""
        assert isinstance(state, States)
        pairs = zip(self._members(), state.members, strict=True)
        steps = [member.advance(tokens_BT, before, reads) for member, before in pairs]
        outputs_BTD = torch.cat([decoded.outputs_BTD for decoded, _ in steps], -1)
        looks = [decoded.reads_BTS for decoded, _ in steps if decoded.reads_BTS is not None]
        reads_BTS = torch.stack(looks).mean(0) if looks else None
        return Decoded(outputs_BTD, reads_BTS), States(tuple(after for _, after in steps))

    def logits(self, outputs: Tensor) -> Tensor:
        """Return logarithms of the mean probability of every symbol: (..., sum of D) to (..., V)."""
        members = self._members()
        parts = torch.split(outputs, [member.decoder.width for member in members], -1)
        each = [member.logits(part).log_softmax(-1) for member, part in zip(members, parts, strict=True)]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def check_lengths(self, memory: Memory, target: Sequence) -> None:
        """Let every member raise what it raises."""
        assert isinstance(memory, Memories)
        for member, read in zip(self._members(), memory.members, strict=True):
            member.check_lengths(read, target)

    def loss(self, batch: Batch, label_smoothing: float) -> Loss:
        """Return the summed loss of a batch; ensembles are for answering, so there is no smoothing."""
        if label_smoothing:
            raise ValueError("an ensemble is not trained; its members are, each by itself")
        outputs_XD, targets_X = self(batch).outputs_BTD.flatten(0, 1), batch.target.values.flatten()
        real_X = batch.target.mask_BS.flatten()
        outputs_XD, targets_X = outputs_XD[real_X], targets_X[real_X]
        nll = outputs_XD.new_zeros(())
        rows = max(1, _LOGITS_AT_ONCE // self.target_port.size)
        for outputs, targets in zip(torch.split(outputs_XD, rows), torch.split(targets_X, rows), strict=True):
            nll = nll - self.logits(outputs).gather(1, targets[:, None]).sum()
        return Loss(nll, nll.detach(), len(targets_X))

    def _members(self) -> list[Seq2Seq]:
        return cast("list[Seq2Seq]", list(self.members))
