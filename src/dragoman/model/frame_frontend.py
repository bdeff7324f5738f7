"""Frames to vectors of the encoder's width, perhaps in fewer steps.

Shapes: B batch, S steps, F features of a frame, C channels, W values of a window, D width.
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.sublayers import fresh_linear
from dragoman.recipe.model import Frontend


class FrameFrontend(nn.Module):
    """Convolutions that shorten time, then a linear map; without a section the map alone.

    Every step stands for a window of strides, as `Frontend.steps` counts them, and what stands in padding
    never changes it.
    """

    def __init__(self, section: Frontend | None, size: int, width: int) -> None:
        super().__init__()
        self.width = width
        channels = size
        self.convolutions = nn.ModuleList()
        if section is not None:
            for kernel, stride in zip(section.kernels, section.strides, strict=True):
                outputs = section.width or width
                self.convolutions.append(_Convolution(channels, outputs, kernel, stride, section.activation))
                channels = outputs
        self.projection = fresh_linear(channels, width)

    def forward(self, values_BSF: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors (B, S', D) in the type of the frames, zeros in padding, and their mask (B, S')."""
        x_BSC = _without_padding(values_BSF, mask_BS)
        for convolution in cast("list[_Convolution]", list(self.convolutions)):
            # A step is real where its window of strides begins within the sequence.
            mask_BS = mask_BS[:, :: convolution.stride]
            x_BSC = _without_padding(convolution(x_BSC), mask_BS)
        x_BSD = self.projection(x_BSC).to(values_BSF.dtype)
        return _without_padding(x_BSD, mask_BS), mask_BS


class _Convolution(nn.Module):
    """A convolution as a linear map of windows: the product that every part uses, in its precision."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        kernel: int,
        stride: int,
        activation: Literal["none", "relu", "gelu", "glu"],
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.activation = activation
        self.windows = fresh_linear(kernel * channels, outputs, parts=2 if activation == "glu" else 1)

    def forward(self, x_BSC: Tensor) -> Tensor:
        """Write a step for each stride that has begun; its window reaches as far beyond on either side."""
        before = (self.kernel - self.stride) // 2
        steps = -(-x_BSC.shape[1] // self.stride)
        after = (steps - 1) * self.stride + self.kernel - before - x_BSC.shape[1]
        windows_BSCK = F.pad(x_BSC, (0, 0, before, after)).unfold(1, self.kernel, self.stride)
        mapped_BSC: Tensor = self.windows(windows_BSCK.flatten(2))
        match self.activation:
            case "none":
                return mapped_BSC
            case "relu":
                return F.relu(mapped_BSC)
            case "gelu":
                return F.gelu(mapped_BSC)
            case "glu":
                return F.glu(mapped_BSC, -1)


def _without_padding(x_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    return x_BSD.masked_fill(~mask_BS[:, :, None], 0.0)
