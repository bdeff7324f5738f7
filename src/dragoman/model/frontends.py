"""What turns the values of a sequence into vectors. Shapes: B batch, S steps, D width."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.records import BOS, PAD


class TokenFrontend(nn.Module):
    """Embeds tokens and scales them by √width (Vaswani et al. 2017), so that they start with a variance of 1.

    All models do so, with any positions. `weight` (vocabulary, width) makes it share the table of another
    part.
    """

    def __init__(self, size: int, width: int, weight: nn.Parameter | None = None) -> None:
        super().__init__()
        self.width = width
        self.weight = _fresh_table(size, width) if weight is None else weight

    def forward(self, tokens_BS: Tensor) -> Tensor:
        """Return vectors (B, S, D)."""
        return F.embedding(tokens_BS, self.weight, padding_idx=PAD) * math.sqrt(self.width)


class AnsweringTokenFrontend(TokenFrontend):
    """A `TokenFrontend` on a CPU, without gradients: NumPy has few tokens sooner."""

    def __init__(self, frontend: TokenFrontend) -> None:
        super().__init__(0, frontend.width, frontend.weight)

    def forward(self, tokens_BS: Tensor) -> Tensor:
        """Return vectors (B, S, D)."""
        table = self.weight.detach().numpy()
        return torch.from_numpy(table.take(tokens_BS.numpy(), axis=0) * np.float32(math.sqrt(self.width)))


def tokens_before(tokens_BT: Tensor) -> Tensor:
    """Return for each step the token before it, BOS for the first."""
    return torch.cat([torch.full_like(tokens_BT[:, :1], BOS), tokens_BT[:, :-1]], 1)


def _fresh_table(size: int, width: int) -> nn.Parameter:
    """Draw rows of a length of about 1, and zero for padding."""
    table = torch.empty(size, width)
    if not table.is_meta:  # where there are shapes only, normal_ imports torch's compiler: over a second
        table.normal_(std=width**-0.5)
        table[PAD] = 0
    return nn.Parameter(table)
