"""What a decoder of numbers is told at each step.

Shapes: B rows, S source steps, T target steps, P steps of a patch, J = T/P decoder steps, X = P·F, F
variables, C known beforehand, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.errors import DataError
from dragoman.model.kernels import Linear
from dragoman.model.sublayers import fresh_linear
from dragoman.recipe.rollout import Rollout


class PlainFrames(nn.Module):
    """Frames as they are, for encoders that begin with a linear map of their own."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.width = size

    def forward(self, values_BSF: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frames, zeros in padding, and their mask."""
        return values_BSF.masked_fill(~mask_BS[:, :, None], 0.0), mask_BS


class FrameInputs(nn.Module):
    """Turns the values before a step and what is known of the step beforehand into vectors.

    A step stands for a patch. Step by step it is told the patch before it, and of each value whether it is
    there: NaN, a value that is missing, is also what stands before the first step. With the whole horizon at
    once every step is told the same, and what is known beforehand. `width` 0 tells nothing.
    """

    def __init__(self, size: int, ahead: int, width: int, section: Rollout) -> None:
        super().__init__()
        self.size = size
        self.width = width
        self.patch = section.patch
        self.values = fresh_linear(2 * section.patch * size, width) if section.kind == "steps" else None
        has_begin = self.values is None and width > 0
        self.begin = nn.Parameter(torch.zeros(width)) if has_begin else None
        self.ahead = Linear(section.patch * ahead, width, bias=False) if ahead else None

    @property
    def is_whole(self) -> bool:
        """Whether all steps can be taken at once, since none is told values."""
        return self.values is None

    def forward(self, before_BJX: Tensor, ahead_BTC: Tensor | None = None) -> Tensor:
        """Return vectors (B, J, D); DataError where less is known beforehand than there are steps."""
        rows, steps, _ = before_BJX.shape
        inputs_BJD = before_BJX.new_zeros(rows, steps, self.width)
        if self.values is not None:
            is_missing_BJX = before_BJX.isnan()
            told_BJX = before_BJX.masked_fill(is_missing_BJX, 0.0)
            inputs_BJD = self.values(torch.cat([told_BJX, is_missing_BJX.to(told_BJX.dtype)], -1))
        elif self.begin is not None:
            inputs_BJD = self.begin.expand(rows, steps, -1)
        if self.ahead is None:
            return inputs_BJD
        found = 0 if ahead_BTC is None else ahead_BTC.shape[1]
        if ahead_BTC is None or -(-found // self.patch) < steps:
            raise DataError(
                f"the model forecasts {steps * self.patch:,} steps by what is known of them beforehand, "
                f"found {found:,}"
            )
        known_BJC = self.patches(ahead_BTC[:, : steps * self.patch], 0.0)
        told_BJD: Tensor = inputs_BJD + self.ahead(known_BJC.to(before_BJX.dtype))
        return told_BJD

    def before(self, frames_BTF: Tensor) -> Tensor:
        """Return for each step the patch before it: (B, T, F) to (B, J, X)."""
        patches_BJX = self.patches(frames_BTF, math.nan)
        if self.is_whole:
            return torch.full_like(patches_BJX, math.nan)
        return torch.cat([torch.full_like(patches_BJX[:, :1], math.nan), patches_BJX[:, :-1]], 1)

    def nothing(self, rows: int, steps: int, like: Tensor) -> Tensor:
        """Return steps that are told no values, of the type of `like`."""
        return like.new_full((rows, steps, self.patch * self.size), math.nan)

    def patches(self, values_BTC: Tensor, filling: float) -> Tensor:
        """Put the values of each patch side by side, and fill the last one up."""
        rows, steps, size = values_BTC.shape
        filled_BTC = F.pad(values_BTC, (0, 0, 0, -steps % self.patch), value=filling)
        return filled_BTC.reshape(rows, filled_BTC.shape[1] // self.patch, self.patch * size)
