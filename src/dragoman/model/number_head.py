"""What turns outputs of a decoder into numbers, or into distributions of numbers.

Shapes: B rows, J decoder steps, P steps of a patch, T = J·P target steps, F variables, Q what is said of one
number, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.number_losses import freedoms, number_losses, scales, sizes_of
from dragoman.model.sublayers import fresh_linear
from dragoman.recipe.objectives import Likelihood, NumericObjective, Quantile
from dragoman.records import Sequence


class NumberHead(nn.Module):
    """A linear map from each step to all that the loss needs to know of its numbers; see `number_losses`."""

    def __init__(self, width: int, size: int, patch: int, section: NumericObjective) -> None:
        super().__init__()
        self.size = size
        self.patch = patch
        self.section = section
        self.sizes = sizes_of(section)
        self.linear = fresh_linear(width, patch * size * self.sizes)

    def forward(self, outputs_BJD: Tensor, line_BTF: Tensor | None = None) -> Tensor:
        """Return what is said of each number (B, T, F, Q), in the precision of the weights.

        `line_BTF` is added to locations, and to all quantiles.
        """
        weight, bias = self.linear.weight, self.linear.bias
        with torch.autocast(weight.device.type, enabled=False):
            said_BJX = F.linear(outputs_BJD.to(weight.dtype), weight, bias)
        rows, steps, _ = said_BJX.shape
        said_BTFQ = said_BJX.view(rows, steps * self.patch, self.size, self.sizes)
        if line_BTF is None:
            return said_BTFQ
        line_BTF = F.pad(line_BTF, (0, 0, 0, said_BTFQ.shape[1] - line_BTF.shape[1]))
        if not isinstance(self.section, Likelihood):
            every_BTFQ: Tensor = said_BTFQ + line_BTF[..., None]
            return every_BTFQ
        return torch.cat([said_BTFQ[..., :1] + line_BTF[..., None], said_BTFQ[..., 1:]], -1)

    def loss(self, said_BTFQ: Tensor, target: Sequence) -> Tensor:
        """Return the loss summed over steps, a mean over variables in each; padding and NaN add nothing."""
        targets_BTF = target.values.masked_fill(~target.mask_BS[:, :, None], math.nan)
        said_BTFQ = said_BTFQ[:, : targets_BTF.shape[1]]
        losses_BTF = number_losses(said_BTFQ, targets_BTF, target.units_BF, self.section)
        return losses_BTF.sum() / self.size

    def point(self, said_BTFQ: Tensor) -> Tensor:
        """Return the number that the loss asks for (B, T, F): mean, median or location."""
        if isinstance(self.section, Quantile):
            return self.quantiles(said_BTFQ)[..., self.section.levels.index(0.5)]
        return said_BTFQ[..., 0]

    def quantiles(self, said_BTFQ: Tensor) -> Tensor:
        """Return the quantiles of a quantile loss in rising order (Chernozhukov et al. 2010)."""
        return said_BTFQ.sort(-1).values

    def draw(self, said_BTFQ: Tensor, uniforms_BTFX: Tensor) -> Tensor:
        """Draw from distributions (B, T, F), with two uniform numbers in [0, 1) for each, in float64.

        Box and Muller (1958), and for Student's t Bailey (1994).
        """
        assert isinstance(self.section, Likelihood), "`of_forecasts` sees to it"
        said_BTFQ, uniforms_BTFX = said_BTFQ.double(), uniforms_BTFX.double()
        # in (0, 1]: the logarithm of 0 is infinite
        nats_BTF = -torch.log1p(-uniforms_BTFX[..., 0])
        if self.section.kind == "student_t":
            freedoms_BTF = freedoms(said_BTFQ)
            squares_BTF = freedoms_BTF * torch.expm1(2 * nats_BTF / freedoms_BTF)
        else:
            squares_BTF = 2 * nats_BTF
        standard_BTF = squares_BTF.sqrt() * torch.cos(2 * math.pi * uniforms_BTFX[..., 1])
        return said_BTFQ[..., 0] + scales(said_BTFQ) * standard_BTF
