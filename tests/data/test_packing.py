import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.packing import fill, pack


def captions(pairs, seed=0):
    """Lengths as captions have them: 5 to 40 steps, targets about as long as sources."""
    numbers = np.random.default_rng(seed)
    sources = np.clip(numbers.normal(15, 5, pairs).round(), 5, 40).astype(np.int32)
    targets = np.clip((sources * numbers.normal(1.05, 0.15, pairs)).round(), 5, 40).astype(np.int32)
    return sources, targets


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=80),
    budget=st.integers(1, 400),
    seed=st.integers(0, 100),
)
def test_every_row_is_in_one_batch_and_no_batch_of_two_is_over_its_budget(lengths, budget, seed):
    sources, targets = np.array(lengths, dtype=np.int32).reshape(-1, 2).T
    jitter = np.random.default_rng(seed).uniform(-1, 1, (2, len(lengths)))
    batches = pack(sources, targets, budget, jitter)
    assert sorted(row for rows in batches for row in rows.tolist()) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(sources[rows].max(), targets[rows].max()) <= budget


def test_captions_fill_their_batches():
    sources, targets = captions(29_000)
    jitter = np.random.default_rng(1).uniform(-0.6, 0.6, (2, 29_000))
    batches = pack(sources, targets, 4096, jitter)
    assert fill(sources, targets, batches) > 0.95
    used = [len(rows) * max(sources[rows].max(), targets[rows].max()) for rows in batches]
    assert np.mean(used) > 0.9 * 4096


@pytest.mark.parametrize("pairs", [2000, 29_000])
def test_unrelated_lengths_fill_their_batches_too(pairs):
    numbers = np.random.default_rng(2)
    sources, targets = numbers.integers(5, 41, (2, pairs))
    batches = pack(sources, targets, 1024, np.zeros((2, pairs)))
    assert fill(sources, targets, batches) > 0.9


def test_one_length_fills_batches_whole():
    lengths = np.full(65_536, 20)
    batches = pack(lengths, lengths, 4000, np.zeros((2, 65_536)))
    assert fill(lengths, lengths, batches) == 1
    assert len(batches) <= 1.1 * 65_536 / 200


def test_a_row_over_the_budget_is_alone():
    sources = np.array([5, 5000, 5])
    batches = pack(sources, sources, 100, np.zeros((2, 3)))
    assert sorted(map(len, batches)) == [1, 2]


def test_fill_counts_both_sides():
    sources, targets = np.array([2, 4]), np.array([3, 3])
    assert fill(sources, targets, [np.array([0, 1])]) == 12 / 14
