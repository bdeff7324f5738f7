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

SAMPLE = 200_000
"""Subwords are learnt from at most this many texts; characters and words are counted in all of them."""
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
    """Learn the codecs of a recipe from examples, in one pass and in memory that does not grow with them.

    `say` hears where a vocabulary comes out smaller than the recipe wants it.
    """
    source = _Learner(recipe.source, "source")
    target = source if recipe.joint_vocabulary else _Learner(recipe.target, "target")
    for example in examples():
        source.hear(example.source)
        for value in example.targets:
            target.hear(value)
    learnt = source.learnt(say)
    return Codecs(learnt, learnt if target is source else target.learnt(say))


def learn_codec(
    section: Section, values: Iterable[Value], where: str, say: Callable[[str], None] = _silent
) -> TextCodec:
    """Learn one codec from raw values, but those it cannot take; `where` names its section in messages."""
    learner = _Learner(section, where)
    for value in values:
        learner.hear(value)
    return learner.learnt(say)


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


class _Learner:
    """Hears values one by one and keeps what their codec is made of: counts, or a uniform sample of texts."""

    def __init__(self, section: Section, where: str) -> None:
        self._section, self._where = section, where
        self._features: Counter[str] = Counter()
        self._symbols: Counter[str] = Counter()
        self._texts: list[str] = []
        self._heard = 0
        self._numbers = random.Random(_SAMPLE_SEED)
        if isinstance(section, Words):
            _check_separator(section, where)

    def hear(self, value: Value) -> None:
        """Count a value; one that the codec cannot take is left out."""
        try:
            text, features = split_features(self._section, value)
        except DataError:
            return
        text = normalise_text(self._section, text)
        self._features.update(features or ())
        match self._section:
            case Characters():
                self._symbols.update(text)
            case Words(separator=separator):
                self._symbols.update(words_of(text, separator))
            case Bytes():
                pass
            case Subwords():
                self._sample(text)

    def learnt(self, say: Callable[[str], None]) -> TextCodec:
        """Return the codec."""
        return TextCodec(self._section, self._units(say), most_frequent(self._features))

    def _sample(self, text: str) -> None:
        """Keep a uniform sample of bounded size (reservoir sampling, Vitter 1985)."""
        if self._heard < SAMPLE:
            self._texts.append(text)
        elif (place := int(self._numbers.random() * (self._heard + 1))) < SAMPLE:
            self._texts[place] = text
        self._heard += 1

    def _units(self, say: Callable[[str], None]) -> Units:
        match self._section:
            case Characters(min_count=least):
                return CharacterUnits(most_frequent(self._symbols, least))
            case Bytes():
                return ByteUnits()
            case Words(min_count=least, size=size, separator=separator):
                return WordUnits(most_frequent(self._symbols, least, size), separator)
            case Subwords():
                return learn_subwords(self._section, self._texts, self._where, say)


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
