"""Words of a text, as blanks part them, and which of them each token belongs to."""

from __future__ import annotations

import re

from dragoman.data.offsets import offsets
from dragoman.data.text import Span, TextCodec
from dragoman.records import Value, text_of

_WORD = re.compile(r"\S+")


def word_spans(text: str) -> list[Span]:
    """Return from where to where each word stands; only blanks part words."""
    return [found.span() for found in _WORD.finditer(text)]


def words_of_tokens(codec: TextCodec, value: Value) -> list[int | None]:
    """Return for each token of `codec.encode(value)` the number of its word; None for blanks and EOS.

    A token that reaches over several words belongs to the one that it covers most of.
    """
    words = word_spans(text_of(value))
    found = [_word_of(span, words) for span in offsets(codec, value).spans]
    return [*found, None]


def _word_of(span: Span, words: list[Span]) -> int | None:
    begin, end = span
    shared = [min(end, word_end) - max(begin, word_begin) for word_begin, word_end in words]
    best = max(range(len(words)), key=lambda word: shared[word], default=None)
    return best if best is not None and shared[best] > 0 else None
