"""An LSTM in training under bf16, by kernels in C: products in bfloat16, gates and cells in float32.

oneDNN's own compiles for each new shape and keeps cells in bfloat16. Here the inputs of all steps are
multiplied at once, before the steps, and the gradients of weights after them.

Shapes: B batch rows, T steps, D width of the inputs, H width, G = 4·H gates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dragoman.model.products import (
    backward_product,
    multiplies,
    multiply,
    pack_inputs,
    pack_outputs,
    weight_gradients,
)
from dragoman.native.training import Finish, bf16_kernels


def trains(inputs_BTD: Tensor, weight_GD: Tensor, weight_GH: Tensor) -> bool:
    """Say whether `run_lstm` is for these inputs and weights, here and now."""
    return torch.is_grad_enabled() and inputs_BTD.numel() > 0 and multiplies(weight_GD, weight_GH)


def run_lstm(
    inputs_BTD: Tensor,
    hidden_BH: Tensor | None,
    cell_BH: Tensor | None,
    weights: tuple[Tensor, Tensor],
    biases: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs (B, T, H) in bfloat16, and the last hidden state and cell (B, H) in float32.

    States that are not given are zeros. Weights and biases are torch's: of the inputs, of the state.
    """
    zeros_BH = torch.zeros(len(inputs_BTD), weights[1].shape[1])
    hidden_BH = zeros_BH if hidden_BH is None else hidden_BH.float()
    cell_BH = zeros_BH if cell_BH is None else cell_BH.float()
    ran: tuple[Tensor, Tensor, Tensor] = _Lstm.apply(  # type: ignore[no-untyped-call]
        inputs_BTD, hidden_BH, cell_BH, *weights, biases[0] + biases[1]
    )
    return ran


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs_BTD: Tensor,
        hidden_BH: Tensor,
        cell_BH: Tensor,
        weight_GD: Tensor,
        weight_GH: Tensor,
        bias_G: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        native = bf16_kernels()
        assert native is not None
        rows, steps, width = *inputs_BTD.shape[:2], weight_GH.shape[1]
        low_TBD = inputs_BTD.transpose(0, 1).to(torch.bfloat16).contiguous()
        gates_TBG = torch.empty(steps, rows, 4 * width)
        bias = Finish(bias=bias_G.data_ptr())
        multiply(low_TBD.flatten(0, 1), pack_outputs(weight_GD), gates_TBG.flatten(0, 1), bias)
        # Both begin with the state before the first step.
        hidden_XBH = torch.empty(steps + 1, rows, width, dtype=torch.bfloat16)
        cells_XBH = torch.empty(steps + 1, rows, width)
        hidden_XBH[0], cells_XBH[0] = hidden_BH, cell_BH
        packed = pack_outputs(weight_GH)
        for step in range(steps):
            multiply(hidden_XBH[step], packed, gates_TBG[step], Finish(adds=1))
            native.lstm_step(
                gates_TBG[step].data_ptr(),
                cells_XBH[step].data_ptr(),
                rows,
                width,
                cells_XBH[step + 1].data_ptr(),
                hidden_XBH[step + 1].data_ptr(),
            )
        ctx.save_for_backward(low_TBD, hidden_XBH, cells_XBH, gates_TBG, weight_GD, weight_GH)
        ctx.dtype = inputs_BTD.dtype
        outputs_BTH = hidden_XBH[1:].transpose(0, 1).contiguous()
        return outputs_BTH, hidden_XBH[-1].float(), cells_XBH[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull_BTH: Tensor, pull_hidden_BH: Tensor, pull_cell_BH: Tensor) -> Any:
        low_TBD, hidden_XBH, cells_XBH, gates_TBG, weight_GD, weight_GH = ctx.saved_tensors
        native = bf16_kernels()
        assert native is not None
        steps, rows, width = len(low_TBD), low_TBD.shape[1], weight_GH.shape[1]
        pull_TBH = pull_BTH.transpose(0, 1).to(torch.bfloat16).contiguous()
        pull_hidden_BH, pull_cell_BH = pull_hidden_BH.clone(), pull_cell_BH.clone()
        of_gates_TBG = torch.empty(gates_TBG.shape, dtype=torch.bfloat16)
        packed = pack_inputs(weight_GH)
        for step in reversed(range(steps)):
            native.lstm_step_backward(
                gates_TBG[step].data_ptr(),
                cells_XBH[step].data_ptr(),
                cells_XBH[step + 1].data_ptr(),
                pull_TBH[step].data_ptr(),
                pull_hidden_BH.data_ptr(),
                pull_cell_BH.data_ptr(),
                rows,
                width,
                of_gates_TBG[step].data_ptr(),
            )
            multiply(of_gates_TBG[step], packed, pull_hidden_BH)
        of_gates_XG = of_gates_TBG.flatten(0, 1)
        of_weight_GD, of_bias_G = weight_gradients(of_gates_XG, low_TBD.flatten(0, 1), has_bias=True)
        of_weight_GH, _ = weight_gradients(of_gates_XG, hidden_XBH[:-1].flatten(0, 1), has_bias=False)
        of_inputs_XD = backward_product(of_gates_XG, weight_GD, ctx.dtype)
        of_inputs_BTD = of_inputs_XD.view(steps, rows, -1).transpose(0, 1)
        return of_inputs_BTD, pull_hidden_BH, pull_cell_BH, of_weight_GD, of_weight_GH, of_bias_G
