import math

import numpy as np
import pytest
import torch

from dragoman.decoding.sampling import draw, streams, uniform_runs, uniforms
from dragoman.recipe.decoding import Sample

GRID = 20_000


def shares(logits, **options):
    """How often each token is drawn when the uniform numbers are a fine grid: its exact probability."""
    points_B = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    logits_BV = torch.tensor(logits)[None].expand(GRID, -1)
    tokens_B = draw(logits_BV, points_B, Sample(method="sample", **options))
    return (tokens_B.bincount(minlength=len(logits)) / GRID).tolist()


def logits_of(*probabilities):
    return [math.log(value) if value else -math.inf for value in probabilities]


def test_tokens_are_drawn_as_often_as_they_are_probable():
    assert shares(logits_of(0.1, 0, 0.25, 0.6, 0.05)) == pytest.approx([0.1, 0, 0.25, 0.6, 0.05], abs=1e-4)


def test_what_is_forbidden_leaves_its_share_to_the_others():
    assert shares(logits_of(0, 0.2, 0.2, 0)) == pytest.approx([0, 0.5, 0.5, 0], abs=1e-4)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature_is_a_power_of_probabilities(temperature):
    wanted = np.array([0.1, 0.3, 0.6]) ** (1 / temperature)
    assert shares(logits_of(0.1, 0.3, 0.6), temperature=temperature) == pytest.approx(
        (wanted / wanted.sum()).tolist(), abs=1e-4
    )


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_no_temperature_is_too_low(temperature):
    assert shares([1.0, 3.0, 2.0, -math.inf], temperature=temperature) == [0, 1, 0, 0]


def test_top_k_keeps_the_k_most_probable():
    assert shares(logits_of(0.1, 0.5, 0.1, 0.3), top_k=2) == pytest.approx([0, 0.625, 0, 0.375], abs=1e-4)
    assert shares(logits_of(0.1, 0.5, 0.1, 0.3), top_k=3) == pytest.approx([1 / 9, 5 / 9, 0, 3 / 9], abs=1e-4)
    assert shares(logits_of(0.4, 0.6), top_k=9) == pytest.approx([0.4, 0.6], abs=1e-4)


def test_epsilon_cuts_off_the_improbable_but_never_all():
    probabilities = logits_of(0.3, 0.08, 0.5, 0.12)
    assert shares(probabilities, epsilon=0.1) == pytest.approx(
        [0.3 / 0.92, 0, 0.5 / 0.92, 0.12 / 0.92], abs=1e-4
    )
    assert shares(probabilities, epsilon=0.9) == [0, 0, 1, 0]
    assert shares(probabilities, epsilon=0.1, top_k=2) == pytest.approx([0.375, 0, 0.625, 0], abs=1e-4)
    assert shares(probabilities, epsilon=0.2, top_p=0.9) == pytest.approx([0.375, 0, 0.625, 0], abs=1e-4)
    flat = shares(logits_of(0.6, 0.3, 0.1), temperature=2.0, epsilon=0.15)
    weights = [0.6**0.5, 0.3**0.5, 0.1**0.5]
    assert flat == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-4)


def test_top_p_keeps_the_fewest_that_reach_it():
    probabilities = logits_of(0.3, 0.08, 0.5, 0.12)
    assert shares(probabilities, top_p=0.4) == [0, 0, 1, 0]
    assert shares(probabilities, top_p=0.6) == pytest.approx([0.375, 0, 0.625, 0], abs=1e-4)
    assert shares(probabilities, top_p=0.85) == pytest.approx(
        [0.3 / 0.92, 0, 0.5 / 0.92, 0.12 / 0.92], abs=1e-4
    )
    assert shares(probabilities, top_p=1e-9) == [0, 0, 1, 0]


def test_top_p_counts_after_top_k():
    # of 0.5 and 0.3 alone the first has 0.625
    assert shares(logits_of(0.3, 0.2, 0.5), top_k=2, top_p=0.6) == [0, 0, 1]


def test_ends_of_the_interval_are_tokens_that_can_be_drawn():
    points_B = torch.tensor([0.0, 1 - 2.0**-48], dtype=torch.float64)
    logits_BV = torch.tensor([logits_of(0, 0.3, 0.7, 0)] * 2)
    assert draw(logits_BV, points_B, Sample(method="sample")).tolist() == [1, 2]


def test_uniform_numbers_are_uniform_and_unrelated():
    grid = np.stack(
        [uniforms(streams(1, range(200), 20), step) for step in range(10)]
    )  # steps, inputs, samples
    assert grid.min() >= 0 and grid.max() < 1
    counts = np.bincount((grid.ravel() * 50).astype(int), minlength=50)
    assert ((counts - 800) ** 2 / 800).sum() < 100  # chi-square of 49 degrees of freedom: p < 1e-4
    for one, other in [(grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1]), (grid[..., 1:], grid[..., :-1])]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_a_number_depends_on_all_of_seed_key_sample_and_step_and_on_nothing_else():
    numbers = uniforms(streams(7, [10, 20, 30], 4), 5)
    assert np.array_equal(uniforms(streams(7, [30, 10], 2), 5), numbers[[2, 0], :2])
    others = [streams(8, [10, 20, 30], 4), streams(7, [11, 21, 31], 4)]
    for other in [uniforms(others[0], 5), uniforms(others[1], 5), uniforms(streams(7, [10, 20, 30], 4), 6)]:
        assert not np.isin(other, numbers).any()


def test_any_integer_is_a_seed_or_a_key():
    numbers = uniforms(streams(-1, [-5, 2**70 + 3, 0], 2), 0)
    assert len(np.unique(numbers)) == 6


def test_runs_are_the_numbers_of_their_steps():
    found = streams(7, [10, 20, 30], 4)
    runs = uniform_runs(found, 5, 3)
    assert runs.shape == (3, 4, 3)
    for place in range(3):
        assert np.array_equal(runs[..., place], uniforms(found, 5 + place))


def test_the_numbers_never_change():
    """Answers drawn with a seed are the same in every version."""
    assert uniforms(streams(1, [0], 2), 0).tolist() == [[0.40316737899609834, 0.2570160378561752]]


@pytest.mark.parametrize("scale", [0.1, 4.0])
def test_top_p_is_the_same_over_vocabularies_that_are_not_sorted_whole(scale):
    """With flat distributions the nucleus is larger than what is sorted first, with peaked ones smaller."""
    logits_BV = torch.randn(8, 1000, dtype=torch.float64) * scale
    points_B = torch.rand(8, dtype=torch.float64)
    section = Sample(method="sample", top_p=0.8)
    sorted_BV, tokens_BV = logits_BV.softmax(1).sort(dim=1, descending=True)
    sorted_BV = sorted_BV * (sorted_BV.cumsum(1) - sorted_BV < 0.8)
    ends_BV = sorted_BV.cumsum(1)
    places_B1 = (ends_BV <= points_B[:, None] * ends_BV[:, -1:]).sum(dim=1, keepdim=True)
    together_B = draw(logits_BV, points_B, section)
    assert together_B.tolist() == tokens_BV.gather(1, places_B1).flatten().tolist()
    assert [
        draw(logits_BV[[row]], points_B[[row]], section).item() for row in range(8)
    ] == together_B.tolist()
