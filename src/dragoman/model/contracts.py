"""What encoders, decoders and search promise each other.

Shapes: N sources, K rows (beams) of each source, B = N·K rows, S source steps, T target steps, D width, L
layers.

Three properties hold for every decoder, and one for search; `tests/contracts` runs them over every pair:
outputs do not depend on how the target is cut into chunks; selecting rows commutes with stepping; a
sequence decodes alone as in any batch; a beam of one is greedy, and a beam as wide as the tree finds the
best sequence there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Memory:
    """What any encoder hands to any decoder: one row a source, never repeated for beams.

    `values_NSD` are the encoded steps, `mask_NS` is True where there is something to read, and `summary_ND`
    is the whole source in one vector: the last states of a recurrent encoder (both directions side by
    side), the mean of the real steps of a Transformer. Padding steps of `values_NSD` hold zeros.
    """

    values_NSD: Tensor
    mask_NS: Tensor
    summary_ND: Tensor

    def keep(self, sources: Tensor) -> Memory:
        """Keep the given sources, in the given order; they may repeat."""
        return Memory(
            self.values_NSD.index_select(0, sources),
            self.mask_NS.index_select(0, sources),
            self.summary_ND.index_select(0, sources),
        )


class State(Protocol):
    """What a decoder remembers between steps: a value, never changed in place.

    Rows of one source lie side by side: row n·K + k belongs to source n. What belongs to a source (encoded
    steps, projected keys and values) is held once a source; what belongs to a row (hidden states, past keys
    and values) once a row.
    """

    def select(self, rows_B: Tensor) -> Self:
        """Re-order rows within their sources: row b of the result was row `rows_B[b]`, of the same source.

        Memory is not touched. There may be more or fewer rows than before, as many of each source. -1 is for
        a row that rests: until rows are selected again, nobody looks at what it writes or remembers.
        """
        ...

    def keep(self, sources: Tensor) -> Self:
        """Keep the given sources with all their rows and all that is remembered of them."""
        ...


@dataclass(frozen=True)
class Decoded:
    """Outputs for each target step; `reads_BTS`, attention averaged over heads and layers, on request."""

    outputs_BTD: Tensor
    reads_BTS: Tensor | None = None


class Encoder(nn.Module):
    """Anything that turns embedded source steps into a Memory.

    `width` is the width of what it writes; `input_width` that of what it reads.
    """

    input_width: int
    width: int

    def forward(self, inputs_NSD: Tensor, mask_NS: Tensor) -> Memory:
        """Encode padded inputs; what stands in padding never changes a real step."""
        raise NotImplementedError


class Decoder(nn.Module):
    """Anything that reads a Memory and embedded targets, and writes outputs; see the module's properties.

    `input_width` is the width of embedded targets, `width` that of its outputs.
    """

    input_width: int
    width: int

    def start(self, memory: Memory, beams: int = 1) -> State:
        """Return the state before the first step, with `beams` rows for each source."""
        raise NotImplementedError

    def forward(self, inputs_BTD: Tensor, state: State, reads: bool = False) -> tuple[Decoded, State]:
        """Take any number of steps: the whole target in training, one step in search."""
        raise NotImplementedError


def rows_of(sources: Tensor, beams: int) -> Tensor:
    """Return the rows of the given sources: source n owns rows n·beams to n·beams + beams - 1."""
    steps_K = torch.arange(beams, device=sources.device)
    return (sources[:, None] * beams + steps_K).flatten()
