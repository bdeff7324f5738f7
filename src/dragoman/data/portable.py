"""Values written as JSON: whole, to be read back elsewhere, or shown, for people and scripts."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from dragoman.data.audio import read_audio
from dragoman.data.codec import Codec
from dragoman.data.series_text import written
from dragoman.data.speech import SpeechCodec
from dragoman.errors import DataError
from dragoman.records import Recording, Series, Value, text_of

_FULL_SCALE = 32768
"""Sound is kept in 16 bits, as files of 16 bits count: they come back exactly."""


def shown(value: Value) -> object:
    """Return a value as results show it: text as it is, a series as numbers, a recording by its length.

    A window of a named series is shown by its name: its numbers are where they were read.
    """
    match value:
        case str():
            return value
        case Recording():
            return f"recording of {len(value.samples) / value.sample_rate_hz:.2f} seconds"
        case Series(before=before) if before is not None and value.id:
            return value.id
        case Series():
            return json.loads(written(value))


def portable(codec: Codec, value: Value) -> object:
    """Return a value whole, as JSON takes it: sound as its samples at the codec's rate, not as a path."""
    if isinstance(codec, SpeechCodec):
        section = codec.section
        assert isinstance(value, str | Recording), "speech is a path or a recording"
        samples = read_audio(value, section.sample_rate_hz, section.min_seconds, section.max_seconds)
        whole = np.clip(np.round(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
        text = base64.b64encode(whole.tobytes()).decode("ascii")
        return {"sample_rate_hz": section.sample_rate_hz, "samples": text}
    if isinstance(value, Series):
        return {
            "id": value.id,
            "names": list(value.names),
            "values": [[None if np.isnan(cell) else float(cell) for cell in row] for row in value.values],
            "times": None if value.times is None else [str(time) for time in value.times],
            "known_names": list(value.known_names),
            "known_values": None if value.known_values is None else value.known_values.tolist(),
        }
    return text_of(value)


def value_of(content: Any) -> Value:
    """Read what `portable` returned; DataError for anything else."""
    try:
        match content:
            case str():
                return content
            case {"sample_rate_hz": int(rate_hz), "samples": str(text)}:
                whole = np.frombuffer(base64.b64decode(text, validate=True), dtype="<i2")
                return Recording((whole / np.float32(_FULL_SCALE)).astype(np.float32), rate_hz)
            case {"values": list(rows)}:
                times, known = content["times"], content["known_values"]
                return Series(
                    np.array(rows, dtype=np.float64),  # None becomes NaN
                    tuple(map(str, content["names"])),
                    str(content["id"]),
                    None if times is None else np.array(times, dtype="datetime64[s]"),
                    None if known is None else np.array(known, dtype=np.float64),
                    tuple(map(str, content["known_names"])),
                )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a value that was written whole: {error}") from error
    raise DataError(f"not a value that was written whole: {str(content):.60}")
