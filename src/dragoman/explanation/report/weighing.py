"""Which method of explanation to trust with a run's model, by some of its answers."""

from __future__ import annotations

import time
from collections.abc import Sequence

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
_SECONDS = 60.0
"""When this long has passed no further answer is begun: long sounds and large models take their time."""
_POINTS, _ORDERS = 10, 8
"""Fewer of both than for one answer: what single answers say is averaged."""


def weigh_run(
    bundle: Bundle,
    predictions: Sequence[Prediction],
    count: int,
    methods: Sequence[Method] | Group = "quick",
    seconds: float = _SECONDS,
) -> Trust | NotKnown:
    """Weigh methods on `count` answers, spread over all of them, or on as many as some seconds allow.

    Of a group of methods those are weighed that the first answer has; each answer has fresh weights of its
    own. What cannot be explained is passed over. UserError for a method, asked for by name, that the model
    does not have.
    """
    begin = time.perf_counter()
    found: list[Trust] = []
    chosen: tuple[Method, ...] = ()
    reason = "there is no answer to explain"
    numbers = spread([one.example for one in predictions], count)
    for place in sorted(range(len(numbers)), key=_turned):
        if found and time.perf_counter() - begin > seconds:
            break
        prediction = predictions[numbers[place]]
        try:
            subject = subject_of(bundle, prediction.example, prediction.values[0])
        except (DataError, UserError) as fault:
            reason = str(fault).splitlines()[0]
            continue
        if not chosen:
            attributions = _first(subject, methods)
            chosen = tuple(one.method for one in attributions)
        else:
            attributions = [attribute(subject, method) for method in chosen]
        found.append(weigh(subject, attributions, points=_POINTS, orders=_ORDERS, seeds=[len(found)]))
    return mean_of(found) if found else NotKnown(reason)


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
