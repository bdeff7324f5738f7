"""Tokens stand where a person typed them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.codec import learn_codec
from dragoman.data.offsets import offsets, origins_of
from dragoman.data.text import normalise_text
from dragoman.recipe.data import Bytes, Characters, Subwords, Words

TEXTS = [f"der kleine Hund sieht {number} Katzen und läuft, Élan\u2581" for number in range(40)]
SECTIONS = {
    "characters": Characters(kind="characters", unicode="none"),
    "bytes": Bytes(kind="bytes", unicode="none"),
    "bpe": Subwords(kind="bpe", size=340, unicode="none"),
    "bpe-sampled": Subwords(kind="bpe", size=340, unicode="none", sampling=0.3),
    "unigram": Subwords(kind="unigram", size=340, unicode="none"),
}
CODECS = {name: learn_codec(section, TEXTS, "source") for name, section in SECTIONS.items()}
typed = st.text(st.sampled_from("derHun äÉlan\u2581\u2585\ue0000 \t日e\u0301ﬁ"), max_size=24)


@pytest.mark.parametrize("name", CODECS)
@settings(derandomize=True, deadline=None, max_examples=80)
@given(text=typed)
def test_places_follow_upon_each_other_and_together_are_the_text(name, text):
    found = offsets(CODECS[name], text)
    assert found.is_exact
    assert len(found.spans) == len(CODECS[name].encode(text)) - 1
    apart = list(dict.fromkeys(span for span in found.spans if span[0] < span[1]))
    assert "".join(text[begin:end] for begin, end in apart) == text


def test_the_place_of_a_subword_holds_its_piece():
    codec, text = CODECS["bpe"], "der kleine 日 Hund"
    pieces = codec.pieces(codec.encode(text).tolist())
    for piece, (begin, end) in zip(pieces, offsets(codec, text).spans, strict=False):
        shown = piece.replace("\u2581", " ")
        assert text[begin:end] == (
            "日" if piece.startswith("<0x") else shown.removeprefix(" " * (begin == 0))
        )


def test_words_stand_between_any_number_of_separators():
    codec = learn_codec(Words(kind="words", separator="||"), ["ein||Hund"], "source")
    text = "||ein||||Hund||xy||"
    assert [text[begin:end] for begin, end in offsets(codec, text).spans] == ["ein", "Hund", "xy"]


def test_words_of_normalised_text_stand_where_they_were_typed():
    section = Words(kind="words", unicode="NFKC", lowercase=True, remove="1")
    codec = learn_codec(section, ["ein hund"], "source")
    text = "EIN1  1 Hu\u0308nd1 ﬁx"
    found = offsets(codec, text)
    assert not found.is_exact
    assert [text[begin:end] for begin, end in found.spans] == ["EIN", "Hu\u0308nd", "ﬁx"]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(text=st.text(st.sampled_from("aeEoΣΟ sﬁ\u0301\u0323\u1100\u1161İß1 "), max_size=12))
def test_what_a_character_comes_from_becomes_that_character(text):
    section = Characters(kind="characters", unicode="NFKC", lowercase=True, remove="1")
    normal, origins = normalise_text(section, text), origins_of(section, text)
    assert len(normal) == len(origins)
    assert origins == sorted(origins)
    whole = {}
    for letter, origin in zip(normal, origins, strict=True):
        whole[origin] = whole.get(origin, "") + letter
    if "Σ" not in text:  # which depends on what stands around it
        for (begin, end), letters in whole.items():
            assert normalise_text(section, text[begin:end]) == letters


def test_sigma_at_the_end_of_a_word_keeps_its_place():
    section = Characters(kind="characters", lowercase=True)
    assert origins_of(section, "ΟΔΟΣ ΟΣ") == [(place, place + 1) for place in range(7)]


def test_features_stand_behind_the_tab():
    codec = learn_codec(Characters(kind="characters", features=";"), ["ab\tV;PST"], "source")
    text = "ab\tV;PST"
    assert [text[begin:end] for begin, end in offsets(codec, text).spans] == ["V", "PST", "a", "b"]
    text = "ab\tV;e\u0301"  # normalised: all that is known is that they are behind the tab
    assert [text[begin:end] for begin, end in offsets(codec, text).spans] == ["V;e\u0301"] * 2 + ["a", "b"]
