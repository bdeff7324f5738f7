"""One recurrent layer in one direction, and how padded sequences turn around.

Shapes: B batch rows, T steps, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from dragoman.model.lstm import run_lstm, trains

Kind = Literal["rnn", "gru", "lstm"]
_FORGET_GATE = 1
"""Where torch keeps the forget gate of an LSTM: input, forget, cell, output."""


class RecurrentLayer(nn.Module):
    """An Elman RNN, GRU or LSTM of one layer, from left to right."""

    def __init__(self, kind: Kind, input_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.has_cell = kind == "lstm"
        self.recurrence = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](
            input_width, width, batch_first=True
        )
        self._initialise()

    def forward(
        self, inputs_BTD: Tensor, hidden_BD: Tensor | None = None, cell_BD: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return outputs (B, T, D), the last hidden state (B, D) and, of an LSTM, the last cell (B, D).

        States that are not given are zeros.
        """
        recurrence = self.recurrence
        if self.has_cell and trains(inputs_BTD, recurrence.weight_ih_l0, recurrence.weight_hh_l0):
            weights = (recurrence.weight_ih_l0, recurrence.weight_hh_l0)
            biases = (recurrence.bias_ih_l0, recurrence.bias_hh_l0)
            return run_lstm(inputs_BTD, hidden_BD, cell_BD, weights, biases)
        if not self.has_cell:
            before = None if hidden_BD is None else hidden_BD[None].contiguous()
            outputs_BTD, after_1BD = self.recurrence(inputs_BTD, before)
            return outputs_BTD, after_1BD[0], None
        pair = None
        if hidden_BD is not None and cell_BD is not None:
            pair = (hidden_BD[None].contiguous(), cell_BD[None].contiguous())
        outputs_BTD, (hidden_1BD, cell_1BD) = self.recurrence(inputs_BTD, pair)
        return outputs_BTD, hidden_1BD[0], cell_1BD[0]

    @torch.no_grad()
    def _initialise(self) -> None:
        """Make recurrences orthogonal (Saxe et al. 2014) and forget gates open (Jozefowicz et al. 2015)."""
        weights = dict(self.recurrence.named_parameters())
        for gate in weights["weight_ih_l0"].split(self.width):
            nn.init.xavier_uniform_(gate)
        for gate in weights["weight_hh_l0"].split(self.width):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(weights["bias_ih_l0"])
        nn.init.zeros_(weights["bias_hh_l0"])
        if self.has_cell:
            weights["bias_ih_l0"].view(-1, self.width)[_FORGET_GATE] = 1.0


def reversal(mask_BT: Tensor) -> Tensor:
    """Return for every step the step (B, T) that takes its place when each row's real steps turn around.

    Padding stays where it is, so the reversal is its own inverse.
    """
    steps_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    lengths_B1 = mask_BT.sum(1, keepdim=True)
    return torch.where(steps_T < lengths_B1, lengths_B1 - 1 - steps_T, steps_T)


def take(values_BTD: Tensor, steps_BX: Tensor) -> Tensor:
    """Take the given steps of every row."""
    return values_BTD.gather(1, steps_BX[:, :, None].expand(-1, -1, values_BTD.shape[2]))
