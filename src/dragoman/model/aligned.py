"""The decoder whose step t reads the encoder's step t: two recurrent networks in a row, no attention.

Shapes: N sources, K rows (beams) of each source, B = N·K rows, S source steps, T target steps, D width,
L layers, C memory width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.errors import DataError
from dragoman.model.contracts import Decoded, Decoder, Memory, State, rows_of
from dragoman.model.kernels import Dropout
from dragoman.model.recurrent_layer import RecurrentLayer
from dragoman.recipe import model as recipe


@dataclass(frozen=True)
class AlignedState:
    """What is still to be read of each source, and of each row the hidden states and cells of each layer."""

    unread_NSC: Tensor
    beams: int
    hidden_BLD: Tensor
    cell_BLD: Tensor | None

    def select(self, rows_B: Tensor) -> AlignedState:
        """Re-order rows within their sources; see `contracts.State`."""
        beams = len(rows_B) // len(self.unread_NSC)
        if beams == self.beams == 1:  # rows never leave their source, so each stays where it is
            return self
        return self._take_rows(self.unread_NSC, rows_B.clamp(min=0), beams)

    def keep(self, sources: Tensor) -> AlignedState:
        """Keep the given sources with all their rows."""
        unread_NSC = self.unread_NSC.index_select(0, sources)
        return self._take_rows(unread_NSC, rows_of(sources, self.beams), self.beams)

    def _take_rows(self, unread_NSC: Tensor, rows: Tensor, beams: int) -> AlignedState:
        cell_BLD = None if self.cell_BLD is None else self.cell_BLD.index_select(0, rows)
        return AlignedState(unread_NSC, beams, self.hidden_BLD.index_select(0, rows), cell_BLD)


class AlignedDecoder(Decoder):
    """An RNN, GRU or LSTM that reads the encoder's outputs step by step, for targets as long as sources.

    The input of its lowest layer at step t is the encoder's output t, with what the step is told of the
    target before it; the states of its highest layer are its outputs. It starts from zeros, and there is no
    other map between encoder and decoder. Beyond the end of the source it reads zeros.
    """

    def __init__(self, section: recipe.RecurrentDecoder, input_width: int, memory_width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = section.width
        widths = [input_width + memory_width] + [section.width] * (section.layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(section.kind, width, section.width) for width in widths)
        self.has_cell = section.kind == "lstm"
        self.dropout = Dropout(section.dropout)

    def start(self, memory: Memory, beams: int = 1) -> AlignedState:
        """Return the state before the first step, with `beams` rows for each source."""
        rows = len(memory.values_NSD) * beams
        hidden_BLD = memory.values_NSD.new_zeros(rows, len(self.layers), self.width)
        return AlignedState(memory.values_NSD, beams, hidden_BLD, hidden_BLD if self.has_cell else None)

    def forward(self, inputs_BTD: Tensor, state: State, reads: bool = False) -> tuple[Decoded, AlignedState]:
        """Take any number of steps; there is no attention that could be returned."""
        assert isinstance(state, AlignedState)
        steps = inputs_BTD.shape[1]
        read_NTC = state.unread_NSC[:, :steps]
        read_NTC = F.pad(read_NTC, (0, 0, 0, steps - read_NTC.shape[1]))
        read_BTC = read_NTC.repeat_interleave(state.beams, dim=0)
        values_BTD = self.dropout(torch.cat([inputs_BTD.to(read_BTC.dtype), read_BTC], -1))
        hidden, cells = [], []
        for index, layer in enumerate(self.layers):
            cell_BD = None if state.cell_BLD is None else state.cell_BLD[:, index]
            read_BTD = values_BTD if index == 0 else self.dropout(values_BTD)
            values_BTD, hidden_BD, cell_BD = layer(read_BTD, state.hidden_BLD[:, index], cell_BD)
            hidden.append(hidden_BD)
            cells += [] if cell_BD is None else [cell_BD]
        after = replace(
            state,
            unread_NSC=state.unread_NSC[:, steps:],
            hidden_BLD=torch.stack(hidden, 1),
            cell_BLD=torch.stack(cells, 1) if cells else None,
        )
        return Decoded(self.dropout(values_BTD)), after


def check_aligned(memory: Memory, lengths_N: Tensor) -> None:
    """Refuse targets that are not as long as what is read of their sources: DataError."""
    read_N = memory.mask_NS.sum(1)
    unequal_N = (read_N != lengths_N).nonzero().flatten()
    if len(unequal_N):
        first = int(unequal_N[0])
        raise DataError(
            f"`model.decoder.attention.kind: aligned` reads one source step for each target step, found "
            f"{int(read_N[first]):,} source and {int(lengths_N[first]):,} target steps; another attention "
            "takes any lengths"
        )
