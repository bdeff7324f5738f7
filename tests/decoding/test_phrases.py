"""Phrases followed token by token, held against regular expressions over the whole text."""

import itertools
import random
import re

import pytest

from dragoman.data.codec import learn_codec
from dragoman.decoding.phrases import Phrase, Spelling, is_of_word, phrases_in
from dragoman.recipe.data import Bytes, Characters, Subwords, Words

SENTENCES = [
    "the hat of a man",
    "hat trick, the (hat)!",
    "un café au lait",
    "a hat-box in the café",
    "aha ha haha",
]
SECTIONS = [
    Characters(kind="characters"),
    Bytes(kind="bytes"),
    Words(kind="words"),
    Subwords(kind="bpe", size=310),
    Subwords(kind="unigram", size=310),
]
PHRASES = ["hat", "a", "the hat", "café", "au lait", "haha", "aha ha", "(hat", "hat-box", "é", "ha"]


def ids(section):
    return section.kind


@pytest.fixture(scope="module", params=SECTIONS, ids=ids)
def codec(request):
    return learn_codec(request.param, SENTENCES * 20, "target")


def stands(phrase, text, whole_words):
    before = r"(?<!\w)" if whole_words and is_of_word(phrase[0]) else ""
    after = r"(?!\w)" if whole_words and is_of_word(phrase[-1]) else ""
    return re.search(before + re.escape(phrase) + after, text) is not None


def followed(phrase, tokens):
    return list(itertools.accumulate(tokens, phrase.after, initial=phrase.START))


def cuts(codec, numbers):
    """Tokens of sentences and parts of them, and tokens at random."""
    words = " ".join(SENTENCES).split()
    for _ in range(50):
        text = " ".join(numbers.choices(words, k=numbers.randint(1, 5)))
        yield codec.encode(text).tolist()[:-1]
        yield numbers.choices(range(4, codec.port.size), k=6)
        yield [token for word in numbers.choices(words, k=4) for token in codec.encode(word).tolist()[:-1]]


@pytest.mark.parametrize("whole_words", [True, False])
def test_a_phrase_is_found_in_any_tokens_exactly_where_the_text_has_it(codec, whole_words):
    spelling, numbers = Spelling(codec.written()), random.Random(5)
    seen = dict.fromkeys(itertools.product(PHRASES, (True, False)), 0)
    for tokens in cuts(codec, numbers):
        text = codec.decode(tokens)
        for text_of_phrase in PHRASES:
            phrase = spelling.phrase(text_of_phrase, whole_words)
            places = followed(phrase, tokens)
            expected = stands(text_of_phrase, text, whole_words)
            assert phrase.is_in(places[-1]) == expected, (text_of_phrase, text, tokens)
            assert phrase.stands_in(text) == expected
            seen[text_of_phrase, expected] += 1
            for place, end in zip(places, range(len(tokens) + 1), strict=True):
                if phrase.is_past(place):
                    assert stands(text_of_phrase, codec.decode(tokens[:end]), whole_words)
    found = {phrase for phrase, is_there in seen if is_there and seen[phrase, True]}
    assert len(found) >= 6 and all(seen[phrase, False] for phrase in PHRASES)


def test_next_tokens_write_the_phrase_from_anywhere(codec):
    spelling = Spelling(codec.written())
    numbers = random.Random(6)
    for text_of_phrase in ("hat", "café", "au lait", "a hat-box in"):
        phrase = spelling.phrase(text_of_phrase, True)
        assert phrase.can_be_written
        for _ in range(10):
            tokens = codec.encode("the man" if numbers.random() < 0.5 else "(").tolist()[:-1]
            for _ in range(2 * len(text_of_phrase.encode()) + 3):
                place = followed(phrase, tokens)[-1]
                if phrase.is_in(place):
                    break
                found = phrase.next_tokens(place)
                assert found
                tokens.append(max(found, key=lambda token: len(spelling.written[token])))
            assert stands(text_of_phrase, codec.decode(tokens), True)


def test_what_no_tokens_spell_cannot_be_written():
    spelling = Spelling([b"", b"a", b"bc", b" d"])
    assert all(spelling.phrase(text, True).can_be_written for text in ("abc", "bca d", "d", "a"))
    assert not any(spelling.phrase(text, True).can_be_written for text in ("b", "ad", "é"))


def test_a_spelling_follows_a_phrase_once():
    spelling = Spelling([b"a"])
    assert spelling.phrase("a", True) is spelling.phrase("a", True)
    assert spelling.phrase("a", True) is not spelling.phrase("a", False)
    assert isinstance(spelling.phrase("a", True), Phrase)


@pytest.mark.parametrize(
    ("text", "whole_words", "expected"),
    [
        ("a bank account, a bank", True, ["bank account", "bank"]),
        ("banker bankaccount", True, []),
        ("banker", False, ["bank"]),
        ("bank", True, ["bank"]),
        ("my-bank", True, ["bank"]),
        ("(c) c", True, ["(c)"]),
        ("", True, []),
    ],
)
def test_of_overlapping_phrases_the_longest_is_found(text, whole_words, expected):
    assert phrases_in(text, ["bank", "bank account", "(c)"], whole_words) == expected
