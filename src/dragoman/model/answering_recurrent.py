"""Recurrent layers for the single steps of a decoder that answers on a CPU.

Shapes: B batch rows, T steps, G gates times width, D width.
"""

from __future__ import annotations

from ctypes import CDLL, c_int64, c_void_p
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from dragoman.model.answering_linear import AnsweringLinear
from dragoman.model.recurrent_layer import RecurrentLayer
from dragoman.native.library import library
from dragoman.native.structures import Products, answering_kernels

_STATES = {"rnn": 1, "gru": 2, "lstm": 3}
"""By kinds, arrays of the width that a kernel is handed."""


@cache
def recurrent_kernels(products: Products) -> CDLL | None:
    """Return the kernels of `recurrent.c`, or None where those of the products cannot be had either."""
    kernels = None if answering_kernels(products) is None else library("recurrent")
    if kernels is not None:
        for name, states in _STATES.items():
            getattr(kernels, name).argtypes = (c_void_p, c_void_p, c_int64, c_int64, *[c_void_p] * states)
    return kernels


class AnsweringRecurrentLayer(nn.Module):
    """A `RecurrentLayer` whose linear maps are of one kind that kernels have; all else is float32."""

    def __init__(self, layer: RecurrentLayer, linear: type[AnsweringLinear]) -> None:
        super().__init__()
        recurrence = cast("nn.RNNBase", layer.recurrence)
        weights = dict(recurrence.named_parameters())
        self.kind = recurrence.mode.partition("_")[0].lower()
        self.width, self.has_cell = layer.width, layer.has_cell
        self.seen = linear(weights["weight_ih_l0"], weights["bias_ih_l0"])
        self.held = linear(weights["weight_hh_l0"], weights["bias_hh_l0"])

    def forward(
        self, inputs_BTD: Tensor, hidden_BD: Tensor | None = None, cell_BD: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return outputs (B, T, D), the last hidden state (B, D) and, of an LSTM, the last cell (B, D).

        States that are not given are zeros.
        """
        zeros_BD = torch.zeros(len(inputs_BTD), self.width)
        hidden_BD = zeros_BD if hidden_BD is None else hidden_BD.float().contiguous()
        cell_BD = zeros_BD if cell_BD is None else cell_BD.float().contiguous()
        outputs = []
        for seen_BG in self.seen(inputs_BTD).unbind(1):
            hidden_BD, cell_BD = self._step(seen_BG.contiguous(), hidden_BD, cell_BD)
            outputs.append(hidden_BD)
        return torch.stack(outputs, 1), hidden_BD, cell_BD if self.has_cell else None

    def _step(self, seen_BG: Tensor, hidden_BD: Tensor, cell_BD: Tensor) -> tuple[Tensor, Tensor]:
        kernels = recurrent_kernels(self.held.products)
        assert kernels is not None
        held_BG, after_BD = self.held(hidden_BD), torch.empty_like(hidden_BD)
        common = (seen_BG.data_ptr(), held_BG.data_ptr(), *hidden_BD.shape)
        match self.kind:
            case "lstm":
                written_BD = torch.empty_like(cell_BD)
                kernels.lstm(*common, cell_BD.data_ptr(), written_BD.data_ptr(), after_BD.data_ptr())
                return after_BD, written_BD
            case "gru":
                kernels.gru(*common, hidden_BD.data_ptr(), after_BD.data_ptr())
            case _:
                kernels.rnn(*common, after_BD.data_ptr())
        return after_BD, cell_BD
