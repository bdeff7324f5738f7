"""How well words are written by how often the training data have them (compare-mt, Neubig et al. 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EDGES = (0, 1, 2, 5, 10, 100, 1000)
"""The least training count of each bucket of words."""


@dataclass(frozen=True, slots=True)
class FrequencyBucket:
    """Words that stand `low` to `high` times (None: no end) in the training data, counted over all examples.

    `wanted` of them stand in references, `written` in answers; `matched` stand in both sides of an example.
    """

    low: int
    high: int | None
    wanted: int
    written: int
    matched: int

    @property
    def precision(self) -> float:
        """The share of written words that were wanted; 0 where none was written."""
        return self.matched / self.written if self.written else 0.0

    @property
    def recall(self) -> float:
        """The share of wanted words that were written; 0 where none was wanted."""
        return self.matched / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        words = self.wanted + self.written
        return 2 * self.matched / words if words else 0.0


def accuracy_by_frequency(
    answers: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    frequencies: Mapping[str, int],
    edges: Sequence[int] = EDGES,
) -> tuple[FrequencyBucket, ...]:
    """Count matches of words, without their order, by training frequency; buckets without words are left out.

    A word counts as often as it stands on both sides of an example.
    """
    wanted, written, matched = Counter[int](), Counter[int](), Counter[int]()
    for answer, reference in zip(answers, references, strict=True):
        ours, theirs = Counter(answer), Counter(reference)
        for counts, total in ((theirs, wanted), (ours, written), (ours & theirs, matched)):
            for word, count in counts.items():
                total[bucket_of(frequencies.get(word, 0), edges)] += count
    return tuple(
        FrequencyBucket(*range_of(number, edges), wanted[number], written[number], matched[number])
        for number in range(len(edges))
        if wanted[number] or written[number]
    )


def bucket_of(count: int, edges: Sequence[int] = EDGES) -> int:
    """Return the number of the bucket that a training count falls into."""
    return max(number for number, edge in enumerate(edges) if edge <= count)


def range_of(number: int, edges: Sequence[int] = EDGES) -> tuple[int, int | None]:
    """Return the least and the largest training count of a bucket."""
    return edges[number], edges[number + 1] - 1 if number + 1 < len(edges) else None


def rarest(words: Sequence[str], frequencies: Mapping[str, int]) -> int | None:
    """Return the training count of the rarest of some words; None where there are none."""
    return min((frequencies.get(word, 0) for word in words), default=None)
