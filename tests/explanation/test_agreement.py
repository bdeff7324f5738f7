"""Rank correlations by hand, and a model that has learnt nothing."""

import numpy as np
import pytest
import torch

from dragoman.data.codec import ports_of
from dragoman.errors import UserError
from dragoman.explanation.agreement import agreement, randomised
from dragoman.explanation.attribution import Attribution, attribute
from dragoman.explanation.subject import subject_of
from dragoman.model.build import build_model
from dragoman.records import Example


def given(*rows):
    return Attribution("occlusion", np.array(rows, float), True)


def test_correlations_are_those_of_ranks_of_sizes():
    one, other = given([1, 2, 3, 4]), given([-10, 30, -20, 40])
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    np.testing.assert_allclose(agreement([one, other]), [[1, 0.8], [0.8, 1]])
    np.testing.assert_allclose(agreement([one, given([4, 3, 2, 1])])[0, 1], -1)


def test_equal_weights_share_ranks_and_steps_without_ranks_are_left_out():
    # Ranks 1.5 1.5 3 and 1 2 3: cov 0.5, deviations sqrt(0.5) and sqrt(2 / 3)
    found = agreement([given([1, 1, 5]), given([1, 2, 3])])[0, 1]
    assert found == pytest.approx(0.5 / np.sqrt(0.5 * 2 / 3))
    two = agreement([given([1, 1, 5], [7, 7, 7]), given([1, 2, 3], [3, 2, 1])])[0, 1]
    assert two == pytest.approx(found)
    assert np.isnan(agreement([given([1, 1]), given([1, 2])])[0, 1])


def test_target_steps_count_alike():
    found = agreement([given([1, 2, 3], [1, 2, 3]), given([1, 2, 3], [3, 2, 1])])
    assert found[0, 1] == pytest.approx(0)


def test_attributions_of_different_steps_are_refused():
    with pytest.raises(UserError, match="attributions of 1 × 3 and 2 × 3 steps cannot be compared"):
        agreement([given([1, 2, 3]), given([1, 2, 3], [1, 2, 3])])


def test_fresh_weights_leave_the_model_the_generator_and_other_answers_alone(made):
    subject = subject_of(made(), Example("ein Hund"), "DIE")
    methods = [attribute(subject, "occlusion"), attribute(subject, "attention")]
    weights = [weight.clone() for weight in subject.bundle.model.parameters()]
    state = torch.get_rng_state()
    found = randomised(subject, methods)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, weights, subject.bundle.model.parameters()))
    assert set(found) == {"occlusion", "attention"}
    assert all(-1 <= value < 1 for value in found.values())
    assert randomised(subject, methods) == found
    assert randomised(subject, methods, seeds=[7]) != found


def test_the_same_weights_say_the_same(made):
    subject = subject_of(made(), Example("ein Hund"), "DIE")
    torch.manual_seed(5)
    recipe = subject.bundle.recipe
    fresh = build_model(
        recipe.model, *ports_of(recipe, subject.bundle.codecs), recipe.training.objective
    ).double()
    subject.bundle.model.load_state_dict(fresh.state_dict())
    assert randomised(subject, [attribute(subject, "occlusion")], seeds=[5])["occlusion"] == pytest.approx(1)
