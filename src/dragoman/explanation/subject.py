"""What is explained: one source, one answer to it, and where each source step stands in what a person typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dragoman.bundle import Bundle
from dragoman.data.frames import Encoded, Frames
from dragoman.records import Batch, Example, Value

END_LABEL = "</s>"
"""How the end symbol is shown, on either side."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source step stands: `begin` to `end`, excluded.

    `text` counts characters of the source as it was typed, `seconds` those of the clip, `steps` steps of the
    series from 0. `label` is what a person calls it: a piece of the text, "0.35 s", a date. What is written
    by no character, such as the end symbol, has a place of no length.
    """

    label: str
    begin: float
    end: float
    kind: Literal["text", "seconds", "steps"]


@dataclass(frozen=True, eq=False)
class Subject:
    """One source with one answer, ready to be asked why.

    There is one of `places` for each step that attributions tell of: a token, or a step of the encoder where
    a frontend makes one of several frames. `target` is the tokens of the answer, with EOS where it ends, or
    its frames; `pieces` name the target steps. CTC alone is asked of the whole answer: one piece. `batch`
    is both as one row, on the model's device. `notes` say what a reader should know of the places.
    """

    bundle: Bundle
    example: Example
    source: Encoded
    places: tuple[Place, ...]
    target: tuple[int, ...] | Frames
    pieces: tuple[str, ...]
    answer: Value
    batch: Batch
    notes: tuple[str, ...] = ()
