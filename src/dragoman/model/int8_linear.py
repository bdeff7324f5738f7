"""Linear maps whose products are of 8-bit integers.

Shapes: X rows, K inputs, N outputs, Y blocks of outputs.

Weights have a scale for each output, inputs a scale for each row, found when the row comes (dynamic
quantisation, symmetric; see Dettmers et al. 2022). Sums of integers are exact in any order, so what comes out
for a row never depends on the rows beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.answering_linear import AnsweringLinear
from dragoman.native import structures
from dragoman.native.structures import BLOCK, answering_kernels

LARGEST = 127
"""Numbers of a row are scaled so that the largest in size becomes this."""
_TINY = 1e-30


class Int8Linear(AnsweringLinear):
    """A linear map with weights of 8 bits and biases of float32, for answering: it has no gradient.

    It computes with kernels of our own, or with torch's where those cannot be had.
    """

    products = "int8"
    kept = torch.float16
    weight: Tensor
    scale_N: Tensor
    bias_N: Tensor

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None) -> None:
        super().__init__(weight_NK, bias_N)
        weight_NK = weight_NK.detach().float()
        self.is_packed = answering_kernels("int8") is not None
        scale_N1 = _scales(weight_NK)
        steps_NK = (weight_NK / scale_N1).round().to(torch.int8)
        bias_N = torch.zeros(self.outputs) if bias_N is None else bias_N.detach().float()
        filling = -self.outputs % BLOCK if self.is_packed else 0
        # For torch, rows lie side by side in memory, transposed: the order that is fastest for few rows.
        self.register_buffer("weight", _packed(steps_NK) if self.is_packed else steps_NK.t())
        self.register_buffer("scale_N", F.pad(scale_N1[:, 0], (0, filling)).contiguous())
        self.register_buffer("bias_N", F.pad(bias_N, (0, filling)).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., K) to (..., N), float32."""
        x_XK = x.reshape(-1, self.inputs).float()
        mapped_XN = self._native(x_XK.contiguous()) if self.is_packed else self._torch(x_XK)
        return mapped_XN.view(*x.shape[:-1], -1)

    def structure(self) -> structures.Linear:
        """Return what kernels are handed; it leads into the buffers of this map."""
        pointers = [tensor.data_ptr() for tensor in (self.weight, self.scale_N, self.bias_N)]
        return structures.Linear(*pointers, self.weight.shape[1] * 4, self.outputs)

    def _torch(self, x_XK: Tensor) -> Tensor:
        scale_X1 = _scales(x_XK)
        steps_XK = (x_XK / scale_X1).round_().to(torch.int8)
        sums_XN = torch._int_mm(steps_XK, self.weight).float().mul_(scale_X1)
        return torch.addcmul(self.bias_N, sums_XN, self.scale_N, out=sums_XN)


def _packed(steps_NK: Tensor) -> Tensor:
    """Lay weights out as kernels read them: (Y, K/4, 64, 4), each 128 larger, filled up with zeros."""
    outputs, inputs = steps_NK.shape
    whole_NK = F.pad(steps_NK.to(torch.int16) + 128, (0, -inputs % 4, 0, -outputs % BLOCK), value=128)
    parts_YXKF = whole_NK.to(torch.uint8).view(-1, BLOCK, whole_NK.shape[1] // 4, 4)
    return parts_YXKF.transpose(1, 2).contiguous()


def _scales(x_XK: Tensor) -> Tensor:
    """Return what a step of 8 bits is worth in each row, (X, 1)."""
    return x_XK.abs().amax(1, keepdim=True).mul_(1 / LARGEST).clamp_(min=_TINY)
