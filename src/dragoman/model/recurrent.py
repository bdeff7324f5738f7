"""Recurrent encoders and decoders.

Shapes: N sources, K rows (beams) of each source, B = N·K rows, S source steps, T target steps, D width,
L layers, C context width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dragoman.model.attention import Readable, build_attention
from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory, State, rows_of
from dragoman.model.kernels import Dropout, Linear
from dragoman.model.recurrent_layer import RecurrentLayer, reversal, take
from dragoman.recipe import model as recipe


class RecurrentEncoder(Encoder):
    """An Elman RNN, GRU or LSTM over the source, in one direction or both."""

    def __init__(self, section: recipe.RecurrentEncoder, input_width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = section.width
        own_width = section.width // 2 if section.bidirectional else section.width
        widths = [input_width] + [section.width] * (section.layers - 1)
        self.forwards = nn.ModuleList(RecurrentLayer(section.kind, width, own_width) for width in widths)
        # Two layers of one direction and a reversal that knows lengths, rather than torch's own of two:
        # these need packing to ignore padding, and cannot be exported with a free number of steps.
        self.backwards = nn.ModuleList(
            RecurrentLayer(section.kind, width, own_width) for width in widths if section.bidirectional
        )
        self.dropout = Dropout(section.dropout)

    def forward(self, inputs_NSD: Tensor, mask_NS: Tensor) -> Memory:
        """Encode padded inputs; the summary is the last state of each direction, side by side."""
        reversal_NS = reversal(mask_NS)
        values_NSD = inputs_NSD
        for layer, ahead in enumerate(self.forwards):
            read_NSD = self.dropout(values_NSD)
            outputs_NSD, _, _ = ahead(read_NSD)
            if self.backwards:
                turned_NSD, _, _ = self.backwards[layer](take(read_NSD, reversal_NS))
                outputs_NSD = torch.cat([outputs_NSD, take(turned_NSD, reversal_NS)], -1)
            values_NSD = outputs_NSD.masked_fill(~mask_NS[:, :, None], 0.0)
        return Memory(values_NSD, mask_NS, self._summary(values_NSD, mask_NS))

    def _summary(self, values_NSD: Tensor, mask_NS: Tensor) -> Tensor:
        lasts_N1 = (mask_NS.sum(1, keepdim=True) - 1).clamp(min=0)
        last_ND = take(values_NSD, lasts_N1)[:, 0]
        if not self.backwards:
            return last_ND
        own_width = self.width // 2
        return torch.cat([last_ND[:, :own_width], values_NSD[:, 0, own_width:]], -1)


@dataclass(frozen=True)
class RecurrentState:
    """What a recurrent decoder remembers.

    Once a source: the memory made ready for reading. Once a row: hidden states and, of an LSTM, cells of each
    layer; with input feeding what the step before wrote; with location attention where it looked.
    """

    readable: Readable
    beams: int
    hidden_BLD: Tensor
    cell_BLD: Tensor | None
    fed_BD: Tensor | None
    previous_BS: Tensor | None

    def select(self, rows_B: Tensor) -> RecurrentState:
        """Re-order rows within their sources; see `contracts.State`."""
        beams = len(rows_B) // len(self.readable.mask_NS)
        if beams == self.beams == 1:  # Rows never leave their source, so each stays where it is.
            return self
        return self._take_rows(self.readable, rows_B.clamp(min=0), beams)

    def keep(self, sources: Tensor) -> RecurrentState:
        """Keep the given sources with all their rows."""
        return self._take_rows(self.readable.keep(sources), rows_of(sources, self.beams), self.beams)

    def _take_rows(self, readable: Readable, rows: Tensor, beams: int) -> RecurrentState:
        return RecurrentState(
            readable,
            beams,
            self.hidden_BLD.index_select(0, rows),
            None if self.cell_BLD is None else self.cell_BLD.index_select(0, rows),
            None if self.fed_BD is None else self.fed_BD.index_select(0, rows),
            None if self.previous_BS is None else self.previous_BS.index_select(0, rows),
        )


class RecurrentDecoder(Decoder):
    """An Elman RNN, GRU or LSTM over the target, with or without attention, in Luong et al.'s order (2015).

    A step updates the recurrent layers, queries the memory with the highest one, and writes
    tanh(W [context; hidden]). The layers start from tanh(W summary). Without attention the summary is the
    context of every step and is also read beside every input (Cho et al. 2014). Steps are taken all at once
    unless each needs the one before: everything with input feeding, reading with location attention.
    """

    def __init__(self, section: recipe.RecurrentDecoder, input_width: int, memory_width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = section.width
        self.has_input_feeding = section.input_feeding
        self.has_fixed_context = isinstance(section.attention, recipe.NoAttention)
        self.attention = build_attention(section.attention, section.width, memory_width)
        fed_width = section.width if section.input_feeding else memory_width if self.has_fixed_context else 0
        widths = [input_width + fed_width] + [section.width] * (section.layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(section.kind, width, section.width) for width in widths)
        self.hidden_bridge = Linear(memory_width, section.layers * section.width)
        self.cell_bridge = (
            Linear(memory_width, section.layers * section.width) if section.kind == "lstm" else None
        )
        self.output = Linear(self.attention.context_width + section.width, section.width)
        self.dropout = Dropout(section.dropout)

    def start(self, memory: Memory, beams: int = 1) -> RecurrentState:
        """Return the state before the first step, with `beams` rows for each source."""
        hidden_BLD = self._bridge(self.hidden_bridge, memory, beams)
        cell_BLD = None if self.cell_bridge is None else self._bridge(self.cell_bridge, memory, beams)
        rows, steps = len(hidden_BLD), memory.mask_NS.shape[1]
        return RecurrentState(
            self.attention.prepare(memory),
            beams,
            hidden_BLD,
            cell_BLD,
            hidden_BLD.new_zeros(rows, self.width) if self.has_input_feeding else None,
            hidden_BLD.new_zeros(rows, steps) if self.attention.is_recurrent else None,
        )

    def forward(
        self, inputs_BTD: Tensor, state: State, reads: bool = False
    ) -> tuple[Decoded, RecurrentState]:
        """Take any number of steps."""
        assert isinstance(state, RecurrentState)
        take_steps = self._feed if self.has_input_feeding else self._recur_then_write
        outputs_BTD, weights_BTS, state = take_steps(self.dropout(inputs_BTD), state)
        return Decoded(self.dropout(outputs_BTD), weights_BTS if reads else None), state

    def _feed(
        self, inputs_BTD: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor | None, RecurrentState]:
        """Take steps one by one, each reading what the step before wrote (Luong et al. 2015, section 3.3)."""
        outputs, reads = [], []
        for input_B1D in _single_steps(inputs_BTD):
            assert state.fed_BD is not None
            fed_B1D = state.fed_BD[:, None].to(input_B1D.dtype)
            hidden_B1D, state = self._recur(torch.cat([input_B1D, fed_B1D], -1), state)
            output_B1D, weights_B1S, state = self._write(hidden_B1D, state)
            state = replace(state, fed_BD=output_B1D[:, 0])
            outputs.append(output_B1D)
            reads.append(weights_B1S)
        return torch.cat(outputs, 1), _joined(reads), state

    def _recur_then_write(
        self, inputs_BTD: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor | None, RecurrentState]:
        """Update the layers over all steps, then read and write all steps."""
        if self.has_fixed_context:
            contexts_BTC, _ = self._attend(inputs_BTD, state)
            inputs_BTD = torch.cat([inputs_BTD, contexts_BTC.to(inputs_BTD.dtype)], -1)
        hidden_BTD, state = self._recur(inputs_BTD, state)
        return self._write(hidden_BTD, state)

    def _recur(self, inputs_BTD: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Update the layers; return the states of the highest at every step."""
        hidden, cells, values_BTD = [], [], inputs_BTD
        for index, layer in enumerate(self.layers):
            read_BTD = values_BTD if index == 0 else self.dropout(values_BTD)
            cell_BD = None if state.cell_BLD is None else state.cell_BLD[:, index]
            values_BTD, hidden_BD, cell_BD = layer(read_BTD, state.hidden_BLD[:, index], cell_BD)
            hidden.append(hidden_BD)
            cells.append(cell_BD)
        return values_BTD, replace(state, hidden_BLD=torch.stack(hidden, 1), cell_BLD=_stacked(cells))

    def _write(
        self, hidden_BTD: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor | None, RecurrentState]:
        """Query the memory with every state and return tanh(W [context; hidden])."""
        contexts, reads = [], []
        # Where each reading sees the one before it, steps are read one by one.
        for queries_BXD in _single_steps(hidden_BTD) if self.attention.is_recurrent else [hidden_BTD]:
            contexts_BXC, weights_BXS = self._attend(queries_BXD, state)
            if self.attention.is_recurrent:
                assert weights_BXS is not None
                state = replace(state, previous_BS=weights_BXS[:, 0])
            contexts.append(contexts_BXC)
            reads.append(weights_BXS)
        contexts_BTC = torch.cat(contexts, 1).to(hidden_BTD.dtype)
        outputs_BTD = self.output(torch.cat([contexts_BTC, hidden_BTD], -1)).tanh()
        return outputs_BTD, _joined(reads), state

    def _attend(self, queries_BXD: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor | None]:
        """Read the memory of each source for all its rows and steps in one product."""
        rows, steps, width = queries_BXD.shape
        sources, beams = rows // state.beams, state.beams
        queries_NQD = queries_BXD.reshape(sources, beams * steps, width)
        previous_BS = state.previous_BS
        previous_NQS = None if previous_BS is None else previous_BS.reshape(sources, beams, -1)
        contexts_NQC, weights_NQS = self.attention(queries_NQD, state.readable, previous_NQS)
        contexts_BXC = contexts_NQC.reshape(rows, steps, -1)
        return contexts_BXC, None if weights_NQS is None else weights_NQS.reshape(rows, steps, -1)

    def _bridge(self, bridge: nn.Module, memory: Memory, beams: int) -> Tensor:
        states: Tensor = bridge(memory.summary_ND).tanh()
        states_NLD = states.reshape(len(states), len(self.layers), self.width)
        return states_NLD.repeat_interleave(beams, dim=0)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known, 1) if known else None


def _stacked(cells: list[Tensor | None]) -> Tensor | None:
    known = [cell for cell in cells if cell is not None]
    return torch.stack(known, 1) if known else None


def _single_steps(values_BTD: Tensor) -> list[Tensor]:
    return [values_BTD[:, step : step + 1] for step in range(values_BTD.shape[1])]
