"""Scores of groups of examples: those alike in length, duration, rarity or confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dragoman.evaluation.metrics import Score, Statistics, scored
from dragoman.recipe.metrics import Evaluation

FEWEST = 5
"""A score of fewer examples than these says nothing of others."""


@dataclass(frozen=True, slots=True)
class Range:
    """Examples, by their numbers, whose value lies from `low` to `high`, both within."""

    low: float
    high: float
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupScores:
    """A group by its name, how many examples it has, and the score of each metric with its interval."""

    name: str
    examples: int
    scores: tuple[Score, ...]


def ranges(values: Sequence[float], groups: int = 5) -> tuple[Range, ...]:
    """Cut examples into ranges about equally large; equal values stay together, NaN is left out."""
    order = sorted(
        (number for number, value in enumerate(values) if not math.isnan(value)), key=values.__getitem__
    )
    found: list[Range] = []
    begin = 0
    for group in range(1, groups + 1):
        end = round(group * len(order) / groups)
        while 0 < end < len(order) and values[order[end]] == values[order[end - 1]]:
            end += 1
        if end > begin:
            members = order[begin:end]
            found.append(Range(values[members[0]], values[members[-1]], tuple(sorted(members))))
            begin = end
    return tuple(found)


def scores_of_ranges(
    statistics: Sequence[Statistics],
    found: Sequence[Range],
    evaluation: Evaluation,
    name: Callable[[float, float], str],
) -> tuple[GroupScores, ...]:
    """Score each range by every metric; ranges of too few examples are left out."""
    return tuple(
        scores_of_group(name(one.low, one.high), statistics, one.numbers, evaluation)
        for one in found
        if len(one.numbers) >= FEWEST
    )


def scores_of_group(
    name: str, statistics: Sequence[Statistics], numbers: Sequence[int], evaluation: Evaluation
) -> GroupScores:
    """Score some examples by every metric, each with its interval."""
    return GroupScores(name, len(numbers), tuple(scored(one.of(numbers), evaluation) for one in statistics))
