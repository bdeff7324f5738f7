"""Dropout, sums and norms as single passes in C; None where torch has to do it. Shapes: D width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dragoman.model.draws import Draws, new_draws, rows_of_last
from dragoman.native.training import kernels, pointer

_SHARES = 16
"""Parts in which sums over rows are taken; see passes.h."""


def passes(*tensors: Tensor) -> bool:
    """Say whether passes in C are for these tensors."""
    return (
        all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.bfloat16) for t in tensors)
        and kernels() is not None
    )


def dropped(x: Tensor, probability: float) -> Tensor:
    """Return dropout(x) where `passes`."""
    done: Tensor = _Dropped.apply(x, new_draws(probability))  # type: ignore[no-untyped-call]
    return done


def added(x: Tensor, y: Tensor, probability: float) -> Tensor:
    """Return x + dropout(y) where `passes` and x is float32."""
    done: Tensor = _Added.apply(x, y, new_draws(probability))  # type: ignore[no-untyped-call]
    return done


def _drop(x: Tensor, residual: Tensor | None, draws: Draws, dtype: torch.dtype) -> Tensor:
    x = x.contiguous()
    out, native = torch.empty_like(x, dtype=dtype), kernels()
    assert native is not None
    native.drop_and_add(
        x.data_ptr(),
        x.dtype is torch.bfloat16,
        pointer(residual),
        *rows_of_last(x.shape),
        *draws.arguments,
        out.data_ptr(),
        dtype is torch.bfloat16,
    )
    return out


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, draws: Draws) -> Tensor:
        ctx.draws = draws
        return _drop(x, None, draws, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _drop(gradient, None, ctx.draws, gradient.dtype), None


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
        ctx.draws, ctx.dtype = draws, y.dtype
        return _drop(y, x.contiguous(), draws, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, _drop(gradient, None, ctx.draws, ctx.dtype), None


def softmax_pull(
    logits_CV: Tensor, bias_V: Tensor | None, targets_C: Tensor, smoothing: float, pulls: bool
) -> tuple[Tensor, Tensor]:
    """Return logarithms of the normalisers (C) and logits of the targets (C) where `passes`.

    If it `pulls`, logits become softmax - (1 - smoothing) at the target.
    """
    log_normalisers_C, target_logits_C = torch.empty(2, len(logits_CV)).unbind(0)
    native, targets_C = kernels(), targets_C.contiguous()
    assert native is not None
    native.softmax_pull(
        logits_CV.data_ptr(),
        logits_CV.dtype is torch.bfloat16,
        *logits_CV.shape,
        pointer(bias_V),
        targets_C.data_ptr(),
        smoothing,
        pulls,
        log_normalisers_C.data_ptr(),
        target_logits_C.data_ptr(),
    )
    return log_normalisers_C, target_logits_C


def normed(x: Tensor, norm: nn.Module, dtype: torch.dtype) -> Tensor:
    """Return a LayerNorm or RMSNorm of float32 x where `passes`, in float32 or bfloat16."""
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    assert norm.eps is not None
    bias_D = norm.bias if isinstance(norm, nn.LayerNorm) else None
    done: Tensor = _Normed.apply(x, norm.weight, bias_D, norm.eps, dtype)  # type: ignore[no-untyped-call]
    return done


class _Normed(torch.autograd.Function):
    """LayerNorm, or RMSNorm where there is no bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_D: Tensor, bias_D: Tensor | None, epsilon: float, dtype: torch.dtype
    ) -> Tensor:
        x, native = x.contiguous(), kernels()
        assert native is not None
        out, rows = torch.empty_like(x, dtype=dtype), rows_of_last(x.shape)
        means, factors = torch.empty(2, rows[0])
        target = (None, out.data_ptr()) if dtype is torch.bfloat16 else (out.data_ptr(), None)
        native.norm(
            x.data_ptr(),
            *rows,
            weight_D.data_ptr(),
            pointer(bias_D),
            bias_D is not None,
            epsilon,
            means.data_ptr(),
            factors.data_ptr(),
            *target,
        )
        ctx.save_for_backward(x, weight_D, means, factors)
        ctx.is_centred = bias_D is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_D, means, factors = ctx.saved_tensors
        gradient, native = gradient.contiguous(), kernels()
        assert native is not None
        of_x, of_weight_D = torch.empty_like(x), torch.empty_like(weight_D)
        of_bias_D = torch.empty_like(weight_D) if ctx.is_centred else None
        rows = rows_of_last(x.shape)
        room = torch.empty(_SHARES * 2 * rows[1])
        native.norm_backward(
            x.data_ptr(),
            gradient.data_ptr(),
            gradient.dtype is torch.bfloat16,
            *rows,
            weight_D.data_ptr(),
            ctx.is_centred,
            means.data_ptr(),
            factors.data_ptr(),
            of_x.data_ptr(),
            of_weight_D.data_ptr(),
            pointer(of_bias_D),
            room.data_ptr(),
        )
        return of_x, of_weight_D, of_bias_D, None, None
