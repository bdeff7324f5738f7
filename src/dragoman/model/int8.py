"""Models whose matrix products are of 8-bit integers: smaller and faster to answer with, not trainable.

Shapes: X rows, K inputs, N outputs, V vocabulary, D width.

Weights have a scale for each output, inputs a scale for each row, found when the row comes (dynamic
quantisation, symmetric; see Dettmers et al. 2022). Sums of integers are exact in any order, so what comes out
for a row never depends on the rows beside it.
"""

from __future__ import annotations

import copy
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dragoman.model.heads import VocabularyHead
from dragoman.model.seq2seq import Seq2Seq

LARGEST = 127
"""Numbers of a row are scaled so that the largest in size becomes this."""
SMALLEST_PRODUCT = 4096
"""Maps with fewer weights stay as they are: around them, scaling costs more than the product."""
_TINY = 1e-30


class Int8Linear(nn.Module):
    """A linear map with weights of 8 bits and biases of float32, for answering: it has no gradient."""

    weight_KN: Tensor
    scale_N: Tensor
    bias_N: Tensor

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        weight_NK = weight_NK.detach().float()
        scale_N = _scales(weight_NK)
        # Rows of the product lie side by side in memory, transposed: the order that is fastest for few rows.
        self.register_buffer("weight_KN", (weight_NK / scale_N).round().to(torch.int8).t())
        self.register_buffer("scale_N", scale_N[:, 0].clone())
        zeros_N = torch.zeros(len(weight_NK), device=weight_NK.device)
        self.register_buffer("bias_N", zeros_N if bias_N is None else bias_N.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., K) to (..., N), float32."""
        x_XK = x.reshape(-1, x.shape[-1]).float()
        scale_X1 = _scales(x_XK)
        steps_XK = (x_XK / scale_X1).round_().to(torch.int8)
        sums_XN = torch._int_mm(steps_XK, self.weight_KN).float().mul_(scale_X1)
        torch.addcmul(self.bias_N, sums_XN, self.scale_N, out=sums_XN)
        return sums_XN.view(*x.shape[:-1], -1)


class Int8Head(nn.Module):
    """A `VocabularyHead` that scores symbols by products of 8 bits."""

    def __init__(self, head: VocabularyHead) -> None:
        super().__init__()
        self.projection = None if head.projection is None else Int8Linear(head.projection.weight, None)
        self.table = Int8Linear(head.weight, head.bias)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return logits (..., V), float32."""
        scores: Tensor = self.table(outputs if self.projection is None else self.projection(outputs))
        return scores


def in_int8(model: Seq2Seq) -> Seq2Seq:
    """Return a model for answering on a CPU that shares everything with this one but large linear maps.

    Recurrences stay as they are. It is in eval mode. Asked again, it is the same one until a weight changes.
    """
    weights = tuple((weight.data_ptr(), weight._version) for weight in model.parameters())
    before = _made.get(model)
    if before is None or before[0] != weights:
        before = _made[model] = (weights, cast("Seq2Seq", _twin(model).eval()))
    return before[1]


_made: WeakKeyDictionary[Seq2Seq, tuple[tuple[tuple[int, int], ...], Seq2Seq]] = WeakKeyDictionary()
"""By models: where their weights lay and how often each had changed, and what was made of them."""


def _twin(module: nn.Module) -> nn.Module:
    if isinstance(module, VocabularyHead):
        return Int8Head(module)
    if isinstance(module, nn.Linear) and module.weight.numel() >= SMALLEST_PRODUCT:
        return Int8Linear(module.weight, module.bias)
    twin = copy.copy(module)
    twin._modules = {name: child and _twin(child) for name, child in module._modules.items()}
    return twin


def _scales(x_XK: Tensor) -> Tensor:
    """Return what a step of 8 bits is worth in each row, (X, 1)."""
    return x_XK.abs().amax(1, keepdim=True).mul_(1 / LARGEST).clamp_(min=_TINY)
