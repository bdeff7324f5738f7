"""A model and a language model that answer as one: shallow fusion (Gülçehre et al. 2015).

Shapes: N sources, B rows, T target steps, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dragoman.errors import UserError
from dragoman.model.contracts import Decoded, Memory, State
from dragoman.model.ctc_joint import with_the_rest_at_pad
from dragoman.model.ensemble import Memories, States
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.records import EOS, Batch, Sequence


class Fused(Seq2Seq):
    """A model whose answers score log p of its own plus a weight times log p of a language model.

    The language model is of any kind; its source is the end symbol alone. As in `CtcJoint` PAD, which is
    never written, gets what is missing from a sum of one, so that scores are exactly these sums. Outputs are
    those of the model with those of the language model at their side.
    """

    def __init__(self, model: Seq2Seq, language_model: Seq2Seq, weight: float) -> None:
        """Take both over; raises ValueError where their target vocabularies differ in size.

        Raises UserError for a model without a decoder of symbols.
        """
        nn.Module.__init__(self)
        if model.target_port.kind == "frames":
            raise UserError("a language model knows of symbols; this model writes numbers")
        if model.target_port != language_model.target_port:
            raise ValueError(
                f"expected one vocabulary, found {model.target_port}, {language_model.target_port}"
            )
        self.model = model
        self.language_model = language_model
        self.weight = weight
        self.source_port = model.source_port
        self.target_port = model.target_port

    def around(self, model: Seq2Seq) -> Fused:
        """Return another model fused with the same language model."""
        return Fused(model, self.language_model, self.weight)

    def encode(self, source: Sequence) -> Memories:
        """Let the model read the sources, and the language model nothing."""
        read = self.model.encode(source)
        ends_N1 = torch.full((len(source.lengths_B), 1), EOS, device=source.lengths_B.device)
        nothing = self.language_model.encode(Sequence(ends_N1, torch.ones_like(source.lengths_B)))
        return Memories(read.values_NSD, read.mask_NS, read.summary_ND, (read, nothing))

    def start(self, memory: Memory, beams: int = 1) -> States:
        """Return the states before the first target step, with `beams` rows for each source."""
        assert isinstance(memory, Memories)
        read, nothing = memory.members
        return States((self.model.start(read, beams), self.language_model.start(nothing, beams)))

    def advance(self, tokens_BT: Tensor, state: State, reads: bool = False) -> tuple[Decoded, States]:
        """Let both take the steps that follow these tokens; reads are the model's."""
        assert isinstance(state, States)
        own, other = state.members
        decoded, own = self.model.advance(tokens_BT, own, reads)
        said, other = self.language_model.advance(tokens_BT, other)
        outputs_BTD = torch.cat([decoded.outputs_BTD, said.outputs_BTD], -1)
        return Decoded(outputs_BTD, decoded.reads_BTS), States((own, other))

    def logits(self, outputs: Tensor) -> Tensor:
        """Return the joint scores of every symbol: (..., sum of D) to (..., V)."""
        width = self.language_model.decoder.width
        own = self.model.logits(outputs[..., :-width]).log_softmax(-1)
        other = self.language_model.logits(outputs[..., -width:]).log_softmax(-1)
        return with_the_rest_at_pad(own + self.weight * other)

    def check_lengths(self, memory: Memory, target: Sequence) -> None:
        """Raise what the model raises."""
        assert isinstance(memory, Memories)
        self.model.check_lengths(memory.members[0], target)

    def loss(self, batch: Batch, label_smoothing: float) -> Loss:
        """Return the loss of the model: the two are joined for answers only."""
        return self.model.loss(batch, label_smoothing)
