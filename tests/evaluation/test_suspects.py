"""Each rule fires on what it is for, and on nothing else."""

import math

import pytest

from dragoman.evaluation.suspects import repeated, repetition, suspects

PLAIN = [f"w{n} x{n} y{n} z{n} v{n}".split() for n in range(20)]
SOURCES = [f"source {n}" for n in range(20)]


def fired(answers, references=None, lengths=None, gains=(), sources=SOURCES):
    found = suspects(sources, lengths or [5] * len(answers), "word", answers, references or PLAIN, gains)
    return {one.number: [reason.rule for reason in one.reasons] for one in found}


def changed(number, words):
    return [words if place == number else answer for place, answer in enumerate(PLAIN)]


def test_right_answers_are_not_suspect():
    assert fired(PLAIN) == {}


def test_repetitions_are_runs_that_came_before():
    assert repeated(["a", "b", "c", "a", "b", "c"]) == 1
    assert repeated(["a", "a", "a", "a", "a"]) == 2
    assert repeated(["a", "b"]) == 0
    found = repetition([["a", "b", "c", "a", "b", "c"]], [["a", "b", "c", "d"]])
    assert (found.answers, found.references) == (0.25, 0)


def test_an_answer_that_repeats_itself_is_suspect_unless_the_reference_does():
    loop = ["a", "b", "c", "d", "a", "b", "c", "d"]
    assert "repeats itself" in fired(changed(3, loop), lengths=[5] * 3 + [8] + [5] * 16)[3]
    both = changed(3, loop)
    assert fired(both, references=both, lengths=[5] * 3 + [8] + [5] * 16) == {}


@pytest.mark.parametrize(("length", "rule"), [(0, "too short"), (1, "too short"), (30, "too long")])
def test_lengths_far_from_what_is_usual_are_suspect(length, rule):
    assert fired(changed(7, [f"q{n}" for n in range(length)])) == {7: [rule]}


def test_a_word_more_is_no_outlier():
    assert fired(changed(7, [*PLAIN[7], "more"])) == {}


def test_one_answer_to_different_questions_is_suspect():
    answers = changed(4, PLAIN[9])
    assert fired(answers) == {4: ["same answer"], 9: ["same answer"]}
    assert fired(answers, references=answers) == {}, "they are said to be the same"
    same = ["source 9" if number == 4 else source for number, source in enumerate(SOURCES)]
    assert fired(answers, sources=same) == {}, "it was one question"


def test_an_answer_that_its_source_adds_nothing_to_is_suspect():
    gains = [2.0] * 20
    gains[5], gains[6] = 0.1, math.nan
    assert fired(PLAIN, gains=gains) == {5: ["hardly of this source"]}


def test_most_rules_come_first():
    answers = changed(7, ["a", "b", "c", "d"] * 5)
    answers[2] = []
    found = suspects(SOURCES, [5] * 20, "word", answers, PLAIN)
    assert [(one.number, len(one.reasons)) for one in found] == [(7, 2), (2, 1)]
    assert found[0].reasons[1].seen == "4 words for each word of the source, 1 are usual"
