"""Transformer encoder and decoder (Vaswani et al. 2017).

Shapes: N sources, K rows (beams) of each source, B = N·K rows, S source steps, T target steps, I input width,
D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory, State, rows_of
from dragoman.model.kernels import Dropout
from dragoman.model.positions import LearntPositions, Rotation, SinusoidalPositions, rotation
from dragoman.model.sublayers import (
    CrossAttention,
    FeedForward,
    KeysValues,
    Residual,
    SelfAttention,
    fresh_linear,
    norm_of,
)
from dragoman.recipe import model as recipe

DEFAULT_MAX_POSITIONS = 1024
"""Steps that learnt positions hold where the recipe does not say."""


class TransformerEncoder(Encoder):
    """A stack of self-attention and feed-forward layers; its summary is the mean of the real steps."""

    def __init__(self, section: recipe.TransformerEncoder, input_width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = section.width
        self.entry = Entry(section, input_width, "encoder")
        self.layers = nn.ModuleList(_EncoderLayer(section) for _ in range(section.layers))
        self.norm = norm_of(section) if section.norm_position == "pre" else nn.Identity()

    def forward(self, inputs_NSD: Tensor, mask_NS: Tensor) -> Memory:
        """Encode padded inputs."""
        x_NSD, turns = self.entry(inputs_NSD, 0), self.entry.rotation(inputs_NSD, 0)
        for layer in self.layers:
            x_NSD = layer(x_NSD, mask_NS[:, None, None, :], turns)
        values_NSD = self.norm(x_NSD).masked_fill(~mask_NS[:, :, None], 0.0)
        real_steps_N1 = mask_NS.sum(1, keepdim=True).clamp(min=1)
        return Memory(values_NSD, mask_NS, values_NSD.sum(1) / real_steps_N1)


@dataclass(frozen=True)
class TransformerState:
    """What a Transformer decoder remembers.

    Once a source: for each layer keys and values of the memory, and its mask. Once a row: for each layer keys
    and values of the `steps` before, none at the start.
    """

    memory: tuple[KeysValues, ...]
    mask_NS: Tensor
    past: tuple[KeysValues, ...]
    steps: int
    beams: int

    def select(self, rows_B: Tensor) -> TransformerState:
        """Re-order rows within their sources; costs nothing where every row stays."""
        beams = len(rows_B) // len(self.mask_NS)
        if beams == self.beams and (
            beams == 1 or torch.equal(rows_B, torch.arange(len(rows_B), device=rows_B.device))
        ):
            return self
        return replace(self, past=tuple(layer.take(rows_B.clamp(min=0)) for layer in self.past), beams=beams)

    def keep(self, sources: Tensor) -> TransformerState:
        """Keep the given sources with all their rows."""
        rows_B = rows_of(sources, self.beams)
        return replace(
            self,
            memory=tuple(layer.take(sources) for layer in self.memory),
            mask_NS=self.mask_NS.index_select(0, sources),
            past=tuple(layer.take(rows_B) for layer in self.past),
        )


class TransformerDecoder(Decoder):
    """A stack of causal self-attention, cross-attention and feed-forward layers."""

    def __init__(self, section: recipe.TransformerDecoder, input_width: int, memory_width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = section.width
        self.entry = Entry(section, input_width, "decoder")
        self.layers = nn.ModuleList(_DecoderLayer(section, memory_width) for _ in range(section.layers))
        self.norm = norm_of(section) if section.norm_position == "pre" else nn.Identity()

    def start(self, memory: Memory, beams: int = 1) -> TransformerState:
        """Return the state before the first step; projects the memory once for each layer."""
        prepared = tuple(layer.read.prepare(memory.values_NSD) for layer in self._layers())
        return TransformerState(prepared, memory.mask_NS, past=(), steps=0, beams=beams)

    def forward(
        self, inputs_BTD: Tensor, state: State, reads: bool = False
    ) -> tuple[Decoded, TransformerState]:
        """Take any number of steps."""
        assert isinstance(state, TransformerState)
        x_BTD, turns = self.entry(inputs_BTD, state.steps), self.entry.rotation(inputs_BTD, state.steps)
        past, looks = [], []
        for number, layer in enumerate(self._layers()):
            before = state.past[number] if state.past else None
            x_BTD, seen, looked_BTS = layer(x_BTD, before, state.memory[number], state.mask_NS, turns, reads)
            past.append(seen)
            looks.append(looked_BTS)
        reads_BTS = torch.stack(looks).mean(0) if reads else None
        after = replace(state, past=tuple(past), steps=state.steps + inputs_BTD.shape[1])
        return Decoded(self.norm(x_BTD), reads_BTS), after

    def _layers(self) -> list[_DecoderLayer]:
        return cast("list[_DecoderLayer]", list(self.layers))


class Entry(nn.Module):
    """What happens to inputs before the first layer: projection where widths differ, positions, dropout."""

    def __init__(
        self, section: recipe.Transformer, input_width: int, side: Literal["encoder", "decoder"]
    ) -> None:
        super().__init__()
        self.head_width = section.width // section.heads
        self.is_rotary = section.positions == "rotary"
        self.projection = None if input_width == section.width else fresh_linear(input_width, section.width)
        self.positions = _positions(section, f"model.{side}")
        self.dropout = Dropout(section.dropout)

    def forward(self, inputs_BTI: Tensor, first: int) -> Tensor:
        """Return the inputs of the first layer, whose steps stand at `first`, `first` + 1, ..."""
        x_BTD = inputs_BTI
        if self.projection is not None:
            x_BTD = self.projection(inputs_BTI).to(inputs_BTI.dtype)
        if self.positions is not None:
            x_BTD = self.positions(x_BTD, first)
        entered_BTD: Tensor = self.dropout(x_BTD)
        return entered_BTD

    def rotation(self, inputs_BTI: Tensor, first: int) -> Rotation | None:
        """Return what rotary positions turn queries and keys by."""
        return rotation(first, inputs_BTI.shape[1], self.head_width, inputs_BTI) if self.is_rotary else None


def _positions(section: recipe.Transformer, owner: str) -> SinusoidalPositions | LearntPositions | None:
    match section.positions:
        case "sinusoidal":
            return SinusoidalPositions()
        case "learnt":
            return LearntPositions(section.width, section.max_positions or DEFAULT_MAX_POSITIONS, owner)
        case "rotary":
            return None


class _EncoderLayer(nn.Module):
    def __init__(self, section: recipe.Transformer) -> None:
        super().__init__()
        self.hear, self.around_hear = SelfAttention(section), Residual(section)
        self.feed, self.around_feed = FeedForward(section), Residual(section)

    def forward(self, x_BTD: Tensor, mask: Tensor, turns: Rotation | None) -> Tensor:
        heard_BTD, _ = self.hear(self.around_hear.before(x_BTD), mask, rotation=turns)
        x_BTD = self.around_hear.after(x_BTD, heard_BTD)
        return self.around_feed.after(x_BTD, self.feed(self.around_feed.before(x_BTD)))


class _Step(NamedTuple):
    """What a decoder layer returns."""

    outputs_BTD: Tensor
    seen: KeysValues
    looked_BTS: Tensor | None


class _DecoderLayer(nn.Module):
    def __init__(self, section: recipe.Transformer, memory_width: int) -> None:
        super().__init__()
        self.hear, self.around_hear = SelfAttention(section), Residual(section)
        self.read, self.around_read = CrossAttention(section, memory_width), Residual(section)
        self.feed, self.around_feed = FeedForward(section), Residual(section)

    def forward(
        self,
        x_BTD: Tensor,
        past: KeysValues | None,
        memory: KeysValues,
        mask_NS: Tensor,
        turns: Rotation | None,
        reads: bool,
    ) -> _Step:
        heard_BTD, seen = self.hear(self.around_hear.before(x_BTD), None, past, turns, causal=True)
        x_BTD = self.around_hear.after(x_BTD, heard_BTD)
        read_BTD, looked_BTS = self.read(self.around_read.before(x_BTD), memory, mask_NS, reads)
        x_BTD = self.around_read.after(x_BTD, read_BTD)
        x_BTD = self.around_feed.after(x_BTD, self.feed(self.around_feed.before(x_BTD)))
        return _Step(x_BTD, seen, looked_BTS)
