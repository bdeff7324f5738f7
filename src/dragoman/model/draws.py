"""What dropout drops: draws that one number says, in C and in torch alike.

Torch's global generator gives each call a seed; what follows from it is a pure function of the seed and of
the place, whatever the number of threads. So masks need not be kept: the way back draws them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.native.training import kernels

_LEVELS = 2**16
_DRAWS = 4
"""Elements that share one number of 64 bits."""
_SMALLEST = torch.iinfo(torch.int64).min
_GAMMA, _FIRST, _SECOND = (n - 2**64 for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""Of SplitMix64 (Steele et al. 2014), as torch's signed numbers."""


@dataclass(frozen=True)
class Draws:
    """A seed, how many of 65,536 levels are dropped, and what the rest is multiplied with.

    The probability is rounded to a multiple of 1/65,536, and the scale follows the rounded one, so that
    nothing is biased.
    """

    seed: int
    dropped_levels: int
    scale: float

    @property
    def arguments(self) -> tuple[int, int, float]:
        """The draws as the kernels in C take them."""
        return self.seed, self.dropped_levels, self.scale

    def kept(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return which elements stay (1) and which go (0)."""
        rows, width = rows_of_last(shape)
        native = kernels()
        if native is not None and dtype is torch.float32:
            kept = torch.empty(shape)
            native.draw_factors(rows, width, self.seed, self.dropped_levels, 1.0, kept.data_ptr())
            return kept
        return self.reference_kept(rows, width).view(shape).to(dtype)

    def reference_kept(self, rows: int, width: int) -> Tensor:
        """Return it (rows, width) as booleans, computed in torch."""
        counters = -(-width // _DRAWS)
        signed = self.seed - 2**64 if self.seed >= 2**63 else self.seed
        z = torch.arange(1, rows * counters + 1).mul_(_GAMMA).add_(signed)
        for bits, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
            z = (z ^ (z >> bits & 2 ** (64 - bits) - 1)) * factor
        signed_levels = z.view(torch.int16) ^ -_LEVELS // 2
        return signed_levels.view(rows, counters * _DRAWS)[:, :width] >= self.dropped_levels - _LEVELS // 2


def new_draws(probability: float) -> Draws:
    """Take a seed from torch's global generator."""
    dropped_levels = min(round(probability * _LEVELS), _LEVELS - 1)
    # From the lowest number on: by default random_ leaves out the sign bit.
    seed = int(torch.empty((), dtype=torch.int64).random_(_SMALLEST, None)) % 2**64
    return Draws(seed, dropped_levels, _LEVELS / (_LEVELS - dropped_levels))


def draw_kept(shape: torch.Size, probability: float, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Draw on the CPU which elements stay (1) and which go (0), and say what to multiply the first with.

    The mask has the type of what it is multiplied with: products of two types cost a CPU many times more.
    """
    draws = new_draws(probability)
    return draws.kept(shape, dtype), draws.scale


def rows_of_last(shape: torch.Size) -> tuple[int, int]:
    """Return the number of rows along the last axis, and their width."""
    return math.prod(shape[:-1]), shape[-1] if shape else 1
