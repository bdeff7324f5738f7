"""What training and test data are made of: how many, how long, how often the same, what the codecs know."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dragoman.data.audio import seconds_of
from dragoman.data.codec import Codec, Codecs
from dragoman.data.frames import Frames
from dragoman.data.lines import read_lines
from dragoman.data.number_codec import series_of
from dragoman.data.speech import SpeechCodec
from dragoman.data.text import TextCodec
from dragoman.errors import DataError
from dragoman.evaluation.words import Cut, cut_of
from dragoman.records import UNKNOWN, Example, Recording, Value

MEASURED = 5000
"""Examples whose lengths are measured, drawn evenly; of long corpora more would take minutes."""


@dataclass(frozen=True)
class TrainingFacts:
    """Examples that were trained on; `repeated_pairs` of them came before, as did `repeated_sources`.

    Lengths are those of up to MEASURED examples. Words are counted on sides that are text, the first target
    of each example.
    """

    examples: int
    repeated_pairs: int
    repeated_sources: int
    source_lengths: tuple[float, ...]
    target_lengths: tuple[float, ...]
    source_words: Mapping[str, int]
    target_words: Mapping[str, int]


@dataclass(frozen=True)
class Coverage:
    """How much of a side's text the training knows.

    `unknown` of the `tokens` have no symbol in the vocabulary; `unseen` of the `words` never stood in the
    training data (None where these are not at hand), `examples` of them most frequent first.
    """

    vocabulary: int
    tokens: int
    unknown: int
    words: int
    unseen: int | None
    examples: tuple[str, ...]


def training_facts(examples: Iterable[Example], codecs: Codecs) -> TrainingFacts:
    """Count training examples, streamed once; hashes and words are held in memory, no texts but a sample."""
    draw = random.Random(0)
    sample: list[Example] = []
    pairs, sources = set[int](), set[int]()
    words = Counter[str](), Counter[str]()
    cuts = _cut(codecs.source), _cut(codecs.target)
    count = 0
    for count, example in enumerate(examples, 1):
        pairs.add(hash((example.source, example.targets)))
        sources.add(hash(example.source))
        for cut, counter, value in zip(cuts, words, (example.source, *example.targets[:1]), strict=False):
            if cut is not None and isinstance(value, str):
                counter.update(cut(value))
        place = count - 1 if count <= MEASURED else draw.randrange(count)
        if place < MEASURED:
            sample[place : place + 1] = [example]
    return TrainingFacts(
        count,
        count - len(pairs),
        count - len(sources),
        lengths(codecs.source, [one.source for one in sample]),
        lengths(codecs.target, [value for one in sample for value in one.targets[:1]]),
        *words,
    )


def lengths(codec: Codec, values: Iterable[Value]) -> tuple[float, ...]:
    """Return how long values are, in `unit_of` the codec; those that it cannot take are left out."""
    found = []
    for value in values:
        try:
            found.append(length_of(codec, value))
        except DataError:
            continue
    return tuple(found)


def length_of(codec: Codec, value: Value) -> float:
    """Return the tokens of a text without its end, the seconds of a recording, the steps of a series."""
    match codec:
        case TextCodec():
            return len(codec.encode(value)) - 1
        case SpeechCodec() if isinstance(value, Recording):
            return len(value.samples) / value.sample_rate_hz
        case SpeechCodec():
            return seconds_of(str(value))
        case _:
            return len(series_of(value).values)


def unit_of(codec: Codec) -> str:
    """Name what `length_of` counts."""
    match codec:
        case TextCodec():
            return "tokens"
        case SpeechCodec():
            return "seconds"
        case _:
            return "steps"


def coverage(
    codec: Codec, values: Sequence[Value], trained: Mapping[str, int] | None, most: int = 12
) -> Coverage | None:
    """Say how much of some texts a codec and the training words know; None for what is not text."""
    cut = _cut(codec)
    if cut is None:
        return None
    tokens = unknown = 0
    words = Counter[str]()
    for value in values:
        encoded = codec.encode(value)
        assert not isinstance(encoded, Frames), "text becomes tokens"
        tokens += len(encoded) - 1
        unknown += int((encoded == UNKNOWN).sum())
        words.update(cut(str(value)))
    missing = Counter(
        {word: count for word, count in words.items() if trained is not None and word not in trained}
    )
    return Coverage(
        codec.port.size,
        tokens,
        unknown,
        words.total(),
        None if trained is None else missing.total(),
        tuple(word for word, _ in missing.most_common(most)),
    )


def rejected(run: Path | None, name: str = "rejected.jsonl") -> dict[str, int] | None:
    """Count the rejected rows that a run lists, by kind, most first; None where it lists none."""
    if run is None or not (run / name).is_file():
        return None
    kinds = Counter(str(json.loads(line.text)["kind"]) for line in read_lines(run / name))
    return dict(kinds.most_common())


def _cut(codec: Codec) -> Cut | None:
    return cut_of(codec.section) if isinstance(codec, TextCodec) else None
