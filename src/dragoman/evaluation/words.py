"""Text as words to count: what stands between separators, or letters apart from punctuation."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from dragoman.data.text import words_of
from dragoman.recipe.data import Codec, Words

Cut = Callable[[str], list[str]]


class _Apart(dict[int, str]):
    """What becomes of each character, by its code: punctuation and Chinese or Japanese stand alone."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        kept = " " if kind[0] in "ZC" else f" {character} " if _stands_alone(code, kind) else character
        self[code] = kept
        return kept


def _stands_alone(code: int, kind: str) -> bool:
    is_without_spaces = 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF
    return kind[0] in "PS" or is_without_spaces


_APART = _Apart()


def plain_words(text: str) -> list[str]:
    """Cut a text of any language at spaces, and punctuation off its words."""
    return text.translate(_APART).split()


def cut_of(section: Codec) -> Cut:
    """Return how texts of a codec become words: those of a codec of words are its own."""
    match section:
        case Words(separator=separator):
            return lambda text: words_of(text, separator)
        case _:
            return plain_words
