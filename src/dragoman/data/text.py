"""Text as tokens: what all text codecs do, and units that are characters, bytes or words."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dragoman.data.vocabulary import Vocabulary
from dragoman.errors import DataError
from dragoman.recipe.data import Bytes, Characters, Subwords, Words
from dragoman.records import CONTROL_SYMBOLS, EOS, UNKNOWN, Port, Value, text_of

Section = Characters | Bytes | Words | Subwords
CODEC_FORMAT = 1
"""Version of codec.json."""
REPLACEMENT = "\ufffd"
"""What an unknown unit decodes to: the character that Unicode reserves for this."""
_FIRST_UNIT = len(CONTROL_SYMBOLS)
_BYTES = 256
Span = tuple[int, int]
"""Characters of a text: the first, and the one after the last."""


class Units(Protocol):
    """What text is cut into; ids run from the control symbols up to `end`, which is excluded."""

    @property
    def end(self) -> int:
        """The id after the last one."""
        ...

    def tidy(self, text: str) -> str:
        """Return the text that `join` gives back after `cut`, where all units are known."""
        ...

    def cut(self, text: str, seed: int | None) -> list[int]:
        """Cut into ids, none of them a control id but UNKNOWN; a seed asks for a sampled segmentation."""
        ...

    def spans(self, text: str) -> list[Span]:
        """Return where in the text each token of `cut` stands, where nothing is sampled.

        What one character is written by, such as bytes, all stands where the character does.
        """
        ...

    def join(self, tokens: Sequence[int]) -> str:
        """Put units together again; UNKNOWN becomes U+FFFD."""
        ...

    def piece(self, token: int) -> str:
        """Say what a unit stands for."""
        ...

    def written(self, token: int) -> bytes:
        """Return what a unit adds to a text that has others before it, in UTF-8."""
        ...

    def save(self, folder: Path) -> Mapping[str, object]:
        """Write what is too big for codec.json into the folder, return the rest."""
        ...


class TextCodec:
    """Text to tokens and back: normalisation, feature symbols, units, control symbols.

    With `features` in its section, a value is `text<TAB>a;b;c`: the symbols behind the last tab come first in
    the encoded sequence, each as one id that differs from every text unit's. A value without a tab is text
    only.
    """

    def __init__(self, section: Section, units: Units, features: Sequence[str] = ()) -> None:
        """Put a codec together from its section, its units and the feature symbols it knows."""
        self.section = section
        self.units = units
        self._features = Vocabulary(features, first=units.end)
        self.port = Port("tokens", self._features.end)

    def normalise(self, value: Value) -> str:
        """Return what `decode` gives back where all units are known; DataError if not proper text."""
        text, features = split_features(self.section, value)
        text = self.units.tidy(normalise_text(self.section, text))
        return text if features is None else self._with_features(text, features)

    def encode(self, value: Value, seed: int | None = None, source: Value | None = None) -> NDArray[np.int32]:
        """Return the 1-d ids of a value, EOS last; DataError if not proper text.

        A seed samples the segmentation, where the section has `sampling`: the same seed, the same ids. Text
        does not depend on its `source`.
        """
        return np.array([*self._cut(value, seed), EOS], dtype=np.int32)

    def encode_prefix(self, value: Value) -> NDArray[np.int32]:
        """Return the ids of the beginning of a value: `encode` without EOS."""
        return np.array(self._cut(value, None), dtype=np.int32)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the value that ids stand for; control symbols are dropped, but UNKNOWN becomes U+FFFD."""
        self._check(tokens)
        known = [int(token) for token in tokens if token == UNKNOWN or token >= _FIRST_UNIT]
        last = max((index for index, token in enumerate(known) if token in self._features), default=-1)
        features: list[int] = []
        units: list[int] = []
        for index, token in enumerate(known):
            is_feature = token in self._features or (token == UNKNOWN and index < last)
            (features if is_feature else units).append(token)
        text = self.units.join(units)
        if not features:
            return text
        return self._with_features(text, [self._feature_piece(token, REPLACEMENT) for token in features])

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return what each id stands for, control symbols by their names."""
        self._check(tokens)
        return [self._piece(int(token)) for token in tokens]

    def written(self) -> list[bytes]:
        """Return by ids what each adds to a text that has others before it, in UTF-8.

        It may be part of a character. Control symbols and features write nothing.
        """
        units = (self.units.written(token) for token in range(_FIRST_UNIT, self.units.end))
        silent = [b""] * (self.port.size - self.units.end)
        return [b""] * _FIRST_UNIT + [*units, *silent]

    def save(self, folder: Path) -> None:
        """Write codec.json, and subwords.model for subword units, into a folder that is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": CODEC_FORMAT,
            "codec": self.section.model_dump(mode="json"),
            "features": list(self._features.symbols),
            **self.units.save(folder),
        }
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (folder / "codec.json").write_text(text, encoding="utf-8")

    def _cut(self, value: Value, seed: int | None) -> list[int]:
        text, features = split_features(self.section, value)
        tokens = [self._features.id_of(feature) for feature in features or ()]
        return tokens + self.units.cut(normalise_text(self.section, text), seed)

    def _with_features(self, text: str, features: Sequence[str]) -> str:
        return f"{text}\t{(self.section.features or '').join(features)}"

    def _feature_piece(self, token: int, unknown: str) -> str:
        return unknown if token == UNKNOWN else self._features.symbol_of(token)

    def _piece(self, token: int) -> str:
        if token < _FIRST_UNIT:
            return CONTROL_SYMBOLS[token]
        return self._features.symbol_of(token) if token in self._features else self.units.piece(token)

    def _check(self, tokens: Sequence[int]) -> None:
        wrong = next((token for token in tokens if not 0 <= token < self.port.size), None)
        if wrong is not None:
            raise DataError(
                f"token {wrong} is none of this vocabulary: ids run from 0 to {self.port.size - 1}"
            )


def split_features(section: Section, value: Value) -> tuple[str, list[str] | None]:
    """Return the text of a value and its features, None where it has none; DataError if not proper text."""
    text = _proper_text(value)
    if section.features is None or "\t" not in text:
        return text, None
    text, _, behind = text.rpartition("\t")
    return text, _in_form(section, behind).split(section.features)


def normalise_text(section: Section, text: str) -> str:
    """Bring text into the Unicode form, lower-case it, drop the characters to remove, in either case."""
    removed = dict.fromkeys(map(ord, section.remove))
    text = _in_form(section, text).translate(removed)
    if section.lowercase:
        text = text.lower().translate(removed)
    # Lowering and removing may leave letters and accents side by side that the form writes as one.
    return _in_form(section, text)


def _in_form(section: Section, text: str) -> str:
    return text if section.unicode == "none" else unicodedata.normalize(section.unicode, text)


def _proper_text(value: Value) -> str:
    text = text_of(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"half a character (lone surrogate U+{ord(text[error.start]):04X}) "
            f"at character {error.start + 1}: not proper Unicode; mend it or leave the example out"
        ) from error
    return text


class CharacterUnits:
    """One unit a code point."""

    def __init__(self, symbols: Sequence[str]) -> None:
        """Take the characters that have an id of their own."""
        self._vocabulary = Vocabulary(symbols)
        self.end = self._vocabulary.end

    def tidy(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def cut(self, text: str, seed: int | None) -> list[int]:
        """Return the id of each character; nothing to sample."""
        return [self._vocabulary.id_of(character) for character in text]

    def spans(self, text: str) -> list[Span]:
        """Return the place of each character."""
        return [(place, place + 1) for place in range(len(text))]

    def join(self, tokens: Sequence[int]) -> str:
        """Write the characters one after another."""
        return "".join(_symbol(self._vocabulary, token) for token in tokens)

    def piece(self, token: int) -> str:
        """Return the character."""
        return self._vocabulary.symbol_of(token)

    def written(self, token: int) -> bytes:
        """Return the character."""
        return self.piece(token).encode()

    def save(self, folder: Path) -> Mapping[str, object]:
        """Return the characters."""
        return {"symbols": list(self._vocabulary.symbols)}


class WordUnits:
    """One unit a word; separators between words are not units, and empty words do not count."""

    def __init__(self, symbols: Sequence[str], separator: str) -> None:
        """Take the words that have an id of their own and what stands between words."""
        self._vocabulary = Vocabulary(symbols)
        self._separator = separator
        self.end = self._vocabulary.end

    def tidy(self, text: str) -> str:
        """Leave one separator between words, none at the ends."""
        return self._separator.join(words_of(text, self._separator))

    def cut(self, text: str, seed: int | None) -> list[int]:
        """Return the id of each word; nothing to sample."""
        return [self._vocabulary.id_of(word) for word in words_of(text, self._separator)]

    def spans(self, text: str) -> list[Span]:
        """Return the places of words, without what separates them."""
        found, begin = [], 0
        for word in text.split(self._separator):
            found += [(begin, begin + len(word))] if word else []
            begin += len(word) + len(self._separator)
        return found

    def join(self, tokens: Sequence[int]) -> str:
        """Write the words with one separator between them."""
        return self._separator.join(_symbol(self._vocabulary, token) for token in tokens)

    def piece(self, token: int) -> str:
        """Return the word."""
        return self._vocabulary.symbol_of(token)

    def written(self, token: int) -> bytes:
        """Return the word behind a separator."""
        return (self._separator + self.piece(token)).encode()

    def save(self, folder: Path) -> Mapping[str, object]:
        """Return the words."""
        return {"symbols": list(self._vocabulary.symbols)}


class ByteUnits:
    """One unit a byte of UTF-8; byte b has the id 4 + b."""

    end = _FIRST_UNIT + _BYTES

    def tidy(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def cut(self, text: str, seed: int | None) -> list[int]:
        """Return the id of each byte; nothing to sample."""
        return [_FIRST_UNIT + byte for byte in text.encode("utf-8")]

    def spans(self, text: str) -> list[Span]:
        """Return for each byte the place of its character."""
        return [(place, place + 1) for place, letter in enumerate(text) for _ in letter.encode("utf-8")]

    def join(self, tokens: Sequence[int]) -> str:
        """Read the bytes as UTF-8; what is not UTF-8 becomes U+FFFD."""
        unknown = REPLACEMENT.encode("utf-8")
        parts = (unknown if token == UNKNOWN else bytes([token - _FIRST_UNIT]) for token in tokens)
        return b"".join(parts).decode("utf-8", errors="replace")

    def piece(self, token: int) -> str:
        """Return an ASCII character that can be seen, else the byte's number."""
        byte = token - _FIRST_UNIT
        return chr(byte) if 0x21 <= byte <= 0x7E else f"<0x{byte:02X}>"

    def written(self, token: int) -> bytes:
        """Return the byte."""
        return bytes([token - _FIRST_UNIT])

    def save(self, folder: Path) -> Mapping[str, object]:
        """Return nothing: bytes are always the same."""
        return {}


def words_of(text: str, separator: str) -> list[str]:
    """Return what stands between separators, without the empty words."""
    return [word for word in text.split(separator) if word]


def _symbol(vocabulary: Vocabulary, token: int) -> str:
    return REPLACEMENT if token == UNKNOWN else vocabulary.symbol_of(token)
