"""Attention of short sequences in training, by kernels in C, on operands as they lie in memory.

Only what went in is kept for the way back: weights are computed again there, which costs less than memory.

Shapes: B batch, H heads, T target (query) steps, S source (key) steps, E width of a head.
"""

from __future__ import annotations

from ctypes import byref, c_long
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dragoman.model.draws import Draws, new_draws
from dragoman.native.training import Attention, View, kernels, pointer


@dataclass(frozen=True)
class _Setting:
    """What attention depends on beside its operands."""

    mask: Tensor | None
    is_causal: bool
    draws: Draws | None


def attends(*operands_BHTE: Tensor) -> bool:
    """Say whether the kernels are for these operands."""
    first = operands_BHTE[0]
    return (
        first.dtype in (torch.float32, torch.bfloat16)
        and all(x.device.type == "cpu" and x.dtype is first.dtype for x in operands_BHTE)
        and all(x.stride(-1) == 1 and x.numel() > 0 for x in operands_BHTE)
        and kernels() is not None
    )


def attend_short(
    query_BHTE: Tensor,
    keys_BHSE: Tensor,
    values_BHSE: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    probability: float,
) -> Tensor:
    """Compute `scaled_dot.attend` where `attends`."""
    setting = _Setting(mask, is_causal, new_draws(probability) if probability else None)
    read: Tensor = _Apart.apply(query_BHTE, keys_BHSE, values_BHSE, setting)  # type: ignore[no-untyped-call]
    return read


def attend_joined(joined_BT3HE: Tensor, mask: Tensor | None, is_causal: bool, probability: float) -> Tensor:
    """Compute it for queries, keys and values side by side, whose gradient comes in one piece too."""
    setting = _Setting(mask, is_causal, new_draws(probability) if probability else None)
    read: Tensor = _Joined.apply(joined_BT3HE, setting)  # type: ignore[no-untyped-call]
    return read


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query_BHTE: Tensor, keys_BHSE: Tensor, values_BHSE: Tensor, setting: _Setting
    ) -> Tensor:
        ctx.save_for_backward(query_BHTE, keys_BHSE, values_BHSE, setting.mask)
        ctx.setting = setting
        return _read((query_BHTE, keys_BHSE, values_BHSE), setting)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull_BHTE: Tensor) -> tuple[Tensor | None, ...]:
        *operands, _ = ctx.saved_tensors
        slopes = [_heads_inside(x) for x in operands]
        _slope(operands, ctx.setting, pull_BHTE, slopes)
        return *slopes, None


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, joined_BT3HE: Tensor, setting: _Setting) -> Tensor:
        ctx.save_for_backward(joined_BT3HE, setting.mask)
        ctx.setting = setting
        return _read(_apart(joined_BT3HE), setting)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull_BHTE: Tensor) -> tuple[Tensor, None]:
        joined_BT3HE, _ = ctx.saved_tensors
        slope_BT3HE = torch.empty_like(joined_BT3HE)
        _slope(_apart(joined_BT3HE), ctx.setting, pull_BHTE, _apart(slope_BT3HE))
        return slope_BT3HE, None


def _apart(joined_BT3HE: Tensor) -> tuple[Tensor, ...]:
    return joined_BT3HE.permute(2, 0, 3, 1, 4).unbind(0)


def _heads_inside(like_BHTE: Tensor) -> Tensor:
    """Return fresh memory (B, H, T, E) that lies as (B, T, H, E), the order of the products around."""
    rows, heads, steps, width = like_BHTE.shape
    return like_BHTE.new_empty(rows, steps, heads, width).transpose(1, 2)


def _read(operands: tuple[Tensor, ...], setting: _Setting) -> Tensor:
    written_BHTE, native = _heads_inside(operands[0]), kernels()
    assert native is not None
    attention = _attention(operands, setting)
    attention.written = _view(written_BHTE)
    native.short_attention(byref(attention))
    return written_BHTE


def _slope(
    operands: tuple[Tensor, ...] | list[Tensor],
    setting: _Setting,
    pull_BHTE: Tensor,
    slopes: tuple[Tensor, ...] | list[Tensor],
) -> None:
    """Write the gradients of the operands."""
    native, attention = kernels(), _attention(operands, setting)
    assert native is not None
    pull_BHTE = pull_BHTE if pull_BHTE.stride(-1) == 1 else pull_BHTE.contiguous()
    attention.pull = _view(pull_BHTE)
    attention.of_query, attention.of_keys, attention.of_values = map(_view, slopes)
    native.short_attention_backward(byref(attention))


def _attention(operands: tuple[Tensor, ...] | list[Tensor], setting: _Setting) -> Attention:
    query_BHTE, keys_BHSE, values_BHSE = operands
    rows, heads, steps, width = query_BHTE.shape
    keys, mask, draws = keys_BHSE.shape[2], setting.mask, setting.draws
    strides = (0, 0, 0, 0) if mask is None else mask.expand(rows, heads, steps, keys).stride()
    attention = Attention(
        query=_view(query_BHTE),
        keys=_view(keys_BHSE),
        values=_view(values_BHSE),
        mask=pointer(mask),
        mask_strides=(c_long * 4)(*strides),
        rows=rows,
        heads=heads,
        steps=steps,
        key_steps=keys,
        width=width,
        is_low=query_BHTE.dtype is torch.bfloat16,
        is_causal=setting.is_causal,
    )
    if draws is not None:
        attention.seed, attention.dropped_levels, attention.scale = draws.arguments
    return attention


def _view(x_BHTE: Tensor) -> View:
    return View(x_BHTE.data_ptr(), *x_BHTE.stride()[:3])
