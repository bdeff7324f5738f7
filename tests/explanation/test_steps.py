"""What a step chose from: probabilities that scoring knows, and a vocabulary that sums to one."""

import math

import numpy as np
import pytest

from dragoman.decoding.score import score
from dragoman.errors import UserError
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
    for one in choices:
        others = [other.log_prob for other in one.alternatives]
        assert len(others) == size - 1
        assert others == sorted(others, reverse=True)
        assert one.rank == 1 + sum(other > one.log_prob for other in others)
        assert math.exp(one.log_prob) + sum(map(math.exp, others)) == pytest.approx(1)
        assert one.piece not in [other.piece for other in one.alternatives]
    assert END_LABEL in [other.piece for other in choices[0].alternatives]


def test_a_greedy_answer_is_first_everywhere_and_few_alternatives_are_the_best(made):
    subject = subject_of(made(), Example("ein Hund"))
    for few, many in zip(step_choices(subject, 2), step_choices(subject), strict=True):
        assert few.rank == 1
        assert few.alternatives == many.alternatives[:2]
        assert len(many.alternatives) == 5


def test_numbers_ctc_and_negative_counts_are_refused(made, series_made, speech_made):
    numbers, window = series_made()
    with pytest.raises(UserError, match="answers of numbers are not chosen token by token"):
        step_choices(subject_of(numbers, window))
    ctc, sound = speech_made(None)
    with pytest.raises(UserError, match="answers of CTC without a decoder .* would do|answers of CTC"):
        step_choices(subject_of(ctc, sound, "one two"))
    with pytest.raises(UserError, match="expected 0 alternatives or more, found -1"):
        step_choices(subject_of(made(), Example("ein")), -1)
