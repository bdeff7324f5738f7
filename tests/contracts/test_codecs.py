"""The battery that every codec passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.codec import learn_codec, load_codec
from dragoman.errors import DataError
from dragoman.recipe.data import Bytes, Characters, Subwords, Words
from dragoman.records import BOS, CONTROL_SYMBOLS, EOS, PAD, UNKNOWN

ALPHABET = "abcdefgh <>eos/\n\r\u2581\u2585\ue000é日0129.\t"
WORDS = ["the", "cat", "sat", "<s>", "<eos>", "on", "mat", "<pad>", "dog", "\u2581x", "日本", "é"]
TEXTS = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 7)) for i in range(60)] + [
    "cat",
    "V",
    ALPHABET,
]

SECTIONS = {
    "characters": Characters(kind="characters"),
    "characters-nfd": Characters(kind="characters", unicode="NFD", lowercase=True, remove="0\t"),
    "bytes": Bytes(kind="bytes", unicode="none"),
    "words": Words(kind="words"),
    "words-bar": Words(kind="words", separator="<>", unicode="NFKC"),
    "bpe": Subwords(kind="bpe", size=330, unicode="none"),
    "bpe-sampled": Subwords(kind="bpe", size=330, sampling=0.3),
    "unigram": Subwords(kind="unigram", size=330, unicode="none", sampling=0.3),
    "unigram-lower": Subwords(kind="unigram", size=330, unicode="NFKC", lowercase=True),
}
SECTIONS |= {
    f"{name}-features": section.model_copy(update={"features": ";"}) for name, section in SECTIONS.items()
}
LOSSLESS = [name for name in SECTIONS if name.startswith(("bytes", "bpe", "unigram"))]


def _learn(name):
    features = [f"{text}\t{part}" for text, part in zip(TEXTS, ["V;PST", "N", "a;;V", ""] * 3, strict=False)]
    values = TEXTS + features if SECTIONS[name].features else TEXTS
    return learn_codec(SECTIONS[name], values, "source")


CODECS = {name: _learn(name) for name in SECTIONS}
every_codec = pytest.mark.parametrize("name", SECTIONS)


def known_texts(section):
    """Texts whose units the codec has seen."""
    if isinstance(section, Words):
        part = WORDS if section.separator == " " else [text for text in TEXTS if "<>" not in text]
        return st.lists(st.sampled_from([*part, ""]), max_size=6).map(section.separator.join)
    letters = ALPHABET.replace("\t", "") if section.features else ALPHABET
    return st.text(st.sampled_from(letters), max_size=30)


@every_codec
@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_known_text_comes_back(name, data):
    codec = CODECS[name]
    text = data.draw(known_texts(SECTIONS[name]))
    for seed in (None, 5):
        tokens = codec.encode(text, seed)
        assert UNKNOWN not in tokens
        assert codec.decode(tokens) == codec.normalise(text)


@pytest.mark.parametrize("name", LOSSLESS)
@settings(derandomize=True, deadline=None, max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_of_unknown_characters_comes_back_where_bytes_are_the_last_resort(name, text):
    codec = CODECS[name]
    if SECTIONS[name].features:
        text = text.replace("\t", " ")
    tokens = codec.encode(text)
    assert UNKNOWN not in tokens
    assert codec.decode(tokens) == codec.normalise(text)


@every_codec
@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    text=st.one_of(
        st.text(max_size=20).filter(lambda text: text.isprintable()),
        st.lists(st.sampled_from([*CONTROL_SYMBOLS, "<s>", "</s>", " ", "a"])).map("".join),
    ),
    seed=st.one_of(st.none(), st.integers(0, 2**64)),
)
def test_no_text_becomes_a_control_symbol(name, text, seed):
    tokens = CODECS[name].encode(text, seed)
    assert tokens.dtype == np.int32
    assert tokens[-1] == EOS
    assert not np.isin(tokens[:-1], (PAD, BOS, EOS)).any()
    assert tokens.max() < CODECS[name].port.size


@every_codec
def test_a_prefix_is_the_encoding_without_its_end(name):
    codec = CODECS[name]
    for text in TEXTS[:5]:
        assert codec.encode(text).tolist() == [*codec.encode_prefix(text).tolist(), EOS]


@every_codec
def test_a_saved_codec_is_the_same_codec(name, tmp_path):
    codec = CODECS[name]
    codec.save(tmp_path / "codec")
    loaded = load_codec(tmp_path / "codec")
    assert loaded.port == codec.port
    for text in [*TEXTS, "new 語\tV;?", ""]:
        for seed in (None, 7):
            tokens = codec.encode(text, seed)
            assert loaded.encode(text, seed).tolist() == tokens.tolist()
            assert loaded.decode(tokens) == codec.decode(tokens)
            assert loaded.pieces(tokens) == codec.pieces(tokens)
    loaded.save(tmp_path / "again")
    for file in (tmp_path / "codec").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@every_codec
def test_learning_twice_gives_the_same_codec(name, tmp_path):
    CODECS[name].save(tmp_path / "one")
    _learn(name).save(tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / file.name).read_bytes() == file.read_bytes()


@every_codec
@pytest.mark.parametrize("value", ["ok \ud800 not", "\udcff", "a\t\ud800"])
def test_half_characters_are_refused(name, value):
    for refuse in (CODECS[name].encode, CODECS[name].normalise, CODECS[name].encode_prefix):
        with pytest.raises(DataError, match="lone surrogate U\\+D"):
            refuse(value)


@every_codec
@pytest.mark.parametrize("value", [None, 3, b"bytes", ["list"]])
def test_what_is_not_text_is_refused(name, value):
    with pytest.raises(DataError, match=f"expected text, found {type(value).__name__}"):
        CODECS[name].encode(value)


@every_codec
def test_what_a_model_may_write_can_be_read(name):
    codec = CODECS[name]
    everything = list(range(codec.port.size))
    assert isinstance(codec.decode(everything), str)
    assert isinstance(codec.decode(everything[::-1]), str)
    assert codec.pieces(everything[:4]) == list(CONTROL_SYMBOLS)
    # Every symbol can be told apart by people; a letter and a feature may be spelt alike.
    assert len(set(codec.pieces(everything[4:]))) >= codec.port.size - 4 - 4
    assert codec.decode([PAD, BOS, EOS]) == ""
    assert codec.decode([UNKNOWN]) == "\ufffd"


@every_codec
@pytest.mark.parametrize("token", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_refused(name, token):
    codec = CODECS[name]
    with pytest.raises(DataError, match=f"token {token} is none"):
        codec.decode([5, token])
    with pytest.raises(DataError, match=f"token {token} is none"):
        codec.pieces([5, token])


@pytest.mark.parametrize("name", [name for name in SECTIONS if name.endswith("features")])
def test_features_come_first_and_come_back(name):
    codec = CODECS[name]
    with_features = codec.encode("cat\tV;PST").tolist()
    assert with_features[2:] == codec.encode("cat").tolist()
    assert codec.pieces(with_features[:2]) == ["V", "PST"]
    for value in ("cat\tV;PST", "\tN", "cat\ta;;V", "cat\t"):
        assert codec.decode(codec.encode(value)) == value
    letters = codec.encode("V")
    assert with_features[0] not in letters


@every_codec
def test_a_text_of_a_hundred_thousand_characters_passes(name):
    codec = CODECS[name]
    separator = codec.section.separator if isinstance(codec.section, Words) else " "
    text = separator.join(["cat"] * 25_000)
    tokens = codec.encode(text)
    assert len(tokens) >= 25_001
    assert codec.decode(tokens) == text


@every_codec
def test_sections_survive_as_they_are(name, tmp_path):
    CODECS[name].save(tmp_path)
    assert load_codec(tmp_path).section == SECTIONS[name]
