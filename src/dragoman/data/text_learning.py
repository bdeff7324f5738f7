"""Text codecs learnt from examples, by counts or a sample of texts, and read back from a folder."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dragoman.data.subwords import MODEL_FILE, SubwordUnits, learn_subwords
from dragoman.data.text import (
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
from dragoman.records import Value, text_of

SAMPLE = 200_000
"""Subwords are learnt from at most this many texts; characters and words are counted in all of them."""
_SAMPLE_SEED = 20_11
"""Fixed: vocabularies do not depend on the seed of a run, so that runs with several seeds can share them."""


class TextLearner:
    """Hears texts one by one and keeps what their codec is made of: counts, or a uniform sample of texts."""

    def __init__(self, section: Section, where: str, say: Callable[[str], None]) -> None:
        """`where` names the section; `say` hears where a vocabulary comes out smaller than wanted."""
        self._section, self._where, self._say = section, where, say
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
            text, features = split_features(self._section, text_of(value))
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

    def learnt(self) -> TextCodec:
        """Return the codec."""
        return TextCodec(self._section, self._units(), most_frequent(self._features))

    def _sample(self, text: str) -> None:
        """Keep a uniform sample of bounded size (reservoir sampling, Vitter 1985)."""
        if self._heard < SAMPLE:
            self._texts.append(text)
        elif (place := int(self._numbers.random() * (self._heard + 1))) < SAMPLE:
            self._texts[place] = text
        self._heard += 1

    def _units(self) -> Units:
        match self._section:
            case Characters(min_count=least):
                return CharacterUnits(most_frequent(self._symbols, least))
            case Bytes():
                return ByteUnits()
            case Words(min_count=least, size=size, separator=separator):
                return WordUnits(most_frequent(self._symbols, least, size), separator)
            case Subwords():
                return learn_subwords(self._section, self._texts, self._where, self._say)


def _check_separator(section: Words, where: str) -> None:
    left = normalise_text(section, section.separator)
    if left != section.separator:
        raise RecipeError(
            [
                f"{where}.separator: {section.separator!r} "
                f"becomes {left!r} before words are cut; one that stays would do"
            ]
        )


def load_text_codec(section: Section, content: Mapping[str, Any], folder: Path) -> TextCodec:
    """Put a codec together from the content of codec.json; KeyError or TypeError if it is not complete."""
    return TextCodec(section, _load_units(section, content, folder), _strings(content, "features"))


def _load_units(section: Section, content: Mapping[str, Any], folder: Path) -> Units:
    match section:
        case Characters():
            return CharacterUnits(_strings(content, "symbols"))
        case Bytes():
            return ByteUnits()
        case Words():
            return WordUnits(_strings(content, "symbols"), section.separator)
        case Subwords():
            return SubwordUnits((folder / MODEL_FILE).read_bytes(), section.kind, section.sampling)


def _strings(content: Mapping[str, Any], key: str) -> list[str]:
    found = content[key]
    if not isinstance(found, list) or not all(isinstance(symbol, str) for symbol in found):
        raise TypeError(f"`{key}` is not a list of strings")
    return found
