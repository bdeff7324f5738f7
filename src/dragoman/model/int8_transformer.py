"""Transformers in 8 bits: a whole encoder, or a whole step of a decoder, in one call of a kernel.

Shapes: N sources, K rows (beams) of each source, B = N·K rows, S source steps, R steps of all sources one
after another without padding, T target steps, I input width, D width, W waves of a rotation, L layers.

What rows remember is never copied: each step leaves its keys and values where it wrote them, and a table says
for each row which of them led to it. To re-order rows is to re-order the table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory, State, rows_of
from dragoman.model.int8_linear import Int8Linear
from dragoman.model.positions import LearntPositions, Rotation, rotation
from dragoman.model.transformer import Entry, TransformerDecoder, TransformerEncoder
from dragoman.native import structures
from dragoman.native.structures import finished, int8_kernels

Twin = Callable[[nn.Module], nn.Module]
"""Makes of a part of a model the same part in 8 bits."""
_FEWEST_POSITIONS = 64


class _Norm(nn.Module):
    """What a LayerNorm or RMSNorm has learnt, in float32."""

    gain_D: Tensor
    shift_D: Tensor | None

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        shift_D = cast("Tensor | None", getattr(norm, "bias", None))
        self.register_buffer("gain_D", cast("Tensor", norm.weight).detach().float())
        self.register_buffer("shift_D", None if shift_D is None else shift_D.detach().float())

    def structure(self) -> structures.Norm:
        """Return what kernels are handed."""
        return structures.Norm(
            self.gain_D.data_ptr(), None if self.shift_D is None else self.shift_D.data_ptr()
        )


class _Stack(nn.Module):
    """The layers of an encoder or decoder, in 8 bits, and the structure that leads to them."""

    def __init__(self, whole: TransformerEncoder | TransformerDecoder) -> None:
        super().__init__()
        self.width, layers = whole.width, list(whole.layers)
        first: Any = layers[0]
        self.heads, self.activation = first.hear.heads, first.feed.activation
        self.norm_first = first.around_hear.norm_first
        self.epsilon = first.around_hear.norm.eps
        self.norms = nn.ModuleDict()
        self.maps = nn.ModuleDict()
        for number, layer in enumerate(cast("list[Any]", layers)):
            self._add(number, "hear_norm", layer.around_hear.norm)
            self._add(number, "feed_norm", layer.around_feed.norm)
            self._add(number, "hear", layer.hear.inward)
            self._add(number, "heard", layer.hear.outward)
            self._add(number, "feed", layer.feed.inward)
            self._add(number, "fed", layer.feed.outward)
            if isinstance(whole, TransformerDecoder):
                self._add(number, "read_norm", layer.around_read.norm)
                self._add(number, "query", layer.read.query)
                self._add(number, "read", layer.read.outward)
        self.layers = len(layers)
        self.last = _Norm(whole.norm) if self.norm_first else None

    def structure(self) -> structures.Stack:
        """Return what kernels are handed; made once a process."""
        made: structures.Stack | None = self.__dict__.get("_structure")
        if made is None:
            made = self.__dict__["_structure"] = self._made()
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave addresses of this process behind."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_structure", "_layers")}

    def _add(self, number: int, name: str, part: nn.Module) -> None:
        if isinstance(part, nn.Linear):
            self.maps[f"{number}_{name}"] = Int8Linear(part.weight, part.bias)
        else:
            self.norms[f"{number}_{name}"] = _Norm(part)

    def _made(self) -> structures.Stack:
        layers = (structures.Layer * self.layers)()
        for key, part in self.maps.items():
            number, _, name = key.partition("_")
            setattr(layers[int(number)], name, cast("Int8Linear", part).structure())
        for key, norm in self.norms.items():
            number, _, name = key.partition("_")
            setattr(layers[int(number)], name, cast("_Norm", norm).structure())
        self.__dict__["_layers"] = layers
        inner = cast("Int8Linear", self.maps["0_fed"]).inputs
        activation = structures.ACTIVATIONS.index(self.activation)
        sizes = (self.layers, self.width, self.heads, inner, self.norm_first, activation)
        last = self.last.structure() if self.last else structures.Norm()
        return structures.Stack(*sizes, self.epsilon, layers, last)


class Int8Encoder(Encoder):
    """A `TransformerEncoder` in 8 bits."""

    def __init__(self, encoder: TransformerEncoder, twin: Twin) -> None:
        super().__init__()
        self.input_width, self.width = encoder.input_width, encoder.width
        self.entry = cast("Entry", twin(encoder.entry))
        self.stack = _Stack(encoder)

    def forward(self, inputs_NSD: Tensor, mask_NS: Tensor) -> Memory:
        """Encode padded inputs."""
        kernels = int8_kernels()
        assert kernels is not None
        x_RD = self.entry(inputs_NSD, 0)[mask_NS].float()
        first = np.zeros(len(mask_NS) + 1, dtype=np.int64)
        lengths_N = mask_NS.sum(1)
        np.cumsum(lengths_N.numpy(), out=first[1:])
        turns = self.entry.rotation(x_RD.new_empty(1, inputs_NSD.shape[1], 0), 0)
        read = structures.Read(len(mask_NS), first.ctypes.data, x_RD.data_ptr(), *_addresses(turns))
        finished(kernels.encode(ctypes.byref(self.stack.structure()), ctypes.byref(read)))
        values_NSD = x_RD.new_zeros(*mask_NS.shape, self.width)
        values_NSD[mask_NS] = x_RD
        return Memory(values_NSD, mask_NS, values_NSD.sum(1) / lengths_N[:, None].clamp(min=1))


@dataclass(frozen=True)
class Int8State:
    """What a Transformer decoder in 8 bits remembers.

    Of sources: keys and values (R, 2·D) of each layer, where each source begins there and how long it is. Of
    rows: the blocks (L, rows of then, 2·D) that steps have left, and `slots_BT`, which row of each block led
    to each row of now.
    """

    memory: tuple[Tensor, ...]
    first_N: NDArray[np.int64]
    lengths_N: NDArray[np.int64]
    longest: int
    blocks: tuple[Tensor, ...]
    slots_BT: NDArray[np.int32]
    beams: int
    addresses: NDArray[np.int64]
    """For each block where it lies and how many rows it has, (2, T)."""

    def select(self, rows_B: Tensor) -> Int8State:
        """Re-order rows within their sources."""
        return replace(self, slots_BT=self.slots_BT[rows_B.numpy()])

    def keep(self, sources: Tensor) -> Int8State:
        """Keep the given sources with all their rows."""
        kept = sources.numpy()
        return replace(
            self,
            first_N=self.first_N[kept],
            lengths_N=self.lengths_N[kept],
            slots_BT=self.slots_BT[rows_of(sources, self.beams).numpy()],
        )


class Int8Decoder(Decoder):
    """A `TransformerDecoder` in 8 bits."""

    def __init__(self, decoder: TransformerDecoder, twin: Twin) -> None:
        super().__init__()
        self.input_width, self.width = decoder.input_width, decoder.width
        self.entry = cast("Entry", twin(decoder.entry))
        self.stack = _Stack(decoder)
        layers: list[Any] = list(decoder.layers)
        self.memories = nn.ModuleList(
            Int8Linear(layer.read.memory.weight, layer.read.memory.bias) for layer in layers
        )
        self.tables: dict[str, Tensor] = {}

    def start(self, memory: Memory, beams: int = 1) -> Int8State:
        """Return the state before the first step; projects the memory once for each layer."""
        values_RD, lengths_N = memory.values_NSD[memory.mask_NS], memory.mask_NS.sum(1).numpy()
        return Int8State(
            tuple(_narrowed(project(values_RD)) for project in self.memories),
            np.cumsum(lengths_N) - lengths_N,
            lengths_N,
            memory.mask_NS.shape[1],
            (),
            np.zeros((len(lengths_N) * beams, 0), dtype=np.int32),
            beams,
            np.zeros((2, 0), dtype=np.int64),
        )

    def forward(self, inputs_BTD: Tensor, state: State, reads: bool = False) -> tuple[Decoded, Int8State]:
        """Take any number of steps, one by one."""
        assert isinstance(state, Int8State)
        outputs, looks = [], []
        for x_BI in inputs_BTD.unbind(1):
            x_BD, looked_BS, state = self._step(x_BI, state, reads)
            outputs.append(x_BD)
            looks.append(looked_BS)
        reads_BTS = torch.stack(looks, 1) if reads else None
        return Decoded(torch.stack(outputs, 1), reads_BTS), state

    def _step(self, x_BI: Tensor, state: Int8State, reads: bool) -> tuple[Tensor, Tensor, Int8State]:
        kernels = int8_kernels()
        assert kernels is not None
        rows, number = len(x_BI), len(state.blocks)
        x_BD = self._entered(x_BI, number)
        block = torch.empty(self.stack.layers, rows, 2 * self.width, dtype=torch.float16)
        own = np.array([[block.data_ptr()], [rows]])
        past = np.concatenate([state.addresses, own], axis=1)
        memory = np.array([layer.data_ptr() for layer in state.memory])
        slots_BT = np.ascontiguousarray(state.slots_BT)
        looks_BS = torch.zeros(rows, state.longest) if reads else torch.empty(0)
        step = structures.Step(
            *(rows, state.beams, number, x_BD.data_ptr()),
            *(
                array.ctypes.data
                for array in (past[0], past[1], slots_BT, memory, state.first_N, state.lengths_N)
            ),
            *_addresses(self._turns(number)),
            looks_BS.data_ptr() if reads else None,
            state.longest,
        )
        finished(kernels.take_step(ctypes.byref(self.stack.structure()), ctypes.byref(step)))
        own_B1 = np.arange(rows, dtype=np.int32)[:, None]
        slots_BT = np.concatenate([slots_BT, own_B1], axis=1)
        after = replace(state, blocks=(*state.blocks, block), slots_BT=slots_BT, addresses=past)
        return x_BD, looks_BS, after

    def _entered(self, x_BI: Tensor, step: int) -> Tensor:
        """Do what `Entry` does, with positions from a table; the result is memory of its own."""
        x_BD = (x_BI if self.entry.projection is None else self.entry.projection(x_BI)).float()
        if self.entry.positions is None:
            return x_BD.clone()
        return x_BD + self._table("positions", step, self._positions)[step]

    def _positions(self, steps: int, least: int) -> Tensor:
        positions = self.entry.positions
        assert positions is not None
        if isinstance(positions, LearntPositions):
            steps = max(least, min(steps, len(positions.weight)))
        table_1TD: Tensor = positions(torch.zeros(1, steps, self.width), 0)
        return table_1TD[0].float()

    def _turns(self, step: int) -> Rotation | None:
        if not self.entry.is_rotary:
            return None
        table_TW = self._table("turns", step, self._rotations)
        cosines_W, sines_W = table_TW[step].chunk(2)
        return Rotation(cosines_W, sines_W)

    def _rotations(self, steps: int, least: int) -> Tensor:
        turns = rotation(0, steps, self.entry.head_width, torch.empty(0))
        return torch.cat([turns.cosines_TW, turns.sines_TW], 1)

    def _table(self, name: str, step: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """Return a table with a row for this step at least, made twice as long where it is too short."""
        table = self.tables.get(name)
        if table is None or len(table) <= step:
            table = self.tables[name] = make(max(2 * step, _FEWEST_POSITIONS), step + 1)
        return table


def _narrowed(x_RD: Tensor) -> Tensor:
    """Turn into float16 what fits it, and the rest into its largest."""
    most = torch.finfo(torch.float16).max
    return x_RD.clamp_(-most, most).half()


def _addresses(turns: Rotation | None) -> tuple[int | None, int | None]:
    return (None, None) if turns is None else (turns.cosines_TW.data_ptr(), turns.sines_TW.data_ptr())
