"""How a Transformer knows where a step stands: sinusoidal, learnt and rotary positions.

Shapes: B batch, T steps, D width, H heads, E width of a head, W waves. The first step of a sequence is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dragoman.errors import DataError

SLOWEST_WAVE = 10_000.0
"""Longest wavelength over 2π, of sinusoidal (Vaswani et al. 2017) and rotary positions (Su et al. 2021)."""


class SinusoidalPositions(nn.Module):
    """Adds sines and cosines of each position; there is no longest sequence (Vaswani et al. 2017).

    As in Tensor2Tensor: sines in the first half, cosines in the second, and the first step stands at 1. It is
    the form that inference engines compute by themselves.
    """

    def forward(self, inputs_BTD: Tensor, first: int) -> Tensor:
        """Add the positions of steps `first`, `first` + 1, ..."""
        half = inputs_BTD.shape[2] // 2
        angles_TW = _angles(first + 1, inputs_BTD.shape[1], half, max(half - 1, 1), inputs_BTD.device)
        return inputs_BTD + torch.cat([angles_TW.sin(), angles_TW.cos()], -1).to(inputs_BTD.dtype)


class LearntPositions(nn.Module):
    """Adds a learnt vector to each step, up to a longest sequence (Gehring et al. 2017).

    `owner` is the path of its section in the recipe, for the DataError that a longer sequence raises.
    """

    def __init__(self, width: int, max_positions: int, owner: str) -> None:
        super().__init__()
        self.owner = owner
        self.weight = nn.Parameter(torch.empty(max_positions, width).normal_(std=width**-0.5))

    def forward(self, inputs_BTD: Tensor, first: int) -> Tensor:
        """Add the positions of steps `first`, `first` + 1, ..."""
        end, limit = first + inputs_BTD.shape[1], self.weight.shape[0]
        if end > limit:
            raise DataError(
                f"a sequence of {end} steps is longer than the {limit} positions that this model has learnt: "
                f"give shorter ones, or train with a larger `{self.owner}.max_positions`"
            )
        return inputs_BTD + self.weight[first:end]


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines (T, E/2) that turn queries and keys by their positions (Su et al. 2021)."""

    cosines_TW: Tensor
    sines_TW: Tensor

    def turn(self, x_BHTE: Tensor) -> Tensor:
        """Turn pairs made of the first and the second half, at least in float32."""
        first_BHTW, second_BHTW = x_BHTE.chunk(2, -1)
        return torch.cat(
            [
                first_BHTW * self.cosines_TW - second_BHTW * self.sines_TW,
                second_BHTW * self.cosines_TW + first_BHTW * self.sines_TW,
            ],
            -1,
        )


def rotation(first: int, steps: int, head_width: int, like: Tensor) -> Rotation:
    """Return the rotation of steps `first`, `first` + 1, ... with the device and type of `like`."""
    half = head_width // 2
    angles_TW = _angles(first, steps, half, half, like.device)
    return Rotation(angles_TW.cos().to(like.dtype), angles_TW.sin().to(like.dtype))


def _angles(first: int, steps: int, waves: int, slowest: int, device: torch.device) -> Tensor:
    """Return the angle of each step in each wave, in float64: late steps lose digits in float32.

    Wavelengths grow geometrically from 2π; the one numbered `slowest` is the longest.
    """
    steps_T = torch.arange(first, first + steps, dtype=torch.float64, device=device)
    exponents_W = torch.arange(waves, dtype=torch.float64, device=device) / slowest
    return steps_T[:, None] * torch.exp(-math.log(SLOWEST_WAVE) * exponents_W)
