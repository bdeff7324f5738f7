"""The pieces that decide how fast a model computes, as plain functions with a simple reference beside each.

Tests hold each piece and its `reference_...` together. All of them work in float64 too, for tests of
exactness. `cross_entropy.py` and `scaled_dot.py` have the largest of these pieces.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.draws import draw_kept
from dragoman.model.passes import added, dropped, passes
from dragoman.model.products import linear

Precision = Literal["fp32", "bf16"]
"""What matrix products are computed in; weights, sums and everything else stay float32."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt`: free memory that is handed back, and size of blocks that are mapped alone."""
_LARGEST_HELD, _HELD_AT_ONCE = 2**25, 2**30
"""Bytes; glibc refuses a larger first number."""
BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""Flags of /proc/cpuinfo that say that a processor multiplies bfloat16 in hardware."""


# --- memory
def hold_memory() -> bool:
    """Let this process keep what it frees for what comes next, and say whether the C library (glibc) does so.

    By default it hands large blocks back to the system, and every step of a search takes them anew, page by
    page. For processes of our own, not for those of others.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if tell is None:
        return False
    return bool(tell(_M_MMAP_THRESHOLD, _LARGEST_HELD) and tell(_M_TRIM_THRESHOLD, _HELD_AT_ONCE))


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


# --- linear
class Linear(nn.Linear):
    """The linear map of every part: under `compute` it runs in bf16, returning bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return linear(x, self.weight, self.bias)


# --- dropout
class _Masked(torch.autograd.Function):
    """Zero what a mask of zeros and ones hides, and scale the rest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return torch.mul(x, kept).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return torch.mul(gradient, kept).mul_(ctx.scale), None, None


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
    if passes(x):
        return dropped(x, probability)
    masked: Tensor = _Masked.apply(x, *draw_kept(x.shape, probability, x.dtype))  # type: ignore[no-untyped-call]
    return masked


def reference_dropout(x: Tensor, probability: float) -> Tensor:
    """Do as `dropout` does in training, from the same draws."""
    kept, scale = draw_kept(x.shape, probability, x.dtype)
    return x * kept * scale


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


# --- the path around a sublayer
class _AddDropped(torch.autograd.Function):
    """x + dropout(y), where y may be narrower than x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return torch.mul(y, kept).to(x.dtype).mul_(scale).add_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return gradient, torch.mul(gradient.to(kept.dtype), kept).mul_(ctx.scale), None, None


def add_dropped(x: Tensor, y: Tensor, probability: float, training: bool) -> Tensor:
    """Return x + dropout(y) in the type of x, with fewer passes than one by one; see `dropout`."""
    if not training or probability == 0 or y.numel() == 0 or y.device.type != "cpu":
        return x + dropout(y, probability, training).to(x.dtype)
    if passes(x, y) and x.dtype is torch.float32 and x.shape == y.shape:
        return added(x, y, probability)
    kept, scale = draw_kept(y.shape, probability, y.dtype)
    summed: Tensor = _AddDropped.apply(x, y, kept, scale)  # type: ignore[no-untyped-call]
    return summed


def reference_add_dropped(x: Tensor, y: Tensor, probability: float) -> Tensor:
    """Do as `add_dropped` does in training, from the same draws."""
    return x + reference_dropout(y, probability).to(x.dtype)
