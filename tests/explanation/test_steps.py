"""What a step chose from: probabilities that scoring knows, and a vocabulary that sums to one."""

import math

import numpy as np
import pytest
import torch

from dragoman.decoding.rules import NEVER_WRITTEN
from dragoman.decoding.score import score
from dragoman.errors import UserError
from dragoman.explanation.foils import foils_of
from dragoman.explanation.steps import log_probs_of, step_choices
from dragoman.explanation.subject import END_LABEL, subject_of
from dragoman.records import Example


def test_choices_are_what_scoring_finds_among_all_tokens(made):
    bundle, example = made(), Example("ein Hund", ("DIE",))
    (scored,) = score(bundle, [example])
    subject = subject_of(bundle, example, "DIE")
    size = bundle.codecs.target.port.size
    choices = step_choices(subject, size)
    np.testing.assert_allclose([one.log_prob for one in choices], scored.targets[0].log_probs)
    assert [one.piece for one in choices] == ["D", "I", "E", END_LABEL]
    np.testing.assert_allclose(log_probs_of(subject).exp().sum(1), 1)
    unwritten = log_probs_of(subject)[:, list(NEVER_WRITTEN)].exp().sum(1)
    for one, rest in zip(choices, unwritten.tolist(), strict=True):
        others = [other.log_prob for other in one.alternatives]
        assert len(others) == size - 1 - len(NEVER_WRITTEN)
        assert others == sorted(others, reverse=True)
        assert one.rank == 1 + sum(other > one.log_prob for other in others)
        assert math.exp(one.log_prob) + sum(map(math.exp, others)) + rest == pytest.approx(1)
        assert one.piece not in [other.piece for other in one.alternatives]
    assert END_LABEL in [other.piece for other in choices[0].alternatives]


def test_a_greedy_answer_is_first_everywhere_and_few_alternatives_are_the_best(made):
    subject = subject_of(made(), Example("ein Hund"))
    for few, many in zip(step_choices(subject, 2), step_choices(subject), strict=True):
        assert few.rank == 1
        assert few.alternatives == many.alternatives[:2]
        assert len(many.alternatives) == 5


def test_what_no_search_writes_is_no_alternative_has_no_rank_and_is_no_foil(made):
    bundle = made()
    with torch.no_grad():
        bias = next(
            weight
            for name, weight in bundle.model.named_parameters()
            if name.endswith("bias") and len(weight) == bundle.codecs.target.port.size
        )
        bias[list(NEVER_WRITTEN)] += 50
    subject = subject_of(bundle, Example("ein Hund"), "DIE")
    assert set(log_probs_of(subject).argmax(1).tolist()) <= set(NEVER_WRITTEN)
    names = set(bundle.codecs.target.pieces(NEVER_WRITTEN))
    for one in step_choices(subject, 100):
        assert not names & {other.piece for other in one.alternatives}
        assert one.rank <= len(one.alternatives) + 1
    assert not {foil.other for foil in foils_of(subject, None, None)} & set(NEVER_WRITTEN)
    unknown = step_choices(subject_of(bundle, Example("ein Hund"), "9"))[0]
    assert unknown.rank == 1 and len(unknown.alternatives) == 5


def test_numbers_ctc_and_negative_counts_are_refused(made, series_made, speech_made):
    numbers, window = series_made()
    with pytest.raises(UserError, match="answers of numbers are not chosen token by token"):
        step_choices(subject_of(numbers, window))
    ctc, sound = speech_made(None)
    with pytest.raises(UserError, match="answers of CTC without a decoder .* would do|answers of CTC"):
        step_choices(subject_of(ctc, sound, "one two"))
    with pytest.raises(UserError, match="expected 0 alternatives or more, found -1"):
        step_choices(subject_of(made(), Example("ein")), -1)
