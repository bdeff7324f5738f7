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
from dragoman.records import Sequence


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
    there: NaN, a value that is missing, is also what stands before the first step, unless that is told the
    end of the context. With the whole horizon at once every step is told the same: that end, or a vector that
    is learnt. What is known beforehand is added. `width` 0 tells nothing.
    """

    def __init__(self, size: int, ahead: int, width: int, section: Rollout) -> None:
        super().__init__()
        self.size = size
        self.width = width
        self.patch = section.patch
        self.is_whole = section.kind == "whole"
        """Whether all steps can be taken at once, since none is told values that were written."""
        self.begins_with_context = section.begin == "context"
        is_told_values = self.begins_with_context or not self.is_whole
        self.values = fresh_linear(2 * section.patch * size, width) if is_told_values else None
        has_begin = self.values is None and width > 0
        self.begin = nn.Parameter(torch.zeros(width)) if has_begin else None
        self.ahead = Linear(section.patch * ahead, width, bias=False) if ahead else None

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

    def before(self, frames_BTF: Tensor, end_BX: Tensor | None = None) -> Tensor:
        """Return for each step the patch before it: (B, T, F) to (B, J, X); `end_BX` is that of the first."""
        patches_BJX = self.patches(frames_BTF, math.nan)
        rows, steps, _ = patches_BJX.shape
        if self.is_whole:
            return self.first(rows, steps, patches_BJX, end_BX)
        return torch.cat([self.first(rows, 1, patches_BJX, end_BX), patches_BJX[:, :-1]], 1)

    def first(self, rows: int, steps: int, like: Tensor, end_BX: Tensor | None = None) -> Tensor:
        """Return what steps are told before any was written, `end_BX` or no values, of the type of `like`."""
        if end_BX is None:
            return like.new_full((rows, steps, self.patch * self.size), math.nan)
        return end_BX.to(like.dtype)[:, None].expand(rows, steps, -1)

    def end_of(self, source: Sequence) -> Tensor | None:
        """Return the last patch of each context (B, X), NaN before its first step; None where none is told.

        The variables are the first F channels of the source.
        """
        if not self.begins_with_context:
            return None
        values_BSF = source.values[:, :, : self.size]
        places_BP = source.lengths_B[:, None] + torch.arange(-self.patch, 0, device=values_BSF.device)
        rows_B1 = torch.arange(len(values_BSF), device=values_BSF.device)[:, None]
        end_BPF = values_BSF[rows_B1, places_BP.clamp(min=0)]
        return end_BPF.masked_fill((places_BP < 0)[:, :, None], math.nan).flatten(1)

    def patches(self, values_BTC: Tensor, filling: float) -> Tensor:
        """Put the values of each patch side by side, and fill the last one up."""
        rows, steps, size = values_BTC.shape
        filled_BTC = F.pad(values_BTC, (0, 0, 0, -steps % self.patch), value=filling)
        return filled_BTC.reshape(rows, filled_BTC.shape[1] // self.patch, self.patch * size)
