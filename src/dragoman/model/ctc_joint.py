"""A decoder with attention and CTC that answer as one (Watanabe et al. 2017).

Shapes: N sources, K rows (beams) of each source, B = N·K rows, T target steps, D width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dragoman.errors import UserError
from dragoman.model.contracts import Decoded, Memory, State, rows_of
from dragoman.model.ctc import CtcHead
from dragoman.model.ctc_prefixes import Paths, Prefixes, empty_prefixes, prepare
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.records import EOS, PAD, Batch, Sequence

_LEAST_INCREMENT = -600.0
"""The logarithm of what CTC finds impossible; smaller numbers are next to zero in float64."""


@dataclass(frozen=True)
class JointState:
    """What the decoder remembers, and what CTC does: paths once a source, prefixes once a row.

    There are no prefixes before the first token, which says that an answer begins.
    """

    attention: State
    paths: Paths
    prefixes: Prefixes | None
    beams: int

    def select(self, rows_B: Tensor) -> JointState:
        """Re-order rows within their sources; see `contracts.State`."""
        prefixes = None if self.prefixes is None else self.prefixes.take(rows_B.clamp(min=0))
        beams = len(rows_B) // len(self.paths.log_probs_NSV)
        return replace(self, attention=self.attention.select(rows_B), prefixes=prefixes, beams=beams)

    def keep(self, sources: Tensor) -> JointState:
        """Keep the given sources with all their rows."""
        rows_B = rows_of(sources, self.beams)
        return replace(
            self,
            attention=self.attention.keep(sources),
            paths=self.paths.keep(sources),
            prefixes=None if self.prefixes is None else self.prefixes.take(rows_B),
        )


class CtcJoint(Seq2Seq):
    """A model whose answers score (1 - w)·log p of its decoder plus w·log p of its CTC head.

    What CTC says of a symbol is how much less probable the longer prefix is; of EOS, how probable it is that
    nothing follows. So scores of whole answers are weighted sums of the two log-probabilities. Such scores do
    not sum to one over symbols: PAD, which is never written, gets what is missing, and thereby search and
    scoring leave them as they are. Once a prefix is longer than any path can write, CTC finds all symbols
    equally probable. Outputs are those of the decoder with those of CTC at their side, V numbers more for
    each step.
    """

    def __init__(self, model: Seq2Seq, ctc_weight: float) -> None:
        """Take a model over; raises UserError where it has no CTC head."""
        nn.Module.__init__(self)
        if not isinstance(model.ctc_head, CtcHead):
            raise UserError(
                "`decoding.ctc_weight` needs a model that was trained with CTC beside cross-entropy "
                "(`training.objective.ctc_weight`); this one was not: set it to 0"
            )
        self.model = model
        self.ctc_head: CtcHead = model.ctc_head
        self.ctc_weight = ctc_weight
        self.source_port = model.source_port
        self.target_port = model.target_port

    def encode(self, source: Sequence) -> Memory:
        """Read sources."""
        return self.model.encode(source)

    def start(self, memory: Memory, beams: int = 1) -> JointState:
        """Return the state before the first target step, with `beams` rows for each source."""
        paths = prepare(self.ctc_head.log_probs(memory), memory.mask_NS)
        return JointState(self.model.start(memory, beams), paths, None, beams)

    def advance(self, tokens_BT: Tensor, state: State, reads: bool = False) -> tuple[Decoded, JointState]:
        """Take the steps that follow these tokens; the first of all begins an answer, whatever it is."""
        assert isinstance(state, JointState)
        decoded, attention = self.model.advance(tokens_BT, state.attention, reads)
        prefixes, told = state.prefixes, []
        for tokens_B in tokens_BT.unbind(1):
            if prefixes is None:
                prefixes = empty_prefixes(state.paths, state.beams)
            else:
                prefixes = prefixes.extend(state.paths, tokens_B)
            told.append(_increments(prefixes, state.paths))
        precise = torch.promote_types(decoded.outputs_BTD.dtype, torch.float32)
        increments_BTV = torch.stack(told, 1).to(precise)
        outputs_BTX = torch.cat([decoded.outputs_BTD.to(precise), increments_BTV], -1)
        after = replace(state, attention=attention, prefixes=prefixes)
        return Decoded(outputs_BTX, decoded.reads_BTS), after

    def logits(self, outputs: Tensor) -> Tensor:
        """Return the joint scores of every symbol: (..., D + V) to (..., V)."""
        size = self.target_port.size
        attended, increments = outputs[..., :-size], outputs[..., -size:]
        heard = self.model.logits(attended).log_softmax(-1)
        joint = (1 - self.ctc_weight) * heard + self.ctc_weight * increments
        return with_the_rest_at_pad(joint)

    def check_lengths(self, memory: Memory, target: Sequence) -> None:
        """Raise what the model raises."""
        self.model.check_lengths(memory, target)

    def loss(self, batch: Batch, label_smoothing: float) -> Loss:
        """Return the loss of the model: the two are joined for answers only."""
        return self.model.loss(batch, label_smoothing)


def _increments(prefixes: Prefixes, paths: Paths) -> Tensor:
    """Return what each symbol adds to the score of the prefix, (B, V)."""
    scores_BV = prefixes.next_scores(paths)
    scores_BV[:, EOS] = prefixes.ends_B
    increments_BV = (scores_BV - prefixes.scores_B[:, None]).clamp(min=_LEAST_INCREMENT)
    return increments_BV.where(prefixes.is_possible_B[:, None], -math.log(scores_BV.shape[1]))


def with_the_rest_at_pad(scores: Tensor) -> Tensor:
    """Give PAD the probability that all others leave, so that a softmax changes nothing.

    The exponentials of the others sum to one at most.
    """
    others = scores.index_fill(-1, torch.tensor(PAD, device=scores.device), -torch.inf)
    rest = (-others.logsumexp(-1).expm1()).clamp(min=torch.finfo(scores.dtype).tiny)
    others[..., PAD] = rest.log()
    return others
