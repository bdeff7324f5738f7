"""ROUGE by hand: golden values are worked out in the comments beside them."""

import pytest

from dragoman.evaluation.rouge import rouge

CASES = [
    # 5 of 6 words shared on both sides; bigrams "the cat", "on the", "the mat"; longest: "the cat on the mat"
    ("the cat sat on the mat", "the cat lay on the mat", (5 / 6, 3 / 5, 5 / 6)),
    # counts are clipped: the answer's third "the" finds no partner; 2 · 2 / (3 + 2)
    ("the the the", "the the", (4 / 5, 2 / 3, 4 / 5)),
    # same words, other order: the longest common subsequence is one of 3
    ("a b c", "c b a", (1.0, 0.0, 1 / 3)),
    # punctuation and case are no words, underscores and hyphens part them
    ("Hello, WORLD-wide_web!", "hello world wide web", (1.0, 1.0, 1.0)),
    ("one", "one", (1.0, 0.0, 1.0)),  # no bigrams at all
    ("", "something", (0.0, 0.0, 0.0)),
    ("...", "...", (0.0, 0.0, 0.0)),  # no words, nothing to agree on
]


@pytest.mark.parametrize(("answer", "reference", "expected"), CASES)
def test_golden_values(answer, reference, expected):
    found = [rouge(kind, answer, [reference]) for kind in ("rouge1", "rouge2", "rougeL")]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_the_best_reference_counts(kind):
    references = ["nothing alike", "the cat lay on the mat", ""]
    assert rouge(kind, "the cat lay on the mat", references) == 1.0


def test_other_scripts_have_words_too():
    assert rouge("rouge1", "Übergröße", ["übergröße"]) == 1.0
    assert rouge("rouge1", "кошка спит", ["кошка ест"]) == 0.5
    assert (
        rouge("rouge1", "हिन्दी भाषा", ["हिन्दी लिपि"]) == 0.5
    )  # vowel signs are combining marks and part no word


def test_precision_and_recall_are_both_in_it():
    # precision 2/2, recall 2/4: F1 is 2 · 1 · 0.5 / 1.5
    assert rouge("rouge1", "a b", ["a b c d"]) == pytest.approx(2 / 3) == rouge("rouge1", "a b c d", ["a b"])
