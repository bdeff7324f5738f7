"""Conformer encoder (Gulati et al. 2020): a Transformer's layers with convolutions over neighbouring steps.

Shapes: N sources, S source steps, D width, G width inside the feed-forward blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.contracts import Encoder, Memory
from dragoman.model.kernels import Dropout
from dragoman.model.positions import Rotation
from dragoman.model.sublayers import Residual, SelfAttention, fresh_linear, norm_of
from dragoman.model.transformer import Entry
from dragoman.recipe import model as recipe


class ConformerEncoder(Encoder):
    """A stack of Conformer layers; its summary is the mean of the real steps."""

    def __init__(self, section: recipe.ConformerEncoder, input_width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = section.width
        self.entry = Entry(_transformer(section), input_width, "encoder")
        self.layers = nn.ModuleList(_ConformerLayer(section) for _ in range(section.layers))

    def forward(self, inputs_NSD: Tensor, mask_NS: Tensor) -> Memory:
        """Encode padded inputs."""
        x_NSD, turns = self.entry(inputs_NSD, 0), self.entry.rotation(inputs_NSD, 0)
        for layer in self.layers:
            x_NSD = layer(x_NSD, mask_NS, turns)
        values_NSD = x_NSD.masked_fill(~mask_NS[:, :, None], 0.0)
        real_steps_N1 = mask_NS.sum(1, keepdim=True).clamp(min=1)
        return Memory(values_NSD, mask_NS, values_NSD.sum(1) / real_steps_N1)


class _ConformerLayer(nn.Module):
    """Half a feed-forward block, attention, convolution, the other half, and a norm."""

    def __init__(self, section: recipe.ConformerEncoder) -> None:
        super().__init__()
        shared = _transformer(section)
        self.feed, self.around_feed = _FeedForward(section), Residual(shared)
        self.hear, self.around_hear = SelfAttention(shared), Residual(shared)
        self.convolve, self.around_convolve = _Convolution(section), Residual(shared)
        self.feed_again, self.around_feed_again = _FeedForward(section), Residual(shared)
        self.norm = norm_of(shared)

    def forward(self, x_NSD: Tensor, mask_NS: Tensor, turns: Rotation | None) -> Tensor:
        fed_NSD = self.feed(self.around_feed.before(x_NSD))
        x_NSD = self.around_feed.after(x_NSD, fed_NSD / 2)
        heard_NSD, _ = self.hear(self.around_hear.before(x_NSD), mask_NS[:, None, None, :], rotation=turns)
        x_NSD = self.around_hear.after(x_NSD, heard_NSD)
        convolved_NSD = self.convolve(self.around_convolve.before(x_NSD), mask_NS)
        x_NSD = self.around_convolve.after(x_NSD, convolved_NSD)
        fed_NSD = self.feed_again(self.around_feed_again.before(x_NSD))
        normed_NSD: Tensor = self.norm(self.around_feed_again.after(x_NSD, fed_NSD / 2))
        return normed_NSD


class _FeedForward(nn.Module):
    """Two linear maps with a swish between them (Ramachandran et al. 2017)."""

    def __init__(self, section: recipe.ConformerEncoder) -> None:
        super().__init__()
        self.inward = fresh_linear(section.width, section.feedforward_width)
        self.dropout = Dropout(section.feedforward_dropout)
        self.outward = fresh_linear(section.feedforward_width, section.width)

    def forward(self, x_NSD: Tensor) -> Tensor:
        inner_NSG = self.dropout(F.silu(self.inward(x_NSD)))
        written_NSD: Tensor = self.outward(inner_NSG)
        return written_NSD


class _Convolution(nn.Module):
    """A gate, a convolution of each channel by itself, a norm and a swish between two linear maps.

    The norm in the middle is a LayerNorm where the paper has a BatchNorm: that one would make a sequence
    depend on those beside it in training and on how much padding there is, and its statistics fit no average
    of weights.
    """

    def __init__(self, section: recipe.ConformerEncoder) -> None:
        super().__init__()
        self.inward = fresh_linear(section.width, section.width, parts=2)
        self.depthwise = nn.Conv1d(
            section.width,
            section.width,
            section.kernel_width,
            padding=section.kernel_width // 2,
            groups=section.width,
        )
        self.norm = norm_of(_transformer(section))
        self.outward = fresh_linear(section.width, section.width)

    def forward(self, x_NSD: Tensor, mask_NS: Tensor) -> Tensor:
        gated_NSD = F.glu(self.inward(x_NSD), -1).masked_fill(~mask_NS[:, :, None], 0.0)
        # In the precision of the weights: it is a small share of the work, and its sums lose digits in bf16.
        with torch.autocast(x_NSD.device.type, enabled=False):
            channels_NDS = gated_NSD.to(self.depthwise.weight.dtype).transpose(1, 2)
            mixed_NSD = self.depthwise(channels_NDS).transpose(1, 2)
        written_NSD: Tensor = self.outward(F.silu(self.norm(mixed_NSD)))
        return written_NSD


def _transformer(section: recipe.ConformerEncoder) -> recipe.Transformer:
    """Say what a Conformer shares with Transformers as they say it: its norms stand before sublayers."""
    return recipe.Transformer(
        kind="transformer",
        width=section.width,
        heads=section.heads,
        positions=section.positions,
        dropout=section.dropout,
        attention_dropout=section.attention_dropout,
        norm="layer",
        norm_position="pre",
    )
