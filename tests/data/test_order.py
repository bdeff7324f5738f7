from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.order import BLOCK, WINDOW_BLOCKS, Showings, noise, shuffled

property_test = settings(derandomize=True, deadline=None, max_examples=25)


def shown(showings, seed, epoch):
    """The entries of an epoch, window by window."""
    blocks = showings.blocks_of(seed, epoch)
    return [
        showings.entries(showings.window(blocks, window), epoch).tolist()
        for window in range(showings.windows)
    ]


def flat(windows):
    return [entry for window in windows for entry in window]


@property_test
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=4).filter(any),
    seed=st.integers(0, 2**64),
    epoch=st.integers(0, 10**6),
)
def test_with_weight_one_an_epoch_shows_every_entry_once(sizes, seed, epoch):
    showings = Showings(sizes, [1.0] * len(sizes))
    assert sorted(flat(shown(showings, seed, epoch))) == list(range(sum(sizes)))


@property_test
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=3),
    weights=st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    epoch=st.integers(0, 10**9),
)
def test_an_epoch_shows_each_corpus_by_its_weight_and_spreads_evenly(sizes, weights, epoch):
    showings = Showings(sizes, weights[: len(sizes)])
    counts = Counter(flat(shown(showings, 1, epoch)))
    start = 0
    for size, weight in zip(sizes, weights, strict=False):
        times = [counts[entry] for entry in range(start, start + size)]
        assert sum(times) == max(1, round(weight * size))
        assert max(times) - min(times) <= 1
        start += size


def test_half_a_weight_shows_halves_in_turns():
    showings = Showings([1000], [0.5])
    epochs = [set(flat(shown(showings, 3, epoch))) for epoch in range(4)]
    assert epochs[0] | epochs[1] == set(range(1000))
    assert not epochs[0] & epochs[1]
    assert epochs[2] == epochs[0]


def test_epochs_and_seeds_have_orders_of_their_own():
    blocks = Showings([1_000_000], [1.0])
    orders = [tuple(blocks.blocks_of(seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


@property_test
@given(total=st.integers(1, 2_000_000))
def test_windows_are_near_their_size(total):
    showings = Showings([total], [1.0])
    blocks = showings.blocks_of(1, 0)
    sizes = [len(showings.window(blocks, window)) for window in range(showings.windows)]
    assert sum(sizes) == total
    assert max(sizes) <= 1.5 * WINDOW_BLOCKS * BLOCK
    if len(sizes) > 1:
        assert min(sizes) >= 0.7 * WINDOW_BLOCKS * BLOCK - BLOCK


def test_a_billion_entries_cost_no_more_than_their_blocks():
    showings = Showings([10**9], [1.0])
    blocks = showings.blocks_of(1, 0)
    assert blocks.nbytes < 5_000_000
    window = showings.entries(showings.window(blocks, 7000), 0)
    assert len(set(window.tolist())) == len(window) == WINDOW_BLOCKS * BLOCK


def test_epochs_far_away_do_not_overflow():
    showings = Showings([10**9], [1.5])
    entries = showings.entries(np.arange(0, 10**9, 10**7), 10**15)
    assert ((entries >= 0) & (entries < 10**9)).all()


def test_random_numbers_stay_what_they_are():
    # Continuing a run needs the same numbers for good, under any version of numpy.
    assert shuffled(8, 1, 2, 3).tolist() == [1, 0, 5, 6, 3, 7, 2, 4]
    assert noise(2, 1, 2).tolist() == [0.5877490528953172, 0.5916877731798025]


def test_keys_of_different_length_are_different_keys():
    keys = [(1, 0), (1, 0, 0), (1,), (2**32 + 1,), (1, 1)]
    assert len({tuple(noise(3, *key)) for key in keys}) == len(keys)


def test_noise_is_even():
    numbers = noise(10_000, 5)
    assert 0 <= numbers.min() < numbers.max() < 1
    assert all(abs((numbers < edge).mean() - edge) < 0.02 for edge in (0.25, 0.5, 0.75))


def test_shuffling_is_even():
    places = np.array([shuffled(5, 9, key) for key in range(2000)])
    for row in places.T:
        assert np.abs(np.bincount(row, minlength=5) / 2000 - 0.2).max() < 0.05
