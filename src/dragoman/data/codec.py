"""Codecs: raw values to tokens and back, learnt from examples, saved with the weights."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from dragoman.data.subwords import MODEL_FILE, SubwordUnits, learn_subwords
from dragoman.data.text import (
    CODEC_FORMAT,
    ByteUnits,
    CharacterUnits,
    Section,
    TextCodec,
    Units,
    WordUnits,
    normalise_text,
    split_features,
    words_of,
)
from dragoman.data.vocabulary import most_frequent
from dragoman.errors import DataError, RecipeError
from dragoman.recipe.data import Bytes, Characters, Subwords, Words
from dragoman.recipe.data import Codec as CodecSection
from dragoman.recipe.sections import Recipe
from dragoman.records import Example, Port, Value

SAMPLE = 1_000_000
"""Codecs are learnt from at most this many examples."""
_SAMPLE_SEED = 20_11
"""Fixed: vocabularies do not depend on the seed of a run, so that runs with several seeds can share them."""


class Codec(Protocol):
    """Raw values to tokens and back; `port` is all that a model knows of it."""

    port: Port

    def normalise(self, value: Value) -> Value:
        """Return what `encode` makes of a raw value before it is cut: what `decode` can give back."""
        ...

    def encode(self, value: Value, seed: int | None = None) -> NDArray[np.int32]:
        """Return 1-d ids that end with EOS; a seed samples the segmentation, if the recipe says so.

        DataError for a value that it cannot take.
        """
        ...

    def encode_prefix(self, value: Value) -> NDArray[np.int32]:
        """Return the ids of the beginning of a value: `encode` without EOS."""
        ...

    def decode(self, tokens: Sequence[int]) -> Value:
        """Return the value of the ids; control symbols are dropped, UNKNOWN becomes U+FFFD."""
        ...

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return what each id stands for, for people."""
        ...

    def save(self, folder: Path) -> None:
        """Write the codec into a folder; `load_codec` reads it."""
        ...


@dataclass(frozen=True)
class Codecs:
    """The codecs of both sides; one object twice where the vocabulary is joint."""

    source: Codec
    target: Codec


def _silent(message: str) -> None:
    """Hear nothing."""


def learn_codecs(
    recipe: Recipe, examples: Callable[[], Iterable[Example]], say: Callable[[str], None] = _silent
) -> Codecs:
    """Learn the codecs of a recipe from examples: all of them, or a stable sample of 1,000,000.

    `say` hears where a vocabulary comes out smaller than the recipe wants it.
    """
    sample = _sample_of(examples())
    sources = [source for source, _ in sample]
    targets = [target for _, targets in sample for target in targets]
    if recipe.joint_vocabulary:
        codec = learn_codec(recipe.source, sources + targets, "source", say)
        return Codecs(codec, codec)
    return Codecs(
        learn_codec(recipe.source, sources, "source", say), learn_codec(recipe.target, targets, "target", say)
    )


def learn_codec(
    section: Section, values: Iterable[Value], where: str, say: Callable[[str], None] = _silent
) -> TextCodec:
    """Learn one codec from raw values, but those it cannot take; `where` names its section in messages."""
    texts: list[str] = []
    features: Counter[str] = Counter()
    for value in values:
        try:
            text, symbols = split_features(section, value)
        except DataError:
            continue
        texts.append(normalise_text(section, text))
        features.update(symbols or ())
    return TextCodec(section, _learn_units(section, texts, where, say), most_frequent(features))


def load_codec(folder: Path) -> Codec:
    """Read what `save` wrote; DataError if it is not there or is something else."""
    path = folder / "codec.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a codec: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != CODEC_FORMAT:
        raise DataError(f"{path}: expected a codec of format {CODEC_FORMAT}, found {found!r}")
    try:
        section: Section = TypeAdapter[Section](CodecSection).validate_python(content["codec"])
        return TextCodec(section, _load_units(section, content, folder), _strings(content, "features"))
    except (KeyError, OSError, TypeError, ValidationError, DataError) as error:
        raise DataError(f"{path}: not a complete codec: {error}") from error


def _sample_of(examples: Iterable[Example]) -> list[tuple[str, tuple[str, ...]]]:
    """Keep a uniform sample of bounded size (reservoir sampling, Vitter 1985)."""
    kept: list[tuple[str, tuple[str, ...]]] = []
    numbers = random.Random(_SAMPLE_SEED)
    for seen, example in enumerate(examples):
        pair = (example.source, example.targets)
        if seen < SAMPLE:
            kept.append(pair)
        elif (place := int(numbers.random() * (seen + 1))) < SAMPLE:
            kept[place] = pair
    return kept


def _learn_units(section: Section, texts: list[str], where: str, say: Callable[[str], None]) -> Units:
    match section:
        case Characters():
            counts = Counter(character for text in texts for character in text)
            return CharacterUnits(most_frequent(counts, section.min_count))
        case Bytes():
            return ByteUnits()
        case Words():
            _check_separator(section, where)
            counts = Counter(word for text in texts for word in words_of(text, section.separator))
            return WordUnits(most_frequent(counts, section.min_count, section.size), section.separator)
        case Subwords():
            return learn_subwords(section, texts, where, say)


def _check_separator(section: Words, where: str) -> None:
    left = normalise_text(section, section.separator)
    if left != section.separator:
        raise RecipeError(
            [
                f"{where}.separator: {section.separator!r} "
                f"becomes {left!r} before words are cut; one that stays would do"
            ]
        )


def _load_units(section: Section, content: dict[str, Any], folder: Path) -> Units:
    match section:
        case Characters():
            return CharacterUnits(_strings(content, "symbols"))
        case Bytes():
            return ByteUnits()
        case Words():
            return WordUnits(_strings(content, "symbols"), section.separator)
        case Subwords():
            return SubwordUnits((folder / MODEL_FILE).read_bytes(), section.kind, section.sampling)


def _strings(content: dict[str, Any], key: str) -> list[str]:
    found = content[key]
    if not isinstance(found, list) or not all(isinstance(symbol, str) for symbol in found):
        raise TypeError(f"`{key}` is not a list of strings")
    return found
