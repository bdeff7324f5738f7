"""The pieces that decide how fast a model computes, as plain functions with a simple reference beside each.

Shapes: B batch, H heads, T target (query) steps, S source (key) steps, E width of a head.
Tests hold each piece and its `reference_...` together. All of them work in float64 too, for tests of
exactness. `cross_entropy.py` has the largest of these pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

Precision = Literal["fp32", "bf16"]
"""What matrix products are computed in; weights, sums and everything else stay float32."""

BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""Flags of /proc/cpuinfo that say that a processor multiplies bfloat16 in hardware."""
HIDDEN_SCORE = -1e9
"""Attention score of what is masked: its weight is exactly zero, and a row without any is not NaN."""
LONG_ATTENTION = 192 * 192
"""Scores a head from which fused attention is faster on a CPU; measured between 128 x 128 and 256 x 256."""


# --- precision
def resolve_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> tuple[Precision, str]:
    """Return the precision to compute in on this device, and the reason in words."""
    if wanted != "auto":
        return wanted, "the recipe says so"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", f"{torch.cuda.get_device_name(device)} has bf16 units"
        return "fp32", f"{torch.cuda.get_device_name(device)} has no bf16 units"
    flags = [flag for flag in BF16_FLAGS if flag in _processor_flags()]
    if flags and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "bf16", f"the processor has bf16 units ({flags[0]})"
    if flags:
        return "fp32", f"the processor has bf16 units ({flags[0]}), but this torch is built without oneDNN"
    return "fp32", f"no bf16 units known on this {device.type}"


def _processor_flags() -> frozenset[str]:
    """Return what Linux says of the first processor; nothing on other systems."""
    listing = Path("/proc/cpuinfo")
    if not listing.exists():
        return frozenset()
    for line in listing.read_text(errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


@contextmanager
def compute(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute in this precision inside the block.

    Torch's own autocast state carries it, so all parts of torch that know autocast follow. Call `backward`
    outside the block, as torch asks of autocast.
    """
    # Without autocast's cache of weights, as gradients of a weight used at every step would be summed in
    # bf16.
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
        yield


def computes_bf16(weight: Tensor) -> bool:
    """Say whether products with this weight are to run in bf16 here and now; float64 weights never do."""
    kind = weight.device.type
    return (
        weight.dtype is torch.float32
        and torch.is_autocast_enabled(kind)
        and torch.get_autocast_dtype(kind) is torch.bfloat16
    )


# --- linear
Linear = nn.Linear
"""The linear map of every part: autocast runs it in bf16 under `compute`, returning bfloat16.

An autograd function of our own with the same casts was measured against it: no faster on 4,096 positions, and
half as fast on the few of a decoding step.
"""


# --- dropout
class _Masked(torch.autograd.Function):
    """Zero what a mask of zeros and scales hides; the mask is kept in one byte an element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return torch.mul(x, keep).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return torch.mul(gradient, keep).mul_(ctx.scale), None, None


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero elements with a probability and scale the others so that means stay (Srivastava et al. 2014).

    On a CPU four elements share one 64-bit draw of torch's global generator: the probability is rounded to a
    multiple of 1/65,536, and the scale follows the rounded one, so that nothing is biased. Elsewhere it is
    torch's.
    """
    if not training or probability == 0 or x.numel() == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, probability, training=True)
    keep, scale = _keep(x.shape, probability)
    dropped: Tensor = _Masked.apply(x, keep, scale)  # type: ignore[no-untyped-call]
    return dropped


def reference_dropout(x: Tensor, probability: float) -> Tensor:
    """Do as `dropout` does in training, from the same draws."""
    keep, scale = _keep(x.shape, probability)
    return x * keep.to(x.dtype) * scale


def _keep(shape: torch.Size, probability: float) -> tuple[Tensor, float]:
    """Draw which elements stay, and say what to multiply them with."""
    elements, levels = shape.numel(), 2**16
    dropped_levels = min(round(probability * levels), levels - 1)
    # From the lowest number on: by default random_ leaves out the sign bit, and every fourth draw is
    # lopsided.
    draws = torch.empty(-(-elements // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    draws_of_16_bits = draws.view(torch.int16)[:elements].view(shape)
    return draws_of_16_bits >= dropped_levels - levels // 2, levels / (levels - dropped_levels)


class Dropout(nn.Module):
    """`dropout` with a probability of its own, active in training."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements in training; hand through otherwise."""
        return dropout(x, self.probability, self.training)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"{self.probability}"


# --- attention
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
    through torch's fused attention.
    """
    steps, keys = query_BHTE.shape[-2], keys_BHSE.shape[-2]
    if query_BHTE.device.type == "cpu" and steps * keys < LONG_ATTENTION:
        weights_BHTS = attention_weights(query_BHTE, keys_BHSE, mask, causal)
        return read(dropout(weights_BHTS, dropout_probability, training=True), values_BHSE)
    square = causal and mask is None and steps == keys
    return F.scaled_dot_product_attention(
        query_BHTE,
        keys_BHSE,
        values_BHSE,
        attn_mask=None if square else _both(mask, causal, steps, keys, query_BHTE.device),
        dropout_p=dropout_probability,
        is_causal=square,
    )


def attention_weights(
    query_BHTE: Tensor, keys_BHSE: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Return softmax(QKᵀ/√E) (B, H, T, S), at least in float32; see `attend`."""
    scale = 1 / math.sqrt(query_BHTE.shape[-1])
    with torch.autocast(query_BHTE.device.type, enabled=False):
        scores_BHTS = (_precise(query_BHTE) * scale) @ _precise(keys_BHSE).transpose(-1, -2)
        allowed = _both(mask, causal, query_BHTE.shape[-2], keys_BHSE.shape[-2], query_BHTE.device)
        if allowed is not None:
            scores_BHTS = scores_BHTS + torch.where(allowed, 0.0, HIDDEN_SCORE)
        return scores_BHTS.softmax(-1)


def read(weights_BHTS: Tensor, values_BHSE: Tensor) -> Tensor:
    """Return the weighted sums of values (B, H, T, E), at least in float32."""
    with torch.autocast(weights_BHTS.device.type, enabled=False):
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


def _precise(x: Tensor) -> Tensor:
    """Widen bfloat16 to float32; short products in bf16 cost more than they save, and lose digits."""
    return x.float() if x.dtype is torch.bfloat16 else x


def _both(mask: Tensor | None, causal: bool, steps: int, keys: int, device: torch.device) -> Tensor | None:
    """Join a mask with the causal one; a single query is the last and may read everything."""
    if not causal or steps == 1:
        return mask
    past_TS = torch.ones(steps, keys, dtype=torch.bool, device=device).tril(keys - steps)
    return past_TS if mask is None else mask & past_TS
