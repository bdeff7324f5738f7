"""Linear maps in bfloat16 on processors that multiply it, by products of our own.

They are as fast as oneDNN's at shapes that it has met, and milliseconds a call faster at new ones, which it
compiles for: in training almost every batch has new shapes. The casts of weights, a bias and its gradient,
ReLU and dropout happen while numbers are in the cache; gradients of weights are summed and returned in
float32. Sums come in another order than torch's: results agree to a rounding of bfloat16.

Shapes: X rows, D input width, G inner width, O output width.
"""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.draws import Draws, new_draws
from dragoman.native.training import Finish, bf16_kernels, pointer

_TILE = 64
"""Columns of a panel of a packed factor; see product.h."""


def computes_bf16(weight: Tensor) -> bool:
    """Say whether products with this weight are to run in bf16 here and now; float64 weights never do."""
    kind = weight.device.type
    return (
        weight.dtype is torch.float32
        and torch.is_autocast_enabled(kind)
        and torch.get_autocast_dtype(kind) is torch.bfloat16
    )


def multiplies(*weights: Tensor) -> bool:
    """Say whether products with these weights (outputs, inputs) are to run here."""
    return (
        all(w.device.type == "cpu" and w.is_contiguous() and computes_bf16(w) for w in weights)
        and all(side % 2 == 0 and side > 0 for w in weights for side in w.shape)
        and bf16_kernels() is not None
    )


def linear(x: Tensor, weight_OD: Tensor, bias_O: Tensor | None) -> Tensor:
    """Return x · weightᵀ + bias: (..., D) to (..., O), in bfloat16 under `compute`."""
    if not torch.is_grad_enabled() or x.numel() == 0 or not multiplies(weight_OD):
        return F.linear(x, weight_OD, bias_O)
    mapped: Tensor = _Linear.apply(x, weight_OD, bias_O)  # type: ignore[no-untyped-call]
    return mapped


def rectified_block(
    x: Tensor, inward: tuple[Tensor, Tensor], outward: tuple[Tensor, Tensor], probability: float
) -> Tensor:
    """Return outward(dropout(relu(inward(x)))) where `multiplies`; each map is a weight and a bias."""
    draws = new_draws(probability) if probability else None
    mapped: Tensor = _RectifiedBlock.apply(x, *inward, *outward, draws)  # type: ignore[no-untyped-call]
    return mapped


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OD: Tensor, bias_O: Tensor | None) -> Tensor:
        low_XD = low_rows(x)
        ctx.save_for_backward(low_XD, weight_OD)
        ctx.has_bias, ctx.like = bias_O is not None, (x.shape, x.dtype)
        return forward_product(low_XD, weight_OD, bias=bias_O).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        low_XD, weight_OD = ctx.saved_tensors
        shape, dtype = ctx.like
        pull_XO = low_rows(gradient)
        of_weight_OD, of_bias_O = weight_gradients(pull_XO, low_XD, ctx.has_bias)
        of_x = backward_product(pull_XO, weight_OD, dtype).view(shape) if ctx.needs_input_grad[0] else None
        return of_x, of_weight_OD, of_bias_O


class _RectifiedBlock(torch.autograd.Function):
    """Two linear maps with ReLU and dropout between them; zeros inside say what both of them closed."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inward_GD: Tensor,
        inward_G: Tensor,
        outward_OG: Tensor,
        outward_O: Tensor,
        draws: Draws | None,
    ) -> Tensor:
        low_XD = low_rows(x)
        inner_XG = forward_product(low_XD, inward_GD, bias=inward_G, draws=draws, relu=1)
        ctx.save_for_backward(low_XD, inner_XG, inward_GD, outward_OG)
        ctx.like, ctx.scale = (x.shape, x.dtype), draws.scale if draws else 1.0
        return forward_product(inner_XG, outward_OG, bias=outward_O).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        low_XD, inner_XG, inward_GD, outward_OG = ctx.saved_tensors
        shape, dtype = ctx.like
        pull_XO = low_rows(gradient)
        outward = weight_gradients(pull_XO, inner_XG, has_bias=True)
        pull_XG = backward_product(pull_XO, outward_OG, gate=inner_XG, scale=ctx.scale)
        inward = weight_gradients(pull_XG, low_XD, has_bias=True)
        return backward_product(pull_XG, inward_GD, dtype).view(shape), *inward, *outward, None


# --- products


def low_rows(x: Tensor) -> Tensor:
    """Return (..., D) as contiguous rows (X, D) of bfloat16."""
    return x.reshape(-1, x.shape[-1]).to(torch.bfloat16).contiguous()


def pack_outputs(weight_OD: Tensor) -> Tensor:
    """Lay a weight out as `forward_product` reads it."""
    outputs, inputs = weight_OD.shape
    packed = torch.empty(_whole(outputs) * (inputs // 2), dtype=torch.int32)
    _native().pack_outputs(weight_OD.data_ptr(), outputs, inputs, packed.data_ptr())
    return packed


def pack_inputs(weight_OD: Tensor) -> Tensor:
    """Lay a weight out as `backward_product` reads it."""
    outputs, inputs = weight_OD.shape
    packed = torch.empty(_whole(inputs) * (outputs // 2), dtype=torch.int32)
    _native().pack_inputs(weight_OD.data_ptr(), outputs, inputs, packed.data_ptr())
    return packed


def forward_product(
    low_XD: Tensor,
    weight_OD: Tensor,
    *,
    bias: Tensor | None = None,
    draws: Draws | None = None,
    relu: int = 0,
) -> Tensor:
    """Return dropout(relu(x · weightᵀ + bias)) (X, O) in bfloat16."""
    finish = Finish(bias=pointer(bias), relu=relu)
    if draws is not None:
        finish.seed, finish.dropped_levels, finish.scale = draws.arguments
    outputs_XO = low_XD.new_empty(len(low_XD), len(weight_OD))
    multiply(low_XD, pack_outputs(weight_OD), outputs_XO, finish)
    return outputs_XO


def backward_product(
    pull_XO: Tensor,
    weight_OD: Tensor,
    dtype: torch.dtype = torch.bfloat16,
    gate: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Return pull · weight (X, D), with a gate times `scale` where that is positive and zero elsewhere."""
    of_x_XD = pull_XO.new_empty(len(pull_XO), weight_OD.shape[1], dtype=dtype)
    multiply(pull_XO, pack_inputs(weight_OD), of_x_XD, Finish(gate=pointer(gate), scale=scale))
    return of_x_XD


def multiply(low: Tensor, packed: Tensor, out: Tensor, finish: Finish | None = None) -> None:
    """Multiply rows of bfloat16 with a packed weight into `out`, bfloat16 or float32."""
    finish = finish or Finish()
    name = "low" if out.dtype is torch.bfloat16 else "wide"
    setattr(finish, name, out.data_ptr())
    _native().product(low.data_ptr(), len(low), low.shape[1], packed.data_ptr(), out.shape[1], byref(finish))


def weight_gradients(pull_XO: Tensor, low_XD: Tensor, has_bias: bool) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of a weight (O, D) and of its bias (O) in float32."""
    outputs, inputs = pull_XO.shape[1], low_XD.shape[1]
    of_weight_OD = torch.empty(outputs, inputs)
    of_bias_O = torch.empty(outputs) if has_bias else None
    add_weight_gradients(pull_XO, low_XD, of_weight_OD, of_bias_O, adds=0)
    return of_weight_OD, of_bias_O


def add_weight_gradients(
    pull_XO: Tensor, low_XD: Tensor, of_weight_OD: Tensor, of_bias_O: Tensor | None = None, adds: int = 1
) -> None:
    """Add gradients to what is there, or write them."""
    rows, inputs = low_XD.shape
    room = torch.empty((rows + 1) // 2 * _whole(inputs), dtype=torch.int32)
    finish = Finish(wide=of_weight_OD.data_ptr(), adds=adds)
    _native().weight_gradient(
        pull_XO.data_ptr(),
        low_XD.data_ptr(),
        rows,
        pull_XO.shape[1],
        inputs,
        room.data_ptr(),
        pointer(of_bias_O),
        byref(finish),
    )


def _native() -> ctypes.CDLL:
    native = bf16_kernels()
    assert native is not None
    return native


def _whole(columns: int) -> int:
    return -(-columns // _TILE) * _TILE
