"""Scaled dot-product attention, fast where sequences are short, and its reference.

Shapes: B batch, H heads, T target (query) steps, S source (key) steps, E width of a head; P and R are T and S
rounded up to whole blocks.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.draws import draw_kept
from dragoman.model.kernels import dropout
from dragoman.model.short_attention import attend_short, attends

HIDDEN_SCORE = -1e9
"""Attention score of what is masked: its weight is exactly zero, and a row without any is not NaN."""
_FILLING = 2 * HIDDEN_SCORE
"""Score of what fills a block, less than what a mask hides: where all is hidden, real keys are heard."""
LONG_ATTENTION = 192 * 192
"""Scores a head from which fused attention is faster on a CPU; measured between 128 x 128 and 256 x 256."""
_BLOCK = 16
"""Steps are rounded up to a multiple of this: a softmax over 15 numbers takes a CPU eight times as long as
one over 16, and the products of single heads up to four times (bench/blocks.py)."""


def attend(
    query_BHTE: Tensor,
    keys_BHSE: Tensor,
    values_BHSE: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout_probability: float = 0.0,
) -> Tensor:
    """Return softmax(QKᵀ/√E)V (B, H, T, E) (Vaswani et al. 2017).

    `mask` broadcasts to (B, H, T, S), True = may be read. `causal` lets the last query read every key, the
    one before all but the last, and so on. Short sequences on a CPU run as plain products in float32, others
    through torch's fused attention. The result has the type of the queries.
    """
    steps, keys = query_BHTE.shape[-2], keys_BHSE.shape[-2]
    if query_BHTE.device.type == "cpu" and steps * keys < LONG_ATTENTION:
        if is_short_training(query_BHTE, keys_BHSE, values_BHSE):
            return attend_short(query_BHTE, keys_BHSE, values_BHSE, mask, causal, dropout_probability)
        if query_BHTE.requires_grad and query_BHTE.dtype == keys_BHSE.dtype == values_BHSE.dtype:
            allowed = _both(mask, causal, steps, keys, query_BHTE.device)
            bias = _block_bias(allowed, steps, keys, _wide(query_BHTE.dtype))
            short: Tensor = _ShortAttention.apply(  # type: ignore[no-untyped-call]
                query_BHTE, keys_BHSE, values_BHSE, bias, dropout_probability
            )
            return short
        weights_BHTS = attention_weights(query_BHTE, keys_BHSE, mask, causal)
        weights_BHTS = dropout(weights_BHTS, dropout_probability, training=True)
        return read(weights_BHTS, values_BHSE).to(query_BHTE.dtype)
    square = causal and mask is None and steps == keys
    return F.scaled_dot_product_attention(
        query_BHTE,
        keys_BHSE,
        values_BHSE,
        attn_mask=None if square else _both(mask, causal, steps, keys, query_BHTE.device),
        dropout_p=dropout_probability,
        is_causal=square,
    )


def is_short_training(query_BHTE: Tensor, *others_BHSE: Tensor) -> bool:
    """Say whether attention of these is trained by kernels in C."""
    scores = query_BHTE.shape[2] * others_BHSE[0].shape[2]
    return query_BHTE.requires_grad and scores < LONG_ATTENTION and attends(query_BHTE, *others_BHSE)


def attention_weights(
    query_BHTE: Tensor, keys_BHSE: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Return softmax(QKᵀ/√E) (B, H, T, S), at least in float32; see `attend`."""
    scale = 1 / math.sqrt(query_BHTE.shape[-1])
    with _as_typed(query_BHTE.device.type):
        scores_BHTS = (_precise(query_BHTE) * scale) @ _precise(keys_BHSE).transpose(-1, -2)
        allowed = _both(mask, causal, query_BHTE.shape[-2], keys_BHSE.shape[-2], query_BHTE.device)
        if allowed is not None:
            scores_BHTS = scores_BHTS + torch.where(allowed, 0.0, HIDDEN_SCORE)
        return softmax(scores_BHTS)


def softmax(scores: Tensor) -> Tensor:
    """Return the softmax over the last axis; without gradients, on a CPU, of whole blocks of it."""
    keys = scores.shape[-1]
    if scores.requires_grad or scores.device.type != "cpu" or keys % _BLOCK == 0:
        return scores.softmax(-1)
    whole = F.pad(scores, (0, -keys % _BLOCK), value=_FILLING)
    return whole.softmax(-1)[..., :keys]


def read(weights_BHTS: Tensor, values_BHSE: Tensor) -> Tensor:
    """Return the weighted sums of values (B, H, T, E), at least in float32."""
    with _as_typed(weights_BHTS.device.type):
        return weights_BHTS @ _precise(values_BHSE)


def reference_attend(
    query_BHTE: Tensor,
    keys_BHSE: Tensor,
    values_BHSE: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Compute `attend` without dropout, step by step."""
    steps, keys = query_BHTE.shape[-2], keys_BHSE.shape[-2]
    scores_BHTS = torch.einsum("bhte,bhse->bhts", query_BHTE, keys_BHSE) / math.sqrt(query_BHTE.shape[-1])
    if mask is not None:
        scores_BHTS = scores_BHTS.masked_fill(~mask, -math.inf)
    if causal:
        future_TS = torch.arange(keys) > torch.arange(keys - steps, keys)[:, None]
        scores_BHTS = scores_BHTS.masked_fill(future_TS, -math.inf)
    return torch.einsum("bhts,bhse->bhte", scores_BHTS.softmax(-1), values_BHSE)


class _ShortAttention(torch.autograd.Function):
    """Attention of whole blocks of steps, with as few passes over its operands as there are layouts.

    Operands may lie in memory in any order: one copy each widens them to float32 and lays them out by heads.
    Results and gradients lie as (B, T, H, E), the order of the products before and after.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query_BHTE: Tensor,
        keys_BHSE: Tensor,
        values_BHSE: Tensor,
        bias: Tensor | None,
        dropout_probability: float,
    ) -> Tensor:
        query_BHPE = _laid_out(query_BHTE).mul_(1 / math.sqrt(query_BHTE.shape[-1]))
        keys_BHRE, values_BHRE = _laid_out(keys_BHSE), _laid_out(values_BHSE)
        with torch.autocast("cpu", enabled=False):
            scores_BHPR = query_BHPE @ keys_BHRE.transpose(-1, -2)
            weights_BHPR = (scores_BHPR if bias is None else scores_BHPR.add_(bias)).softmax(-1)
            kept, scale, read_BHPR = None, 1.0, weights_BHPR
            if dropout_probability:
                kept, scale = draw_kept(weights_BHPR.shape, dropout_probability, weights_BHPR.dtype)
                read_BHPR = (weights_BHPR * kept).mul_(scale)
            written_BHPE = read_BHPR @ values_BHRE
        ctx.save_for_backward(query_BHPE, keys_BHRE, values_BHRE, weights_BHPR, kept)
        ctx.scale, ctx.steps, ctx.keys, ctx.dtype = (
            scale,
            query_BHTE.shape[2],
            keys_BHSE.shape[2],
            query_BHTE.dtype,
        )
        return _handed_back(written_BHPE, query_BHTE.shape[2], query_BHTE.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BHTE: Tensor) -> tuple[Tensor | None, ...]:
        query_BHPE, keys_BHRE, values_BHRE, weights_BHPR, kept = ctx.saved_tensors
        gradient_BHPE = _laid_out(gradient_BHTE)
        with torch.autocast("cpu", enabled=False):
            pull_BHPR = gradient_BHPE @ values_BHRE.transpose(-1, -2)
            read_BHPR = weights_BHPR
            if kept is not None:
                pull_BHPR.mul_(kept).mul_(ctx.scale)
                read_BHPR = (weights_BHPR * kept).mul_(ctx.scale)
            of_values_BHRE = read_BHPR.transpose(-1, -2) @ gradient_BHPE
            pull_BHPR = torch.ops.aten._softmax_backward_data(pull_BHPR, weights_BHPR, -1, weights_BHPR.dtype)
            of_query_BHPE = (pull_BHPR @ keys_BHRE).mul_(1 / math.sqrt(query_BHPE.shape[-1]))
            of_keys_BHRE = pull_BHPR.transpose(-1, -2) @ query_BHPE
        return (
            _handed_back(of_query_BHPE, ctx.steps, ctx.dtype),
            _handed_back(of_keys_BHRE, ctx.keys, ctx.dtype),
            _handed_back(of_values_BHRE, ctx.keys, ctx.dtype),
            None,
            None,
        )


def _laid_out(x_BHTE: Tensor) -> Tensor:
    """Copy to float32 (float64 stays), heads apart, with steps of zeros up to a whole block."""
    rows, heads, steps, width = x_BHTE.shape
    whole = torch.empty(rows, heads, -(-steps // _BLOCK) * _BLOCK, width, dtype=_wide(x_BHTE.dtype))
    whole[:, :, :steps].copy_(x_BHTE)
    whole[:, :, steps:].zero_()
    return whole


def _handed_back(x_BHPE: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Copy the real steps to this type, heads side by side in memory."""
    rows, heads, _, width = x_BHPE.shape
    joined_BTHE = torch.empty(rows, steps, heads, width, dtype=dtype)
    return joined_BTHE.copy_(x_BHPE[:, :, :steps].transpose(1, 2)).transpose(1, 2)


def _block_bias(allowed: Tensor | None, steps: int, keys: int, dtype: torch.dtype) -> Tensor | None:
    """Return what to add to scores of whole blocks: nothing but real keys that may be read is heard."""
    whole = -(-keys // _BLOCK) * _BLOCK
    if allowed is None:
        if whole == keys:
            return None
        allowed = torch.ones(1, 1, 1, keys, dtype=torch.bool)
    rows = 1 if allowed.shape[-2] == 1 else -(-steps // _BLOCK) * _BLOCK
    bias = torch.full((*allowed.shape[:-2], rows, whole), _FILLING, dtype=dtype)
    bias[..., : allowed.shape[-2], :keys] = torch.where(allowed, 0.0, HIDDEN_SCORE).to(dtype)
    return bias


def _as_typed(kind: str) -> AbstractContextManager[object]:
    """Keep autocast from narrowing products; costs nothing where it is off."""
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32


def _precise(x: Tensor) -> Tensor:
    """Widen bfloat16 to float32; short products in bf16 lose digits, and do not save time everywhere."""
    return x.float() if x.dtype is torch.bfloat16 else x


def _both(mask: Tensor | None, causal: bool, steps: int, keys: int, device: torch.device) -> Tensor | None:
    """Join a mask with the causal one; a single query is the last and may read everything."""
    if not causal or steps == 1:
        return mask
    past_TS = torch.ones(steps, keys, dtype=torch.bool, device=device).tril(keys - steps)
    return past_TS if mask is None else mask & past_TS
