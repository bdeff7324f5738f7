"""Which method of explanation to trust with a run's model, by some of its answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dragoman.bundle import Bundle
from dragoman.errors import DataError, UserError
from dragoman.evaluation.overlap import NotKnown
from dragoman.evaluation.speed import spread
from dragoman.explanation.attribution import Attribution, Method, attribute
from dragoman.explanation.explanation import GROUPS, Group
from dragoman.explanation.subject import Subject, subject_of
from dragoman.explanation.trust import Trust, mean_of, weigh
from dragoman.records import Prediction

EXAMPLES = 8
"""Answers that are looked at where nobody says how many."""
_POINTS, _ORDERS = 10, 8
"""Fewer of both than for one answer: what single answers say is averaged."""


@dataclass(frozen=True)
class Weighing:
    """On how many answers methods are weighed, none if 0, and which methods.

    After `seconds` no further answer is begun; without them the clock decides nothing.
    """

    examples: int = EXAMPLES
    methods: Sequence[Method] | Group = "quick"
    seconds: float | None = None


def weigh_run(
    bundle: Bundle, predictions: Sequence[Prediction], weighing: Weighing
) -> Trust | NotKnown | None:
    """Weigh methods on answers that are spread over all of them; None where none are asked for.

    Of a group of methods those are weighed that the first answer has; each answer has fresh weights of its
    own. What cannot be explained is passed over, and said. UserError for a method, asked for by name, that
    the model does not have.
    """
    if not weighing.examples:
        return None
    begin = time.perf_counter()
    found: list[Trust] = []
    chosen: tuple[Method, ...] = ()
    refused, reason, is_late = 0, "there is no answer to explain", False
    numbers, seconds = spread([one.example for one in predictions], weighing.examples), weighing.seconds
    for place in sorted(range(len(numbers)), key=_turned):
        is_late = seconds is not None and bool(found) and time.perf_counter() - begin > seconds
        if is_late:
            break
        prediction = predictions[numbers[place]]
        try:
            subject = subject_of(bundle, prediction.example, prediction.values[0])
        except (DataError, UserError) as fault:
            refused, reason = refused + 1, str(fault).splitlines()[0]
            continue
        if not chosen:
            attributions = _first(subject, weighing.methods)
            chosen = tuple(one.method for one in attributions)
        else:
            attributions = [attribute(subject, method) for method in chosen]
        found.append(weigh(subject, attributions, points=_POINTS, orders=_ORDERS, seeds=[len(found)]))
    if not found:
        return NotKnown(reason)
    why = [f"{refused:,} cannot be explained ({reason})"] if refused else []
    why += [f"after {seconds:g} seconds no further one was begun"] if is_late else []
    return replace(mean_of(found), left_out=_left_out(len(numbers), len(found), why))


def _left_out(chosen: int, found: int, why: Sequence[str]) -> str:
    """Say how many of the chosen answers were not weighed, and why."""
    return f"Of {chosen:,} that were chosen {chosen - found:,} are left out: {'; '.join(why)}." if why else ""


def _turned(place: int) -> str:
    """Return binary digits from the last on: in their order the first few places are spread, too."""
    return f"{place:064b}"[::-1]


def _first(subject: Subject, methods: Sequence[Method] | Group) -> list[Attribution]:
    """Attribute by methods that were named, or by those of a group that there are."""
    if not isinstance(methods, str):
        return [attribute(subject, method) for method in dict.fromkeys(methods)]
    found = []
    for method in GROUPS[methods]:
        try:
            found.append(attribute(subject, method))
        except UserError:
            continue  # a method that this model does not have
    return found
