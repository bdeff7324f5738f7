"""Transformers for answering on a CPU: an encoder, or a whole step of a decoder, in one call of a kernel.

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

from dragoman.model.answering_linear import AnsweringLinear
from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory, State, rows_of
from dragoman.model.positions import LearntPositions, Rotation, rotation
from dragoman.model.transformer import Entry, TransformerDecoder, TransformerEncoder
from dragoman.native import structures
from dragoman.native.library import address
from dragoman.native.structures import answering_kernels, finished

Twin = Callable[[nn.Module], nn.Module]
"""Makes of a part of a model the same part for answering."""
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
    """The layers of an encoder or decoder, and the structure that leads to them."""

    def __init__(self, whole: TransformerEncoder | TransformerDecoder, linear: type[AnsweringLinear]) -> None:
        super().__init__()
        self.linear = linear
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

    @property
    def kernels(self) -> ctypes.CDLL:
        """What computes such maps."""
        found = answering_kernels(self.linear.products)
        assert found is not None
        return found

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
            self.maps[f"{number}_{name}"] = self.linear(part.weight, part.bias)
        else:
            self.norms[f"{number}_{name}"] = _Norm(part)

    def _made(self) -> structures.Stack:
        layers = (structures.Layer * self.layers)()
        for key, part in self.maps.items():
            number, _, name = key.partition("_")
            setattr(layers[int(number)], name, cast("AnsweringLinear", part).structure())
        for key, norm in self.norms.items():
            number, _, name = key.partition("_")
            setattr(layers[int(number)], name, cast("_Norm", norm).structure())
        self.__dict__["_layers"] = layers
        inner = cast("AnsweringLinear", self.maps["0_fed"]).inputs
        activation = structures.ACTIVATIONS.index(self.activation)
        sizes = (self.layers, self.width, self.heads, inner, self.norm_first, activation)
        last = self.last.structure() if self.last else structures.Norm()
        return structures.Stack(*sizes, self.epsilon, layers, last)


class _Entry(nn.Module):
    """What `Entry` does, with positions from tables that grow as they are asked for."""

    def __init__(self, entry: Entry, width: int) -> None:
        super().__init__()
        self.entry, self.width = entry, width
        self.tables: dict[str, Tensor] = {}

    def enter(self, x: Tensor, first: int, steps: int) -> Tensor:
        """Return the inputs (..., steps, D) of the first layer, in memory of their own."""
        x = (x if self.entry.projection is None else self.entry.projection(x)).float()
        table = self.positions(first + steps)
        return x.clone() if table is None else x + table[first : first + steps]

    def positions(self, steps: int) -> Tensor | None:
        """Return what is added to the inputs of the first steps, (steps or more, D), if anything is."""
        return None if self.entry.positions is None else self._table("positions", steps, self._positions)

    def turns(self, first: int, steps: int) -> Rotation | None:
        """Return what queries and keys of these steps are turned by."""
        if not self.entry.is_rotary:
            return None
        cosines_TW = self._table("cosines", first + steps, self._cosines)
        sines_TW = self._table("sines", first + steps, self._sines)
        return Rotation(cosines_TW[first:], sines_TW[first:])

    def _positions(self, steps: int, least: int) -> Tensor:
        positions = self.entry.positions
        assert positions is not None
        if isinstance(positions, LearntPositions):
            steps = max(least, min(steps, len(positions.weight)))
        table_1TD: Tensor = positions(torch.zeros(1, steps, self.width), 0)
        return table_1TD[0].float()

    def _cosines(self, steps: int, least: int) -> Tensor:
        return rotation(0, steps, self.entry.head_width, torch.empty(0)).cosines_TW

    def _sines(self, steps: int, least: int) -> Tensor:
        return rotation(0, steps, self.entry.head_width, torch.empty(0)).sines_TW

    def _table(self, name: str, least: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """Return a table with so many rows at least, made twice as long where it is too short."""
        table = self.tables.get(name)
        if table is None or len(table) < least:
            table = self.tables[name] = make(max(2 * least, _FEWEST_POSITIONS), least)
        return table


class AnsweringEncoder(Encoder):
    """A `TransformerEncoder` whose linear maps are of one kind that kernels have."""

    def __init__(self, encoder: TransformerEncoder, twin: Twin, linear: type[AnsweringLinear]) -> None:
        super().__init__()
        self.input_width, self.width = encoder.input_width, encoder.width
        self.entry = _Entry(cast("Entry", twin(encoder.entry)), self.width)
        self.stack = _Stack(encoder, linear)

    def forward(self, inputs_NSD: Tensor, mask_NS: Tensor) -> Memory:
        """Encode padded inputs."""
        kernels = self.stack.kernels
        sources, steps = mask_NS.shape
        x_RD = self.entry.enter(inputs_NSD, 0, steps)[mask_NS]
        lengths_N = mask_NS.sum(1)
        first = np.zeros(sources + 1, dtype=np.int64)
        np.cumsum(lengths_N.numpy(), out=first[1:])
        turns = self.entry.turns(0, steps)
        read = structures.Read(sources, first.ctypes.data, x_RD.data_ptr(), *_addresses(turns))
        finished(kernels.encode(ctypes.byref(self.stack.structure()), ctypes.byref(read)))
        values_NSD = x_RD.new_zeros(sources, steps, self.width)
        values_NSD[mask_NS] = x_RD
        return Memory(values_NSD, mask_NS, values_NSD.sum(1) / lengths_N[:, None].clamp(min=1))


@dataclass(frozen=True)
class AnsweringState:
    """What a Transformer decoder remembers while it answers.

    Of sources: keys and values of all layers, as `keep_memory` in `answering.h` lays them out, where those of
    each source begin there and how long it is.
    Of rows: the blocks (L, rows of then, 2·D) that steps have left, with `addresses_2T`, where each lies and
    how many rows it has, and `slots_BT`, which row of each block led to each row of now. Rows that rest are
    not computed: blocks have none of them, and they write zeros.
    """

    memory: Tensor
    spans_2N: NDArray[np.int64]
    longest: int
    blocks: tuple[Tensor, ...]
    addresses_2T: NDArray[np.int64]
    slots_BT: NDArray[np.int32]
    rests_B: NDArray[np.bool_]
    beams: int

    def select(self, rows_B: Tensor) -> AnsweringState:
        """Re-order rows within their sources."""
        rows = rows_B.numpy()
        beams = len(rows) // self.spans_2N.shape[1]
        return self.then(self.blocks, self.addresses_2T, self.slots_BT[rows], rows < 0, beams)

    def then(
        self,
        blocks: tuple[Tensor, ...],
        addresses_2T: NDArray[np.int64],
        slots_BT: NDArray[np.int32],
        rests_B: NDArray[np.bool_],
        beams: int,
    ) -> AnsweringState:
        """Return what is remembered of the same sources later: a call a step, for which `replace` is slow."""
        return AnsweringState(
            *(self.memory, self.spans_2N, self.longest, blocks, addresses_2T, slots_BT, rests_B, beams)
        )

    def keep(self, sources: Tensor) -> AnsweringState:
        """Keep the given sources with all their rows."""
        spans_2N = np.ascontiguousarray(self.spans_2N[:, sources.numpy()])
        rows = rows_of(sources, self.beams).numpy()
        return replace(self, spans_2N=spans_2N, slots_BT=self.slots_BT[rows], rests_B=self.rests_B[rows])


class AnsweringDecoder(Decoder):
    """A `TransformerDecoder` whose linear maps are of one kind that kernels have."""

    def __init__(self, decoder: TransformerDecoder, twin: Twin, linear: type[AnsweringLinear]) -> None:
        super().__init__()
        self.input_width, self.width = decoder.input_width, decoder.width
        self.entry = _Entry(cast("Entry", twin(decoder.entry)), self.width)
        self.stack = _Stack(decoder, linear)
        layers: list[Any] = list(decoder.layers)
        maps = [layer.read.memory for layer in layers]
        self.memory = linear(
            torch.cat([one.weight.detach() for one in maps]), torch.cat([one.bias.detach() for one in maps])
        )

    def start(self, memory: Memory, beams: int = 1) -> AnsweringState:
        """Return the state before the first step; projects the memory for all layers at once."""
        lengths_N = memory.mask_NS.sum(1).numpy()
        kept, spans_2N = self._kept(self.memory(memory.values_NSD[memory.mask_NS]), lengths_N)
        return AnsweringState(
            memory=kept,
            spans_2N=spans_2N,
            longest=memory.mask_NS.shape[1],
            blocks=(),
            addresses_2T=np.zeros((2, 0), dtype=np.int64),
            slots_BT=np.zeros((len(lengths_N) * beams, 0), dtype=np.int32),
            rests_B=np.zeros(len(lengths_N) * beams, dtype=np.bool_),
            beams=beams,
        )

    def forward(
        self, inputs_BTD: Tensor, state: State, reads: bool = False
    ) -> tuple[Decoded, AnsweringState]:
        """Take any number of steps, one by one."""
        assert isinstance(state, AnsweringState)
        if inputs_BTD.shape[1] == 1 and not reads:
            x_B1D, _, state = self._step(inputs_BTD, state, reads)
            return Decoded(x_B1D, None), state
        outputs, looks = [], []
        for x_B1I in (inputs_BTD[:, t : t + 1] for t in range(inputs_BTD.shape[1])):
            x_B1D, looked_BS, state = self._step(x_B1I, state, reads)
            outputs.append(x_B1D)
            looks.append(looked_BS)
        reads_BTS = torch.stack(looks, 1) if reads else None
        return Decoded(torch.cat(outputs, 1), reads_BTS), state

    def _kept(self, projected_RX: Tensor, lengths_N: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        kernels = self.stack.kernels
        layers = self.stack.layers
        numbers_N = -(-lengths_N // structures.LANES) * structures.LANES * layers * 2 * self.width
        spans_2N = np.stack([np.cumsum(numbers_N) - numbers_N, lengths_N])
        kept = torch.empty(int(numbers_N.sum()), dtype=self.stack.linear.kept)
        first, count = spans_2N.ctypes.data, len(lengths_N)
        sizes = (count, first, first + 8 * count, layers, self.width, self.stack.heads)
        kernels.keep_memory(projected_RX.data_ptr(), *sizes, kept.data_ptr())
        return kept, spans_2N

    def _step(
        self, x_B1I: Tensor, state: AnsweringState, reads: bool
    ) -> tuple[Tensor, Tensor, AnsweringState]:
        own_B = np.arange(len(x_B1I))
        if not state.rests_B.any():
            x_B1D, looks_BS, block, past_2T = self._computed(x_B1I, state, own_B, reads)
        else:
            rows = (~state.rests_B).nonzero()[0]
            rows_R = torch.from_numpy(rows)
            x_R1D, looks_RS, block, past_2T = self._computed(x_B1I[rows_R], state, rows, reads)
            x_B1D = x_R1D.new_zeros(len(x_B1I), 1, self.width).index_copy_(0, rows_R, x_R1D)
            looks_BS = looks_RS.new_zeros(len(x_B1I), looks_RS.shape[1]).index_copy_(0, rows_R, looks_RS)
            own_B[rows] = np.arange(len(rows))  # those that rest lead nowhere: any number would do
        slots_BT = np.concatenate([state.slots_BT, own_B[:, None].astype(np.int32)], axis=1)
        blocks = (*state.blocks, block)
        return x_B1D, looks_BS, state.then(blocks, past_2T, slots_BT, state.rests_B, state.beams)

    def _computed(
        self, x_R1I: Tensor, state: AnsweringState, rows: NDArray[np.int64], reads: bool
    ) -> tuple[Tensor, Tensor, Tensor, NDArray[np.int64]]:
        """Take a step with some rows; return outputs, looks, the new block and where all blocks lie."""
        kernels = self.stack.kernels
        count, number = len(rows), len(state.blocks)
        x_R1D = self.entry.enter(x_R1I, number, 1)
        block = torch.empty(self.stack.layers, count, 2 * self.width, dtype=self.stack.linear.kept)
        past_2T = np.concatenate([state.addresses_2T, [[block.data_ptr()], [count]]], axis=1)
        slots_RT, sources_R = np.ascontiguousarray(state.slots_BT[rows]), rows // state.beams
        looks_RS = torch.zeros(count, state.longest if reads else 0)
        past, spans = address(past_2T), address(state.spans_2N)
        step = structures.Step(
            *(count, number, x_R1D.data_ptr()),
            *(past, past + 8 * (number + 1), address(slots_RT), number, address(sources_R)),
            *(state.memory.data_ptr(), spans, spans + 8 * state.spans_2N.shape[1]),
            *_addresses(self.entry.turns(number, 1)),
            looks_RS.data_ptr() if reads else None,
            state.longest,
        )
        finished(kernels.take_step(ctypes.byref(self.stack.structure()), ctypes.byref(step)))
        return x_R1D, looks_RS, block, past_2T


def _addresses(turns: Rotation | None) -> tuple[int | None, int | None]:
    return (None, None) if turns is None else (turns.cosines_TW.data_ptr(), turns.sines_TW.data_ptr())
