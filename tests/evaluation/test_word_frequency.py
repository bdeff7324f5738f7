"""Accuracy of words by how often training has them."""

import pytest

from dragoman.evaluation.word_frequency import (
    FrequencyBucket,
    accuracy_by_frequency,
    bucket_of,
    range_of,
    rarest,
)

COUNTS = {"the": 50, "dog": 3, "cat": 4}


def test_words_are_counted_as_often_as_both_sides_have_them():
    answers = [["the", "the", "dog"], ["a", "cat"]]
    references = [["the", "dog", "dog"], ["the", "cat"]]
    found = accuracy_by_frequency(answers, references, COUNTS, (0, 1, 10))
    assert found == (
        FrequencyBucket(0, 0, wanted=0, written=1, matched=0),
        FrequencyBucket(1, 9, wanted=3, written=2, matched=2),
        FrequencyBucket(10, None, wanted=2, written=2, matched=1),
    )
    assert [one.precision for one in found] == [0, 1, 0.5]
    assert [one.recall for one in found] == [0, pytest.approx(2 / 3), 0.5]
    assert found[1].f1 == pytest.approx(0.8)


def test_order_makes_no_difference_and_the_same_text_is_all_right():
    words = ["the", "dog", "saw", "a", "cat"]
    for one in accuracy_by_frequency([words[::-1]], [words], COUNTS):
        assert one.precision == one.recall == one.f1 == 1


def test_buckets_reach_to_where_the_next_begins():
    edges = (0, 1, 5)
    assert [bucket_of(count, edges) for count in (0, 1, 4, 5, 900)] == [0, 1, 1, 2, 2]
    assert [range_of(number, edges) for number in range(3)] == [(0, 0), (1, 4), (5, None)]


def test_the_rarest_word_may_be_unknown():
    assert rarest(["the", "dog"], COUNTS) == 3
    assert rarest(["the", "bird"], COUNTS) == 0
    assert rarest([], COUNTS) is None
