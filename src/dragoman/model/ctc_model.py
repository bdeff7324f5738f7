"""An encoder that writes the target by itself (Graves et al. 2006): a model without a decoder."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor, nn

from dragoman.errors import UserError
from dragoman.model.contracts import Encoder, Memory, State
from dragoman.model.ctc import CtcHead
from dragoman.model.frame_frontend import FrameFrontend
from dragoman.model.frame_inputs import PlainFrames
from dragoman.model.frontends import TokenFrontend
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.records import Port, Sequence


class CtcModel(Seq2Seq):
    """Frontend, encoder and CTC head; UserError for what takes a decoder."""

    def __init__(
        self,
        source_port: Port,
        target_port: Port,
        source_frontend: TokenFrontend | FrameFrontend | PlainFrames,
        encoder: Encoder,
        ctc_head: CtcHead,
    ) -> None:
        nn.Module.__init__(self)
        self.source_port = source_port
        self.target_port = target_port
        self.source_frontend = source_frontend
        self.encoder = encoder
        self.ctc_head = ctc_head

    def start(self, memory: Memory, beams: int = 1) -> State:
        """Refuse."""
        _refuse()

    def advance(self, tokens_BT: Tensor, state: State, reads: bool = False) -> NoReturn:
        """Refuse."""
        _refuse()

    def logits(self, outputs: Tensor) -> Tensor:
        """Refuse."""
        _refuse()

    def loss_of(self, memory: Memory, target: Sequence, label_smoothing: float) -> Loss:
        """Refuse."""
        _refuse()


def _refuse() -> NoReturn:
    raise UserError(
        "this model has no decoder (`model.decoder.kind: none`): "
        "`decoding.method` can be ctc_greedy or ctc_beam, and given targets are not scored"
    )
