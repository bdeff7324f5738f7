"""The chosen answer has the highest expected utility, in any batch, with any number of workers."""

import random

import pytest
from sacrebleu.metrics.chrf import CHRF

from dragoman.decoding.decode import decode
from dragoman.decoding.mbr import drawing, most_agreed, searching
from dragoman.recipe.decoding import Beam, Mbr
from dragoman.records import Example, Hypothesis

SECTION = Mbr(method="mbr", samples=8, nbest=3, max_length=8)


def words(count, seed=0):
    numbers = random.Random(seed)
    return [Example("".join(numbers.choices("abcdefgh", k=numbers.randint(1, 9)))) for _ in range(count)]


def essence(predictions):
    return [(one.values, [answer.tokens for answer in one.hypotheses]) for one in predictions]


def test_the_answer_is_the_sample_that_all_samples_like_best(bundle_of):
    bundle, metric = bundle_of(), CHRF()
    section = SECTION.model_copy(update={"nbest": 1})
    drawn = decode(bundle, words(10), drawing(section))
    for samples, one in zip(drawn, decode(bundle, words(10), section), strict=True):
        expected = {
            (finished.is_finished, text): sum(metric.sentence_score(text, [v]).score for v in samples.values)
            for text, finished in zip(samples.values, samples.hypotheses, strict=True)
        }
        best = max(expected, key=lambda key: (key[0], expected[key]))
        assert one.hypotheses[0].score == pytest.approx(expected[best] / 800, abs=1e-6)
        assert expected[one.hypotheses[0].is_finished, one.values[0]] == pytest.approx(expected[best])


@pytest.mark.parametrize("beam", [0, 3])
def test_what_comes_out_does_not_depend_on_batches_or_workers(bundle_of, beam):
    bundle, section = bundle_of(), SECTION.model_copy(update={"beam": beam})
    together = list(decode(bundle, words(20), section))
    assert len({one.values[0] for one in together}) > 5
    assert essence(decode(bundle, words(20), section.model_copy(update={"batch_tokens": 1}))) == essence(
        together
    )
    assert essence(decode(bundle, words(20), section, workers=2)) == essence(together)
    other = section.model_copy(update={"seed": 2})
    assert essence(decode(bundle, words(20), other)) != essence(together)


def test_candidates_may_come_from_a_beam_alone(bundle_of):
    section = SECTION.model_copy(update={"candidates": 0, "beam": 4})
    searched = decode(bundle_of(), words(5), Beam(method="beam", beam=4, nbest=4, max_length=8))
    for hypotheses, one in zip(searched, decode(bundle_of(), words(5), section), strict=True):
        assert set(one.values) <= set(hypotheses.values)


def hypothesis(score, is_finished=True):
    return Hypothesis((4,), (score,), score, is_finished)


def test_every_sample_counts_once_and_no_text_comes_twice():
    section = Mbr(method="mbr", samples=4, candidates=3, beam=1, nbest=4, utility="exact_match")
    found = [hypothesis(-1), hypothesis(-2), hypothesis(-3), hypothesis(-4, False), hypothesis(-5)]
    chosen = most_agreed(section, found, ["a", "b", "b", "c", "c"])
    assert [(text, one.score) for one, text in chosen] == [("b", 0.5), ("a", 0.25), ("c", 0.25)]
    assert chosen[0][0].log_probs == (-2,)
    cut = [
        hypothesis(-1, False),
        hypothesis(-2),
        hypothesis(-3, False),
        hypothesis(-4, False),
        hypothesis(-9),
    ]
    assert [text for _, text in most_agreed(section, cut, ["a", "b", "a", "a", "b"])] == ["b", "a"]


def test_samples_and_beam_keep_to_the_limits():
    section = Mbr(
        method="mbr", beam=2, max_length=7, min_length=2, temperature=0.5, seed=9, no_repeat_ngram=3
    )
    draws, beam = drawing(section), searching(section)
    assert (draws.samples, draws.temperature, draws.epsilon, draws.seed) == (32, 0.5, 0.02, 9)
    for one in (draws, beam):
        assert (one.max_length, one.min_length, one.no_repeat_ngram) == (7, 2, 3)
    assert (beam.beam, beam.nbest) == (2, 2)
    assert searching(Mbr(method="mbr")) is None
