"""What turns outputs of a decoder into predictions.

Shapes: D width of the outputs, E width of the table, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.kernels import Linear


class VocabularyHead(nn.Module):
    """Scores every symbol of the vocabulary by a table with a row for each.

    A table of its own comes with a bias. `tied`, the table of an embedding (Press and Wolf 2017), comes
    without; outputs of another width are projected to its width first.
    """

    def __init__(self, width: int, size: int, tied: nn.Parameter | None = None) -> None:
        super().__init__()
        if tied is None:
            self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(size, width)))
            self.bias = nn.Parameter(torch.zeros(size))
        else:
            self.weight = tied
            self.register_parameter("bias", None)
        table_width = self.weight.shape[1]
        self.projection = None if table_width == width else Linear(width, table_width, bias=False)

    def hidden(self, outputs: Tensor) -> Tensor:
        """Return what the table is multiplied with: (..., D) to (..., E)."""
        if self.projection is None:
            return outputs
        projected: Tensor = self.projection(outputs)
        return projected

    def forward(self, outputs: Tensor) -> Tensor:
        """Return logits (..., V) in the precision of the weights, whatever `compute` says."""
        hidden = self.hidden(outputs).to(self.weight.dtype)
        with torch.autocast(self.weight.device.type, enabled=False):
            return F.linear(hidden, self.weight, self.bias)
