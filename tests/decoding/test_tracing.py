"""What a search considered is written down, and writing it down changes nothing."""

import math

import pytest

from dragoman.decoding.search import FAILED, search
from dragoman.decoding.tracing import Trace
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.records import BOS, EOS, PAD, UNKNOWN

SIZE = 8
METHODS = [
    Greedy(method="greedy", max_length=6),
    Beam(method="beam", beam=1, max_length=6),
    Beam(method="beam", beam=4, nbest=3, max_length=6),
    Sample(method="sample", samples=3, max_length=6),
]


@pytest.fixture(params=range(4))
def model(request, fake):
    return fake.TableModel(fake.random_table(SIZE, request.param), SIZE)


def traced(model, fake, section, others=3):
    trace = Trace(others)
    return search(model, fake.sources(0), section, trace=trace)[0], trace


@pytest.mark.parametrize("section", METHODS, ids=lambda section: section.method)
def test_a_trace_changes_no_answer_and_has_all_of_them(model, fake, section):
    answers, trace = traced(model, fake, section)
    assert answers == search(model, fake.sources(0), section)[0]
    assert set(answers) <= set(trace.ended)
    chosen = {one.tokens: one for step in trace.steps for one in step if one.is_chosen}
    for answer in trace.ended:
        for end in range(1, len(answer.tokens) + 1):
            one = chosen[answer.tokens[:end]]
            assert one.log_prob == pytest.approx(answer.log_probs[end - 1], abs=1e-12)
            assert one.total == pytest.approx(sum(answer.log_probs[:end]), abs=1e-12)


@pytest.mark.parametrize("section", METHODS[:3], ids=lambda section: section.method)
def test_what_was_not_chosen_is_the_best_of_the_rest(model, fake, section):
    _, trace = traced(model, fake, section, others=SIZE**2)
    grown = {(): 0.0}
    width = section.beam if isinstance(section, Beam) else 1
    for step in trace.steps:
        possible = {
            (*tokens, token): total + model_log_prob(model, tokens, token)
            for tokens, total in grown.items()
            for token in range(SIZE)
            if token not in (PAD, UNKNOWN, BOS)
        }
        assert {one.tokens: one.total for one in step} == pytest.approx(possible, abs=1e-9)
        chosen = [one for one in step if one.is_chosen]
        assert len(chosen) == min(width, len(possible))
        passed_over = [one.total for one in step if not one.is_chosen]
        assert passed_over == sorted(passed_over, reverse=True)
        assert min(one.total for one in chosen) >= max(passed_over)
        grown = {one.tokens: one.total for one in chosen if one.tokens[-1] != EOS}


def model_log_prob(model, tokens, token):
    logits = model.table(0, tokens)
    return logits[token] - math.log(sum(map(math.exp, logits)))


def test_few_others_are_kept_but_one_of_each_row_that_ends_there(model, fake):
    _, trace = traced(model, fake, METHODS[2], others=0)
    for before, step in zip(trace.steps, trace.steps[1:], strict=False):
        live = {one.tokens for one in before if one.is_chosen and one.tokens[-1] != EOS}
        continued = {one.tokens[:-1] for one in step if one.is_chosen}
        others = [one.tokens[:-1] for one in step if not one.is_chosen]
        assert sorted(others) == sorted(live - continued)


def test_a_source_without_probabilities_has_an_empty_trace(fake):
    broken = fake.TableModel(lambda source, prefix: [math.nan] * SIZE, SIZE)
    answers, trace = traced(broken, fake, METHODS[2])
    assert answers == (FAILED,)
    assert trace.ended == ()
    assert not any(trace.steps)


def test_a_trace_is_of_one_source(model, fake):
    with pytest.raises(ValueError, match="a trace is of one source, found 2"):
        search(model, fake.sources(0, 1), METHODS[0], trace=Trace())
