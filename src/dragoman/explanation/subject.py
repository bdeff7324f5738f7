"""What is explained: one source, one answer to it, and where each source step stands in what a person typed.

Shapes: S steps of the source, T target steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.data.batching import padded
from dragoman.data.frames import Encoded, Frames
from dragoman.data.nothing import NothingCodec
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.data.offsets import offsets
from dragoman.data.speech import SpeechCodec
from dragoman.data.text import TextCodec
from dragoman.decoding.decode import decode
from dragoman.errors import UserError
from dragoman.model.ensemble import Ensemble
from dragoman.recipe.decoding import Decoding
from dragoman.recipe.model import NoDecoder
from dragoman.records import EOS, Batch, Example, Sequence, Series, Value, text_of

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


def subject_of(
    bundle: Bundle, example: Example, target: Value | None = None, section: Decoding | None = None
) -> Subject:
    """Prepare the explanation of an answer: `target`, or what the bundle answers in its own way or another.

    A forecast is the point forecast. Raises UserError for what leaves nothing to explain, and for an
    ensemble, DataError for values that cannot be encoded.
    """
    if isinstance(bundle.model, Ensemble) or bundle.others:
        raise UserError("an ensemble is explained member by member: name the folder of one bundle")
    if target is not None and section is not None:
        raise UserError("a target is given, so a way of decoding has no effect; give one of the two")
    if isinstance(example.source, str) and not example.source:
        raise UserError("an empty source gets the empty answer without asking the model: nothing to explain")
    source = bundle.codecs.source.encode(example.source)
    places, notes = _places(bundle, example.source, source)
    written, answer = (
        _decoded(bundle, example, section) if target is None else _given(bundle, example, target)
    )
    return Subject(
        bundle,
        example,
        source,
        places,
        written if isinstance(written, Frames) else tuple(written.tolist()),
        _pieces(bundle, example.source, written, answer),
        answer,
        _batch(bundle, source, written, example.id),
        notes,
    )


def is_alone(bundle: Bundle) -> bool:
    """Say whether CTC answers without a decoder."""
    return isinstance(bundle.recipe.model.decoder, NoDecoder)


# --- the answer


def _given(bundle: Bundle, example: Example, target: Value) -> tuple[Encoded, Value]:
    codec = bundle.codecs.target
    return codec.encode(target, source=example.source), codec.normalise(target)


def _decoded(bundle: Bundle, example: Example, section: Decoding | None) -> tuple[Encoded, Value]:
    (prediction,) = decode(bundle, [example], section)
    answer = prediction.values[0]
    if prediction.forecast is not None:
        values = prediction.forecast.values
        if np.isnan(values).all():
            raise UserError("the model computed numbers that are not finite: nothing to explain")
        return Frames(values), answer
    tokens = prediction.hypotheses[0].tokens
    if not tokens:
        raise UserError("the model wrote nothing: give a target to explain, or another way of decoding")
    return np.array(tokens, np.int32), answer


def _batch(bundle: Bundle, source: Encoded, target: Encoded, name: str) -> Batch:
    """Put both into one row, frames in the type of the model's weights."""
    kind = next(bundle.model.parameters()).dtype

    def typed(side: Encoded) -> Sequence:
        row = padded([side])
        return replace(row, values=row.values.to(kind)) if isinstance(side, Frames) else row

    return Batch(typed(source), typed(target), (name,)).to(bundle.device)


def _pieces(bundle: Bundle, source: Value, target: Encoded, answer: Value) -> tuple[str, ...]:
    if isinstance(target, Frames):
        return tuple(_step_names(_times_of(source, answer), len(target)))
    if is_alone(bundle):
        return (text_of(answer),)
    tokens = target.tolist()
    pieces = bundle.codecs.text.pieces(tokens)
    return tuple(END_LABEL if token == EOS else piece for token, piece in zip(tokens, pieces, strict=True))


def _times_of(source: Value, answer: Value) -> NDArray[np.datetime64] | None:
    """Return the times of a forecast: its own, or those that follow its source."""
    times = answer.times if isinstance(answer, Series) else None
    if times is None and isinstance(source, Series) and source.times is not None:
        times = source.times[len(source.values) :]
    return times


# --- places


def _places(bundle: Bundle, value: Value, source: Encoded) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    frontend = bundle.recipe.model.frontend
    shortening = 1 if frontend is None else frontend.shortening
    match bundle.codecs.source:
        case TextCodec() as codec:
            return _text_places(codec, value, source)
        case SpeechCodec() as codec:
            return _seconds(codec, len(source), shortening), ()
        case NumbersCodec():
            return _steps(series_of(value), shortening), ()
        case NothingCodec():
            raise UserError("a language model reads no source: there is nothing to explain an answer by")


def _text_places(
    codec: TextCodec, value: Value, source: Encoded
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    assert not isinstance(source, Frames), "text becomes tokens"
    text, found = text_of(value), offsets(codec, value)
    pieces = codec.pieces(source.tolist())
    places = [
        Place(text[begin:end] or piece, begin, end, "text")
        for (begin, end), piece in zip(found.spans, pieces[:-1], strict=True)
    ]
    end = len(text)
    note = "the text was normalised before it was read; places are those of the text as it was typed"
    return (*places, Place(END_LABEL, end, end, "text")), () if found.is_exact else (note,)


def _seconds(codec: SpeechCodec, frames: int, shortening: int) -> tuple[Place, ...]:
    """Return the time around the middles of the frames that make a step; the ends reach to the clip's own."""
    half = codec.section.hop_samples / codec.section.sample_rate_hz / 2
    firsts = range(0, frames, shortening)
    edges = [codec.log_mel.seconds_at(first) - half for first in firsts]
    last = (frames - 1) * codec.section.hop_samples + codec.section.window_samples
    edges = [0.0, *edges[1:], last / codec.section.sample_rate_hz]
    return tuple(
        Place(f"{begin:.2f} s", begin, end, "seconds")
        for begin, end in zip(edges[:-1], edges[1:], strict=True)
    )


def _steps(series: Series, shortening: int) -> tuple[Place, ...]:
    steps = len(series.values)
    names = _step_names(series.times, steps)
    return tuple(
        Place(names[first], first, min(first + shortening, steps), "steps")
        for first in range(0, steps, shortening)
    )


def _step_names(times: NDArray[np.datetime64] | None, steps: int) -> list[str]:
    """Name steps by their times, as shortly as all of them allow, or by their numbers from 1."""
    if times is None or len(times) < steps:
        return [str(number) for number in range(1, steps + 1)]
    names = np.datetime_as_string(times[:steps].astype("datetime64[s]")).tolist()
    if all(name.endswith("T00:00:00") for name in names):
        return [name[: len("2021-05-01")] for name in names]
    length = len("2021-05-01T00:00" if all(name.endswith(":00") for name in names) else "2021-05-01T00:00:00")
    return [name[:length].replace("T", " ") for name in names]
