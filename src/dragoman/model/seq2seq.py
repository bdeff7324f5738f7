"""Encoder, decoder, frontends and head in one model.

Shapes: B rows, S source steps, T target steps, D width, V vocabulary; of numbers: J decoder steps of a patch
each, X numbers of a patch, F variables, Q what is said of one number, C known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor, nn

from dragoman.errors import UserError
from dragoman.model.aligned import AlignedDecoder, check_aligned
from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory, State
from dragoman.model.cross_entropy import cross_entropy
from dragoman.model.ctc import CtcHead, CtcLoss, ctc_loss
from dragoman.model.frame_frontend import FrameFrontend
from dragoman.model.frame_inputs import FrameInputs, PlainFrames
from dragoman.model.frontends import TokenFrontend, tokens_before
from dragoman.model.heads import VocabularyHead
from dragoman.model.highway import Highway
from dragoman.model.number_head import NumberHead
from dragoman.model.recurrent import RecurrentEncoder
from dragoman.recipe import model as recipe
from dragoman.recipe.objectives import Squared
from dragoman.recipe.rollout import Rollout
from dragoman.records import PAD, Batch, Port, Sequence


@dataclass(frozen=True)
class Loss:
    """Sums over the real target tokens of a batch, in nats, or over its steps of numbers.

    `total` has label smoothing and can be differentiated; `nll` is the negative log-likelihood, of numbers
    the loss itself, detached.
    """

    total: Tensor
    nll: Tensor
    tokens: int


class Seq2Seq(nn.Module):
    """Any encoder with any decoder, from tokens or frames to logits or numbers.

    Text, speech and numbers differ in frontends and heads only. `ctc_head`, where there is one, lets the
    encoder's steps write the target too; `highway` adds a linear map of the source to numbers. It computes in
    float32 unless the caller opens `kernels.compute`.
    """

    def __init__(
        self,
        source_port: Port,
        target_port: Port,
        source_frontend: TokenFrontend | FrameFrontend | PlainFrames,
        target_frontend: TokenFrontend | FrameInputs,
        encoder: Encoder,
        decoder: Decoder,
        head: VocabularyHead | NumberHead,
        ctc_head: CtcHead | None = None,
        highway: Highway | None = None,
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
        self.highway = highway

    @staticmethod
    def from_sizes(input_size: int, hidden_size: int, output_size: int, layers: int = 1) -> Seq2Seq:
        """Build two LSTMs in a row for frames: the second reads what the first writes, step by step.

        `model(values)` maps (B, S, input_size) to (B, S, output_size) by a linear map of the second's states.
        A recipe builds it that says `lstm` twice, one direction, `aligned`, and `rollout.kind: whole`.
        """
        reads = recipe.RecurrentEncoder(
            kind="lstm", width=hidden_size, layers=layers, bidirectional=False, dropout=0
        )
        aligned = recipe.AlignedAttention(kind="aligned")
        writes = recipe.RecurrentDecoder(
            kind="lstm", width=hidden_size, layers=layers, attention=aligned, dropout=0
        )
        return Seq2Seq(
            Port("frames", input_size),
            Port("frames", output_size),
            PlainFrames(input_size),
            FrameInputs(output_size, 0, 0, Rollout(kind="whole")),
            RecurrentEncoder(reads, input_size),
            AlignedDecoder(writes, 0, hidden_size),
            NumberHead(hidden_size, output_size, 1, Squared(kind="squared")),
        )

    def encode(self, source: Sequence) -> Memory:
        """Read sources."""
        if not isinstance(self.source_frontend, TokenFrontend):
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

    @overload
    def forward(self, given: Batch) -> Decoded: ...
    @overload
    def forward(self, given: Tensor) -> Tensor: ...

    def forward(self, given: Batch | Tensor) -> Decoded | Tensor:
        """Return outputs for each target step, given the reference before it (teacher forcing).

        Frames (B, S, F), all of them real, become the numbers that the model answers with, as many steps: for
        models that write the whole horizon at once by aligned steps. UserError for others.
        """
        if isinstance(given, Batch):
            return self.teach(self.encode(given.source), self.told(given.source, given.target))
        self._check_maps_steps()
        rows, steps, _ = given.shape
        memory = self.encode(Sequence(given, torch.full((rows,), steps, device=given.device)))
        before_BJX = self.frame_inputs.first(rows, steps, given)
        decoded, _ = self.advance_numbers(before_BJX, self.start(memory))
        return self.number_head.point(self.numbers(decoded.outputs_BTD))

    def teach(self, memory: Memory, target: Sequence, reads: bool = False) -> Decoded:
        """Return outputs for each target step, given what was read and the reference before the step.

        With `reads`, for tokens, also where each step looked, with gradients.
        """
        self.check_lengths(memory, target)
        return self.follow(memory, target, reads)

    def follow(self, memory: Memory, target: Sequence, reads: bool = False) -> Decoded:
        """Do what `teach` does, also for a target that ends before its source where steps are aligned."""
        if self.target_port.kind == "tokens":
            decoded, _ = self.advance(tokens_before(target.values), self.start(memory), reads)
        else:
            before_BJX = self.frame_inputs.before(target.values, target.end_BX)
            decoded, _ = self.advance_numbers(before_BJX, self.start(memory), target.ahead_BTC)
        return decoded

    def told(self, source: Sequence, target: Sequence) -> Sequence:
        """Return a target with what its source says beforehand, which steps of numbers are told."""
        if self.target_port.kind == "tokens":
            return target
        return replace(target, ahead_BTC=source.ahead_BTC, end_BX=self.frame_inputs.end_of(source))

    def check_lengths(self, memory: Memory, target: Sequence) -> None:
        """Raise DataError where steps are aligned and a target is not as long as its source."""
        if isinstance(self.decoder, AlignedDecoder):
            check_aligned(memory, target.lengths_B)

    def loss(self, batch: Batch, label_smoothing: float) -> Loss:
        """Return the summed loss of a batch; logits of the whole batch never exist."""
        return self.loss_of(self.encode(batch.source), batch.target, label_smoothing)

    def loss_of(self, memory: Memory, target: Sequence, label_smoothing: float) -> Loss:
        """Return the summed loss of target tokens, given what was read."""
        return self.loss_after(self.teach(memory, target), target, label_smoothing)

    def loss_after(self, decoded: Decoded, target: Sequence, label_smoothing: float) -> Loss:
        """Return the summed loss of target tokens, given the outputs of their steps."""
        assert isinstance(self.head, VocabularyHead), "numbers have a loss of their own"
        outputs_BTD = self.head.hidden(decoded.outputs_BTD)
        targets_BT = target.values.masked_fill(~target.mask_BS, PAD)
        total, nll = cross_entropy(
            outputs_BTD.flatten(0, 1), self.head.weight, self.head.bias, targets_BT.flatten(), label_smoothing
        )
        return Loss(total, nll, int(target.lengths_B.sum()))

    # --- numbers

    @property
    def frame_inputs(self) -> FrameInputs:
        """The frontend of a target of numbers."""
        assert isinstance(self.target_frontend, FrameInputs), "a model of numbers"
        return self.target_frontend

    @property
    def number_head(self) -> NumberHead:
        """The head of a target of numbers."""
        assert isinstance(self.head, NumberHead), "a model of numbers"
        return self.head

    def advance_numbers(
        self, before_BJX: Tensor, state: State, ahead_BTC: Tensor | None = None
    ) -> tuple[Decoded, State]:
        """Take the steps that follow these patches; `ahead_BTC` is what is known of them beforehand."""
        decoded, after = self.decoder(self.frame_inputs(before_BJX, ahead_BTC), state)
        return decoded, after

    def line(self, source: Sequence) -> Tensor | None:
        """Return what the highway adds to numbers (B, T, F); None where there is no highway."""
        return None if self.highway is None else self.highway(source)

    def numbers(self, outputs_BJD: Tensor, line_BTF: Tensor | None = None) -> Tensor:
        """Return what the model says of each number: (B, J, D) to (B, T, F, Q); see `NumberHead`."""
        said_BTFQ: Tensor = self.number_head(outputs_BJD, line_BTF)
        return said_BTFQ

    def _check_maps_steps(self) -> None:
        """Raise UserError where values alone do not decide the answer and its length."""
        if (
            self.target_port.kind == "tokens"
            or not isinstance(self.decoder, AlignedDecoder)
            or not self.frame_inputs.is_whole
            or self.frame_inputs.begins_with_context
            or self.frame_inputs.ahead is not None
            or self.highway is not None
        ):
            raise UserError(
                "model(values) is for models of numbers that read and write step by step "
                "(`model.decoder.attention.kind: aligned`, `model.rollout.kind: whole`) and are told nothing "
                "else; others take a Batch"
            )

    # --- CTC

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
