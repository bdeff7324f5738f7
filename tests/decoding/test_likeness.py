"""Utilities of all pairs at once are those of sacreBLEU and of error rates, pair by pair."""

import random

import pytest
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from dragoman.decoding.likeness import likeness


def some_texts(seed):
    numbers = random.Random(seed)
    words = ["ab", "a", "abab", "b,", "(c)", "ééé", "1,000", "the", "THE"]
    drawn = (" ".join(numbers.choices(words, k=numbers.randint(1, 9))) for _ in range(12))
    return [*dict.fromkeys(drawn), "", "a a a a a a", " x "]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("utility", "metric"), [("chrf", CHRF()), ("bleu", BLEU(effective_order=True))])
def test_chrf_and_bleu_are_those_of_sacrebleu(utility, metric, seed):
    texts = some_texts(seed)
    found = likeness(utility, texts)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            expected = metric.sentence_score(one, [other]).score / 100
            assert found[i, j] == pytest.approx(expected, abs=1e-6), (one, other)


@pytest.mark.parametrize(("utility", "units"), [("cer", list), ("wer", str.split)])
def test_error_rates_count_edits_over_the_length_of_the_right_one(utility, units):
    texts = some_texts(7)
    found = likeness(utility, texts)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            edits = Levenshtein.distance(units(one), units(other))
            assert found[i, j] == pytest.approx(1 - edits / max(1, len(units(other))))


def test_exact_match_is_one_or_nothing():
    assert likeness("exact_match", ["a", "b"]).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("utility", ["chrf", "bleu", "cer", "wer", "exact_match"])
def test_nothing_is_compared_with_nothing(utility):
    assert likeness(utility, [""]).shape == (1, 1)
