"""The order of an epoch: a pure function of the seed, the epoch and the window.

Every corpus is shown round(weight x entries) times an epoch: these showings, numbered through all corpora,
are cut into blocks, the blocks are permuted, and a window takes a few of them. What stays in memory is the
permutation of blocks and one window, not the corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 2048
"""Showings that stay together through the permutation: neighbours on the disk, read together."""
WINDOW_BLOCKS = 32
"""Blocks of a window, about: 65,536 showings are sorted by length together."""


@dataclass(frozen=True)
class Showings:
    """What an epoch shows: corpora of the given sizes, side by side in the store, by the given weights."""

    corpus_sizes: Sequence[int]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        """Hold both lists to one length."""
        assert len(self.corpus_sizes) == len(self.weights)

    @property
    def counts(self) -> list[int]:
        """How many showings each corpus has in an epoch; at least one, unless it is empty."""
        pairs = zip(self.corpus_sizes, self.weights, strict=True)
        return [max(1, round(weight * size)) if size else 0 for size, weight in pairs]

    @property
    def total(self) -> int:
        """How many showings an epoch has."""
        return sum(self.counts)

    @property
    def windows(self) -> int:
        """How many windows an epoch has."""
        return max(1, round(self._blocks / WINDOW_BLOCKS))

    @property
    def _blocks(self) -> int:
        return -(-self.total // BLOCK)

    def blocks_of(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the permuted blocks of an epoch."""
        return shuffled(self._blocks, seed, epoch)

    def window(self, blocks: NDArray[np.int64], window: int) -> NDArray[np.int64]:
        """Return the showings of a window, unsorted, given the permuted blocks of its epoch."""
        first, last = (index * self._blocks // self.windows for index in (window, window + 1))
        starts = blocks[first:last, None] * BLOCK
        showings = (starts + np.arange(BLOCK)).ravel()
        return showings[showings < self.total]

    def entries(self, showings: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the entry of the store that each showing shows.

        Showing v of m of a corpus of n is its entry (epoch x m + v) mod n: a weight of 0.5 shows halves in
        turns.
        """
        counts = np.array(self.counts, dtype=np.int64)
        sizes = np.array(self.corpus_sizes, dtype=np.int64)
        ends = np.cumsum(counts)
        corpus = np.searchsorted(ends, showings, side="right")
        within = showings - (ends - counts)[corpus]
        # Reduced first, because epoch x m would overflow in runs that never end.
        begun = np.array(
            [epoch * m % n if n else 0 for m, n in zip(self.counts, self.corpus_sizes, strict=True)]
        )
        return (begun[corpus] + within) % sizes[corpus] + (np.cumsum(sizes) - sizes)[corpus]


def shuffled(count: int, *key: int) -> NDArray[np.int64]:
    """Return a permutation of the key alone, in every version of numpy: Philox (Salmon et al. 2011)."""
    return np.argsort(_raw(count, key), kind="stable")


def noise(count: int, *key: int) -> NDArray[np.float64]:
    """Return numbers from 0 up to 1 that depend on the key alone."""
    return (_raw(count, key) >> np.uint64(11)) / float(2**53)


def digest_of(key: tuple[int, ...], size_bytes: int) -> int:
    """Return a hash of several numbers, as one number of that many bytes."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=size_bytes).digest(), "little")


def _raw(count: int, key: tuple[int, ...]) -> NDArray[np.uint64]:
    # Raw bits, because numpy promises them for good, while its shuffles and floats may change with a version.
    # Hashed by us, because numpy's SeedSequence takes (1, 0) and (1, 0, 0) for the same.
    return np.random.Philox(key=digest_of(key, 16)).random_raw(count)
