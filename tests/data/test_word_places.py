"""Which word a token belongs to, for every way of cutting text."""

import pytest

from dragoman.data.codec import learn_codec
from dragoman.data.word_places import word_spans, words_of_tokens
from dragoman.recipe.data import Bytes, Characters, Subwords, Words

TEXTS = [f"der kleine hund sieht {number} katzen" for number in range(40)]
SECTIONS = [
    Characters(kind="characters", lowercase=True),
    Bytes(kind="bytes", lowercase=True),
    Words(kind="words", lowercase=True),
    Subwords(kind="bpe", size=300, lowercase=True),
    Subwords(kind="unigram", size=300, lowercase=True),
]


def test_blanks_part_words():
    assert word_spans("  ein\u00a0Hund\tda ") == [(2, 5), (6, 10), (11, 13)]
    assert word_spans(" ") == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.kind)
def test_tokens_find_the_words_that_they_are_cut_from(section):
    codec, text = learn_codec(section, TEXTS, "source"), "DER kleine Hund sieht 7"
    tokens, found = codec.encode(text), words_of_tokens(codec, text)
    assert len(found) == len(tokens) and found[-1] is None
    pieces = codec.pieces(tokens.tolist())
    for number, word in enumerate(text.split()):
        own = "".join(piece for piece, place in zip(pieces, found, strict=True) if place == number)
        assert own.replace("\u2581", "").strip() == word.lower()


def test_a_token_of_several_words_belongs_to_the_longest():
    codec = learn_codec(Words(kind="words", separator="||"), ["ein Hund||da"], "source")
    assert words_of_tokens(codec, "ein Hund||da") == [1, 1, None]
