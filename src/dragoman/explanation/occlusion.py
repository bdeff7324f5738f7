"""What is lost where a part of the source is hidden. Shapes: R spans, T target steps, S source steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.data.text import TextCodec
from dragoman.errors import UserError
from dragoman.explanation.explained import explained, hidden
from dragoman.explanation.subject import Place, Subject
from dragoman.recipe.data import Words
from dragoman.records import text_of

Reals = NDArray[np.float64]
Span = tuple[int, int]


def spans_of(subject: Subject, width: int | Literal["words"]) -> list[Span]:
    """Return what is hidden at once, from a step to another that is excluded.

    Every run of `width` neighbouring steps, or words of a text: what stands between blanks; the end symbol is
    one of its own. UserError for a width that the source does not have.
    """
    steps = len(subject.places)
    if width == "words":
        codec = subject.bundle.codecs.source
        if not isinstance(codec, TextCodec):
            raise UserError("occlusion: `words` is for sources of text; a `width` in steps would do")
        if isinstance(codec.section, Words):  # whatever separates them
            return [(step, step + 1) for step in range(steps)]
        return _words(subject.places, text_of(subject.example.source))
    if not 1 <= width <= steps:
        raise UserError(f"occlusion: expected a `width` from 1 to the source's {steps} steps, found {width}")
    return [(begin, begin + width) for begin in range(steps - width + 1)]


def drops(subject: Subject, spans: Sequence[Span]) -> Reals:
    """Return by how much each target step falls where steps are hidden (T, S).

    A step has the mean over the spans that it is in: of runs of steps, as Zeiler and Fergus (2014) slide
    them.
    """
    steps = len(subject.places)
    is_hidden_RS = np.zeros((len(spans) + 1, steps), bool)  # in the last row nothing is hidden
    for row_S, (begin, end) in zip(is_hidden_RS, spans, strict=False):
        row_S[begin:end] = True
    found_RT = explained(subject, hidden(subject, torch.from_numpy(is_hidden_RS))).cpu().numpy()
    drops_RT = found_RT[-1] - found_RT[:-1]
    covers_RS = is_hidden_RS[:-1].astype(np.float64)
    drops_TS: Reals = drops_RT.T @ covers_RS / covers_RS.sum(0).clip(1)
    return drops_TS


def _words(places: Sequence[Place], text: str) -> list[Span]:
    """Put tokens together that no blank parts; blanks go with the word behind them."""
    begins = [0]
    for number in range(1, len(places)):
        before, place = places[number - 1], places[number]
        is_end = place.begin == place.end == len(text)
        is_text_after_features = place.begin < before.begin
        between = text[int(before.end) : int(place.begin) + 1]
        has_word = bool(text[int(places[begins[-1]].begin) : int(before.end)].strip())
        is_apart = has_word and any(letter.isspace() for letter in between)
        if is_end or is_text_after_features or is_apart:
            begins.append(number)
    return list(zip(begins, [*begins[1:], len(places)], strict=True))
