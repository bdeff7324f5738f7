import json

import pytest

from dragoman.data.codec import learn_codec, load_codec
from dragoman.data.vocabulary import Vocabulary, most_frequent
from dragoman.errors import DataError, RecipeError
from dragoman.recipe.data import Bytes, Characters, Words
from dragoman.records import EOS, UNKNOWN


def test_normalisation_brings_to_form_then_lowers_then_removes():
    section = Characters(kind="characters", unicode="NFC", lowercase=True, remove="é12")
    codec = learn_codec(section, ["abc"], "source")
    assert codec.normalise("AE\u03011b2C") == "abc"


def test_removing_between_a_letter_and_its_accent_leaves_the_unicode_form():
    codec = learn_codec(Characters(kind="characters", remove="-"), ["é"], "source")
    assert codec.normalise("e-\u0301") == "é"
    assert UNKNOWN not in codec.encode("e-\u0301")


def test_features_are_brought_to_form_but_neither_lowered_nor_stripped():
    section = Characters(kind="characters", lowercase=True, remove="Vx", features=";")
    codec = learn_codec(section, ["a\tV;PÉ"], "source")
    assert codec.normalise("AVX\tV;PE\u0301") == "a\tV;PÉ"
    assert codec.pieces(codec.encode("A\tV;PE\u0301")) == ["V", "PÉ", "a", "<eos>"]


def test_only_the_last_tab_parts_features_from_text():
    codec = learn_codec(Characters(kind="characters", features=";"), ["a\tb\tV", "\t"], "source")
    assert codec.pieces(codec.encode("a\tb\tV")) == ["V", "a", "\t", "b", "<eos>"]


def test_without_features_a_tab_is_a_character():
    codec = learn_codec(Characters(kind="characters"), ["a\tb"], "source")
    assert codec.pieces(codec.encode("a\tb")) == ["a", "\t", "b", "<eos>"]


def test_an_unknown_feature_is_unknown_and_keeps_its_place():
    codec = learn_codec(Characters(kind="characters", features=";"), ["ab\tV;N"], "source")
    tokens = codec.encode("ab\tX;N")
    assert tokens[0] == UNKNOWN
    assert codec.decode(tokens) == "ab\t\ufffd;N"


def test_the_vocabulary_is_sorted_by_frequency_then_code_point():
    codec = learn_codec(Characters(kind="characters"), ["bbaac"], "source")
    assert codec.pieces(range(4, codec.port.size)) == ["a", "b", "c"]


def test_rare_characters_are_unknown():
    codec = learn_codec(Characters(kind="characters", min_count=2), ["aab"], "source")
    assert codec.port.size == 5
    assert codec.encode("ab").tolist() == [4, UNKNOWN, EOS]
    assert codec.decode(codec.encode("ab")) == "a\ufffd"


def test_size_of_words_counts_control_symbols():
    codec = learn_codec(Words(kind="words", size=6), ["x x x y y z"], "source")
    assert codec.port.size == 6
    assert codec.pieces(codec.encode("x y z")) == ["x", "y", "<unk>", "<eos>"]


def test_rare_words_are_unknown():
    codec = learn_codec(Words(kind="words", min_count=2), ["x x y"], "source")
    assert codec.encode("x y").tolist() == [4, UNKNOWN, EOS]


def test_several_separators_count_as_one():
    codec = learn_codec(Words(kind="words"), ["a b"], "source")
    assert codec.normalise("  a   b ") == "a b"
    assert codec.encode("  a   b ").tolist() == codec.encode("a b").tolist()


def test_a_separator_that_normalisation_changes_is_refused():
    section = Words(kind="words", separator="X", lowercase=True)
    with pytest.raises(RecipeError, match=r"target\.separator: 'X' becomes 'x'"):
        learn_codec(section, ["aXb"], "target")


def test_bytes_that_are_not_utf8_decode_to_replacements():
    codec = learn_codec(Bytes(kind="bytes"), [], "source")
    assert codec.port.size == 260
    assert codec.decode([4 + 0xC3, 4 + 0x41]) == "\ufffdA"
    assert codec.pieces([4 + 0x41, 4 + 0x0A]) == ["A", "<0x0A>"]


def test_values_that_cannot_be_encoded_are_not_learnt_from():
    codec = learn_codec(Characters(kind="characters"), ["ab", "c\ud800"], "source")
    assert codec.port.size == 6


def test_a_vocabulary_refuses_a_symbol_twice():
    with pytest.raises(DataError, match="'a' is there twice"):
        Vocabulary(["a", "b", "a"])


def test_most_frequent_cuts_in_a_stable_order():
    from collections import Counter

    assert most_frequent(Counter({"b": 2, "a": 2, "c": 3, "d": 1}), min_count=2, size=6) == ["c", "a"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read as a codec"),
        ("[]", "expected a codec of format 1, found None"),
        ('{"format": 9}', "expected a codec of format 1, found 9"),
        ('{"format": 1}', "not a complete codec"),
        ('{"format": 1, "codec": {"kind": "runes"}, "features": []}', "not a complete codec"),
        ('{"format": 1, "codec": {"kind": "characters"}, "features": []}', "symbols"),
        ('{"format": 1, "codec": {"kind": "characters"}, "features": [], "symbols": [1]}', "list of strings"),
        ('{"format": 1, "codec": {"kind": "bpe"}, "features": []}', "subwords.model"),
    ],
)
def test_what_is_no_codec_is_refused(tmp_path, content, complaint):
    (tmp_path / "codec.json").write_text(content)
    with pytest.raises(DataError, match=complaint):
        load_codec(tmp_path)


def test_a_missing_codec_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a codec"):
        load_codec(tmp_path / "nothing")


def test_the_file_of_a_codec_can_be_read_by_people(tmp_path):
    learn_codec(Characters(kind="characters", features=";"), ["é\tV"], "source").save(tmp_path)
    content = json.loads((tmp_path / "codec.json").read_text(encoding="utf-8"))
    assert content["symbols"] == ["é"]
    assert content["features"] == ["V"]
