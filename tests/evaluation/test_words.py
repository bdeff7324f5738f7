"""Texts as words, and which of them are right."""

import pytest

from dragoman.evaluation.word_matches import Confusion, closest, confusions, right_places
from dragoman.evaluation.words import cut_of, plain_words
from dragoman.recipe.data import Characters, Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ein Hund, der läuft.", ["Ein", "Hund", ",", "der", "läuft", "."]),
        ("(a-b)", ["(", "a", "-", "b", ")"]),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा", "।"]),
        ("我喜欢 cats", ["我", "喜", "欢", "cats"]),
        (" \n ", []),
    ],
)
def test_text_is_cut_at_spaces_and_punctuation(text, words):
    assert plain_words(text) == words


def test_a_codec_of_words_cuts_its_own_way():
    assert cut_of(Words(kind="words", separator="|"))("t͡ʃ|a b||c.") == ["t͡ʃ", "a b", "c."]
    assert cut_of(Characters(kind="characters"))("a b.") == ["a", "b", "."]


def test_right_is_what_edits_leave_alone():
    assert right_places(["a", "b", "c", "d"], ["a", "x", "c", "d", "e"]) == [True, False, True, True]
    assert right_places([], ["a"]) == []
    assert right_places(["a"], []) == [False]


def test_the_closest_reference_is_the_first_of_the_fewest_edits():
    assert closest(["a", "b"], [["x", "y"], ["a", "c"], ["c", "b"]]) == 1


def test_edits_are_counted_by_kind():
    answers = [["six", "two"], ["six", "two"], ["one", "one"], ["nine"]]
    wanted = [["eight", "two"], ["eight", "two"], ["one"], ["nine", "four"]]
    found = confusions(answers, wanted)
    assert found == (Confusion("eight", "six", 2), Confusion("", "one", 1), Confusion("four", "", 1))
    assert confusions(answers, wanted, most=0) == ()
