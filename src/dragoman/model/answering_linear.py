"""Linear maps that kernels of our own compute, for answering on a CPU; here those of float32.

Shapes: X rows, K inputs, N outputs, V vocabulary, D width, Y blocks of outputs.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.heads import VocabularyHead
from dragoman.native import structures
from dragoman.native.structures import BLOCK, Products, answering_kernels, finished


class AnsweringLinear(nn.Module):
    """A linear map as kernels read it: it has no gradient.

    What comes out for a row never depends on the rows beside it.
    """

    products: ClassVar[Products]
    kept: ClassVar[torch.dtype]
    """What keys and values of attention are kept as, beside such maps."""
    inputs: int
    outputs: int

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        self.outputs, self.inputs = weight_NK.shape

    def structure(self) -> structures.Linear:
        """Return what kernels are handed; it leads into the buffers of this map."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Leave addresses of this process behind."""
        return {key: value for key, value in self.__dict__.items() if key != "_structure"}

    def _native(self, x_XK: Tensor) -> Tensor:
        kernels = answering_kernels(self.products)
        assert kernels is not None
        structure = self.__dict__.get("_structure")
        if structure is None:
            structure = self.__dict__["_structure"] = self.structure()
        mapped_XN = torch.empty(len(x_XK), self.outputs)
        finished(
            kernels.linear(byref(structure), x_XK.data_ptr(), len(x_XK), self.inputs, mapped_XN.data_ptr())
        )
        return mapped_XN


class Float32Linear(AnsweringLinear):
    """A linear map of float32, for where there are kernels."""

    products = "float32"
    kept = torch.float32
    packed_YKB: Tensor
    bias_N: Tensor

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None) -> None:
        super().__init__(weight_NK, bias_N)
        filling = -self.outputs % BLOCK
        whole_NK = F.pad(weight_NK.detach().float(), (0, 0, 0, filling))
        bias_N = torch.zeros(self.outputs) if bias_N is None else bias_N.detach().float()
        self.register_buffer("packed_YKB", whole_NK.view(-1, BLOCK, self.inputs).transpose(1, 2).contiguous())
        self.register_buffer("bias_N", F.pad(bias_N, (0, filling)).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., K) to (..., N), float32."""
        x_XK = x.reshape(-1, self.inputs).float().contiguous()
        return self._native(x_XK).view(*x.shape[:-1], -1)

    def structure(self) -> structures.Linear:
        """Return what kernels are handed; it leads into the buffers of this map."""
        pointers = (self.packed_YKB.data_ptr(), None, self.bias_N.data_ptr())
        return structures.Linear(*pointers, self.inputs, self.outputs)


class AnsweringHead(nn.Module):
    """A `VocabularyHead` that scores symbols by such maps."""

    def __init__(self, head: VocabularyHead, linear: type[AnsweringLinear]) -> None:
        super().__init__()
        self.projection = None if head.projection is None else linear(head.projection.weight, None)
        self.table = linear(head.weight, head.bias)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return logits (..., V), float32."""
        scores: Tensor = self.table(outputs if self.projection is None else self.projection(outputs))
        return scores
