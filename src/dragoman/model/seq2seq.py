"""Encoder, decoder, frontends and head in one model.

Shapes: B rows, S source steps, T target steps, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dragoman.errors import UserError
from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory, State
from dragoman.model.cross_entropy import cross_entropy
from dragoman.model.ctc import CtcHead, CtcLoss, ctc_loss
from dragoman.model.frame_frontend import FrameFrontend
from dragoman.model.frontends import TokenFrontend
from dragoman.model.heads import VocabularyHead
from dragoman.records import BOS, PAD, Batch, Port, Sequence


@dataclass(frozen=True)
class Loss:
    """Sums over the real target tokens of a batch, in nats.

    `total` has label smoothing and can be differentiated; `nll` is the negative log-likelihood, detached.
    """

    total: Tensor
    nll: Tensor
    tokens: int


class Seq2Seq(nn.Module):
    """Any encoder with any decoder, from tokens or frames to logits.

    `ctc_head`, where there is one, lets the encoder's steps write the target too. It computes in float32
    unless the caller opens `kernels.compute`.
    """

    def __init__(
        self,
        source_port: Port,
        target_port: Port,
        source_frontend: TokenFrontend | FrameFrontend,
        target_frontend: TokenFrontend,
        encoder: Encoder,
        decoder: Decoder,
        head: VocabularyHead,
        ctc_head: CtcHead | None = None,
    ) -> None:
        super().__init__()
        self.source_port = source_port
        self.target_port = target_port
        self.source_frontend = source_frontend
        self.target_frontend = target_frontend
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.ctc_head = ctc_head

    def encode(self, source: Sequence) -> Memory:
        """Read sources."""
        if isinstance(self.source_frontend, FrameFrontend):
            inputs_BSD, mask_BS = self.source_frontend(source.values, source.mask_BS)
        else:
            inputs_BSD, mask_BS = self.source_frontend(source.values), source.mask_BS
        memory: Memory = self.encoder(inputs_BSD, mask_BS)
        return memory

    def start(self, memory: Memory, beams: int = 1) -> State:
        """Return the state before the first target step, with `beams` rows for each source."""
        return self.decoder.start(memory, beams)

    def advance(self, tokens_BT: Tensor, state: State, reads: bool = False) -> tuple[Decoded, State]:
        """Take the steps that follow these tokens: output t belongs to what comes after token t."""
        decoded, after = self.decoder(self.target_frontend(tokens_BT), state, reads)
        return decoded, after

    def logits(self, outputs: Tensor) -> Tensor:
        """Score every symbol: (..., D) to (..., V), float32 (float64 for a float64 model)."""
        scores: Tensor = self.head(outputs)
        return scores

    def forward(self, batch: Batch) -> Decoded:
        """Return outputs for each target step, given the reference before it (teacher forcing)."""
        return self.teach(self.encode(batch.source), batch.target)

    def teach(self, memory: Memory, target: Sequence) -> Decoded:
        """Return outputs for each target step, given what was read and the reference before the step."""
        tokens_BT = target.values
        begin_B1 = torch.full_like(tokens_BT[:, :1], BOS)
        decoded, _ = self.advance(torch.cat([begin_B1, tokens_BT[:, :-1]], 1), self.start(memory))
        return decoded

    def loss(self, batch: Batch, label_smoothing: float) -> Loss:
        """Return the summed loss of a batch; logits of the whole batch never exist."""
        return self.loss_of(self.encode(batch.source), batch.target, label_smoothing)

    def loss_of(self, memory: Memory, target: Sequence, label_smoothing: float) -> Loss:
        """Return the summed loss of targets, given what was read."""
        outputs_BTD = self.head.hidden(self.teach(memory, target).outputs_BTD)
        targets_BT = target.values.masked_fill(~target.mask_BS, PAD)
        total, nll = cross_entropy(
            outputs_BTD.flatten(0, 1), self.head.weight, self.head.bias, targets_BT.flatten(), label_smoothing
        )
        return Loss(total, nll, int(target.lengths_B.sum()))

    def ctc_log_probs(self, memory: Memory) -> Tensor:
        """Return what each step of the encoder writes, blank (PAD) among it: (N, S, V) in nats.

        UserError where the model has no CTC head.
        """
        if self.ctc_head is None:
            raise UserError("this model was not trained with CTC: `training.objective` decides it")
        return self.ctc_head.log_probs(memory)

    def ctc_loss_of(self, memory: Memory, target: Sequence) -> CtcLoss:
        """Return the summed CTC loss of targets, given what was read."""
        return ctc_loss(self.ctc_log_probs(memory), memory.mask_NS, target.values, target.lengths_B)


def parts_of(model: nn.Module) -> list[nn.Module]:
    """Return a model and all its parts, each once, in a tenth of the time that `modules()` takes."""
    found: dict[nn.Module, None] = {model: None}
    waiting = [model]
    while waiting:
        for part in waiting.pop()._modules.values():
            if part is not None and part not in found:
                found[part] = None
                waiting.append(part)
    return list(found)
