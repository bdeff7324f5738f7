"""Linear maps in training by products of our own, in bfloat16 where the processor multiplies it, and float32.

Those of bfloat16 are as fast as oneDNN's at shapes that it has met, and milliseconds a call faster at new
ones, which it compiles for: in training almost every batch has new shapes. Those of float32 are faster than
torch's for many rows. The casts of weights, a bias and its gradient, ReLU and dropout happen while numbers
are in the cache; gradients of weights are summed and returned in float32. Sums come in another order than
torch's: results agree to a rounding of their type.

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
from dragoman.native.training import Finish, bf16_kernels, fp32_kernels, pointer

_TILE = 64
"""Columns of a panel of a packed factor; see product.h."""
_FEWEST_ROWS = 512
"""Of float32, below which laying out the weight anew costs more than a faster product saves."""


def computes_bf16(weight: Tensor) -> bool:
    """Say whether products with this weight are to run in bf16 here and now; float64 weights never do."""
    kind = weight.device.type
    return (
        weight.dtype is torch.float32
        and torch.is_autocast_enabled(kind)
        and torch.get_autocast_dtype(kind) is torch.bfloat16
    )


def multiplies(*weights: Tensor) -> bool:
    """Say whether products with these weights (outputs, inputs) are to run here in bf16."""
    return (
        all(w.device.type == "cpu" and w.is_contiguous() and computes_bf16(w) for w in weights)
        and all(side % 2 == 0 and side > 0 for w in weights for side in w.shape)
        and bf16_kernels() is not None
    )


def type_of_products(x: Tensor, *weights: Tensor) -> torch.dtype | None:
    """Return the type in which rows of x are to be multiplied here, or None where torch has to do it."""
    if x.numel() == 0:
        return None
    if multiplies(*weights):
        return torch.bfloat16
    is_wide = (
        all(
            t.device.type == "cpu" and t.dtype is torch.float32 and t.is_contiguous() and t.numel()
            for t in weights
        )
        and x.dtype is torch.float32
        and x.numel() // x.shape[-1] >= _FEWEST_ROWS
        and not torch.is_autocast_enabled("cpu")
        and fp32_kernels() is not None
    )
    return torch.float32 if is_wide else None


def linear(x: Tensor, weight_OD: Tensor, bias_O: Tensor | None) -> Tensor:
    """Return x · weightᵀ + bias: (..., D) to (..., O), in bfloat16 under `compute`."""
    dtype = type_of_products(x, weight_OD) if torch.is_grad_enabled() else None
    if dtype is None:
        return F.linear(x, weight_OD, bias_O)
    mapped: Tensor = _Linear.apply(x, weight_OD, bias_O, dtype)  # type: ignore[no-untyped-call]
    return mapped


def rectified_block(
    x: Tensor,
    inward: tuple[Tensor, Tensor],
    outward: tuple[Tensor, Tensor],
    probability: float,
    dtype: torch.dtype,
) -> Tensor:
    """Return outward(dropout(relu(inward(x)))); each map is a weight and a bias, see `type_of_products`."""
    draws = new_draws(probability) if probability else None
    mapped: Tensor = _RectifiedBlock.apply(  # type: ignore[no-untyped-call]
        x, *inward, *outward, draws, dtype
    )
    return mapped


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OD: Tensor, bias_O: Tensor | None, dtype: torch.dtype) -> Tensor:
        rows_XD = rows_in(x, dtype)
        ctx.save_for_backward(rows_XD, weight_OD)
        ctx.has_bias, ctx.like = bias_O is not None, (x.shape, x.dtype)
        return forward_product(rows_XD, weight_OD, bias=bias_O).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows_XD, weight_OD = ctx.saved_tensors
        shape, dtype = ctx.like
        pull_XO = rows_in(gradient, rows_XD.dtype)
        of_weight_OD, of_bias_O = weight_gradients(pull_XO, rows_XD, ctx.has_bias)
        of_x = backward_product(pull_XO, weight_OD, dtype).view(shape) if ctx.needs_input_grad[0] else None
        return of_x, of_weight_OD, of_bias_O, None


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
        dtype: torch.dtype,
    ) -> Tensor:
        rows_XD = rows_in(x, dtype)
        inner_XG = forward_product(rows_XD, inward_GD, bias=inward_G, draws=draws, relu=1)
        ctx.save_for_backward(rows_XD, inner_XG, inward_GD, outward_OG)
        ctx.like, ctx.scale = (x.shape, x.dtype), draws.scale if draws else 1.0
        return forward_product(inner_XG, outward_OG, bias=outward_O).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows_XD, inner_XG, inward_GD, outward_OG = ctx.saved_tensors
        shape, dtype = ctx.like
        pull_XO = rows_in(gradient, rows_XD.dtype)
        outward = weight_gradients(pull_XO, inner_XG, has_bias=True)
        pull_XG = backward_product(pull_XO, outward_OG, gate=inner_XG, scale=ctx.scale)
        inward = weight_gradients(pull_XG, rows_XD, has_bias=True)
        return backward_product(pull_XG, inward_GD, dtype).view(shape), *inward, *outward, None, None


# --- products


def rows_in(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (..., D) as contiguous rows (X, D) of a type."""
    return x.reshape(-1, x.shape[-1]).to(dtype).contiguous()


def pack_outputs(weight_OD: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Lay a weight out as `forward_product` reads it, for rows of this type."""
    outputs, inputs = weight_OD.shape
    packed = torch.empty(_whole(outputs) * _words(inputs, dtype), dtype=torch.int32)
    _native().pack_outputs(weight_OD.data_ptr(), dtype is torch.bfloat16, outputs, inputs, packed.data_ptr())
    return packed


def pack_inputs(weight_OD: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Lay a weight out as `backward_product` reads it, for rows of this type."""
    outputs, inputs = weight_OD.shape
    packed = torch.empty(_whole(inputs) * _words(outputs, dtype), dtype=torch.int32)
    _native().pack_inputs(weight_OD.data_ptr(), dtype is torch.bfloat16, outputs, inputs, packed.data_ptr())
    return packed


def forward_product(
    rows_XD: Tensor,
    weight_OD: Tensor,
    *,
    bias: Tensor | None = None,
    draws: Draws | None = None,
    relu: int = 0,
) -> Tensor:
    """Return dropout(relu(x · weightᵀ + bias)) (X, O) in the type of the rows."""
    finish = Finish(bias=pointer(bias), relu=relu)
    if draws is not None:
        finish.seed, finish.dropped_levels, finish.scale = draws.arguments
    outputs_XO = rows_XD.new_empty(len(rows_XD), len(weight_OD))
    multiply(rows_XD, pack_outputs(weight_OD, rows_XD.dtype), outputs_XO, finish)
    return outputs_XO


def backward_product(
    pull_XO: Tensor,
    weight_OD: Tensor,
    dtype: torch.dtype | None = None,
    gate: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Return pull · weight (X, D), with a gate times `scale` where that is positive and zero elsewhere.

    It has the type of the pull, or another; the gate has that of the pull.
    """
    of_x_XD = pull_XO.new_empty(len(pull_XO), weight_OD.shape[1], dtype=dtype or pull_XO.dtype)
    packed = pack_inputs(weight_OD, pull_XO.dtype)
    multiply(pull_XO, packed, of_x_XD, Finish(gate=pointer(gate), scale=scale))
    return of_x_XD


def multiply(rows: Tensor, packed: Tensor, out: Tensor, finish: Finish | None = None) -> None:
    """Multiply rows with a weight packed for their type into `out`, bfloat16 or float32."""
    finish = finish or Finish()
    setattr(finish, "low" if out.dtype is torch.bfloat16 else "wide", out.data_ptr())
    is_low = rows.dtype is torch.bfloat16
    sizes = (*rows.shape, packed.data_ptr(), out.shape[1])
    _native().product(rows.data_ptr(), is_low, *sizes, byref(finish))


def weight_gradients(pull_XO: Tensor, rows_XD: Tensor, has_bias: bool) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of a weight (O, D) and of its bias (O) in float32."""
    outputs, inputs = pull_XO.shape[1], rows_XD.shape[1]
    of_weight_OD = torch.empty(outputs, inputs)
    of_bias_O = torch.empty(outputs) if has_bias else None
    add_weight_gradients(pull_XO, rows_XD, of_weight_OD, of_bias_O, adds=0)
    return of_weight_OD, of_bias_O


def add_weight_gradients(
    pull_XO: Tensor, rows_XD: Tensor, of_weight_OD: Tensor, of_bias_O: Tensor | None = None, adds: int = 1
) -> None:
    """Add gradients to what is there, or write them; both factors have one type."""
    rows, inputs = rows_XD.shape
    room = torch.empty(_words(rows + 1, rows_XD.dtype) * _whole(inputs), dtype=torch.int32)
    finish = Finish(wide=of_weight_OD.data_ptr(), adds=adds)
    _native().weight_gradient(
        pull_XO.data_ptr(),
        rows_XD.data_ptr(),
        rows_XD.dtype is torch.bfloat16,
        rows,
        pull_XO.shape[1],
        inputs,
        room.data_ptr(),
        pointer(of_bias_O),
        byref(finish),
    )


def _native() -> ctypes.CDLL:
    native = fp32_kernels()
    assert native is not None
    return native


def _words(numbers: int, dtype: torch.dtype) -> int:
    return numbers // 2 if dtype is torch.bfloat16 else numbers


def _whole(columns: int) -> int:
    return -(-columns // _TILE) * _TILE
