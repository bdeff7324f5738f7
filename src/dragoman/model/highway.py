"""The linear highway of numbers: from all steps of a context to all of a horizon, by one line or several.

Shapes: B rows, S steps of a context, T steps of a horizon, F variables, K lines, L variations, X = K·T.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.errors import DataError
from dragoman.model.sublayers import fresh_linear
from dragoman.records import Sequence

_LEAST_VARIATION = 1e-4
"""In the scale of the codec; added before logarithms are taken, so that what is constant has one."""


class Highway(nn.Module):
    """A linear map from all steps of the context to all of the horizon, the same for every variable.

    The linear part of LSTNet (Lai et al. 2018). The variables are the first F channels of the source. With
    several `lines` each window of a variable takes that of its kind; see `Kinds`. All is fitted before
    training, which leaves it as it is: steps of noise on all its weights at once cost more than they find.
    """

    def __init__(self, context: int, horizon: int, size: int, lines: int = 1) -> None:
        super().__init__()
        self.size = size
        self.context = context
        self.horizon = horizon
        self.lines = lines
        self.linear = fresh_linear(context, lines * horizon).requires_grad_(False)
        self.kinds = Kinds(context, lines) if lines > 1 else None

    def forward(self, source: Sequence) -> Tensor:
        """Return what is to be added to the answer (B, T, F); DataError for a context of another length."""
        wrong = source.lengths_B[source.lengths_B != self.context]
        if len(wrong) or source.values.shape[1] != self.context:
            found = int(wrong[0]) if len(wrong) else source.values.shape[1]
            raise DataError(
                f"`model.rollout.linear` reads {self.context:,} steps of context, found {found:,}"
            )
        values_BFS = source.values[:, :, : self.size].transpose(1, 2)
        answers_BFX = _precise_map(values_BFS, self.linear)
        if self.kinds is None:
            return answers_BFX.transpose(1, 2)
        kinds_BF: Tensor = self.kinds(values_BFS)
        answers_BFKT = answers_BFX.reshape(*kinds_BF.shape, self.lines, self.horizon)
        chosen_BF1T = kinds_BF[..., None, None].expand(-1, -1, 1, self.horizon)
        return answers_BFKT.gather(2, chosen_BF1T).squeeze(2).transpose(1, 2)


class Kinds(nn.Module):
    """Tells windows apart by how much they vary over short and over long times: by the nearest centre.

    A variation is the logarithm of the root mean square of a window, or of its differences over 1, 2, 3, 4,
    6, 8, 12, ... steps up to half of it. Distances count each variation by its weight.
    """

    def __init__(self, context: int, kinds: int) -> None:
        super().__init__()
        both = {times * 2**power for power in range(context.bit_length()) for times in (1, 3)}
        self.lags = sorted(lag for lag in both if lag <= context // 2)
        count = 1 + len(self.lags)
        self.centres_KL = nn.Parameter(torch.zeros(kinds, count), requires_grad=False)
        self.weights_L = nn.Parameter(torch.ones(count), requires_grad=False)

    def forward(self, values_RS: Tensor) -> Tensor:
        """Return the kind of each window, whatever dimensions stand before its steps."""
        apart_RKL = (self.variations(values_RS)[..., None, :] - self.centres_KL) * self.weights_L
        return apart_RKL.square().sum(-1).argmin(-1)

    def variations(self, values_RS: Tensor) -> Tensor:
        """Return what windows are told apart by (..., L)."""
        values_RS = values_RS.to(self.weights_L.dtype)
        differences = [values_RS[..., lag:] - values_RS[..., :-lag] for lag in self.lags]
        sizes = [each.square().mean(-1).sqrt() for each in (values_RS, *differences)]
        return (torch.stack(sizes, -1) + _LEAST_VARIATION).log()


def _precise_map(values: Tensor, linear: nn.Linear) -> Tensor:
    with torch.autocast(linear.weight.device.type, enabled=False):
        return F.linear(values.to(linear.weight.dtype), linear.weight, linear.bias)
