"""Examples that a report shows: the worst, some between and the best, each with what its answer came from.

Shapes: T target steps, P places of a source.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dragoman.bundle import Bundle
from dragoman.data.portable import shown
from dragoman.errors import DataError, UserError
from dragoman.evaluation.evaluate import Report
from dragoman.evaluation.forecasting import Numbers
from dragoman.evaluation.text_quality import TextQuality
from dragoman.explanation.attribution import Method, attribute
from dragoman.explanation.subject import Place, Subject, subject_of
from dragoman.records import Prediction, text_of

Rank = Literal["worst", "middling", "best"]


@dataclass(frozen=True, eq=False)
class ShownExample:
    """An example by its number from 0, its answer and references, its grade, and how sure its tokens are.

    `weights_P` say how much each of `places` of the source counts for the whole answer, the largest being 1,
    without signs. Both are empty where the answer cannot be explained.
    """

    rank: Rank
    number: int
    name: str
    source: str
    answer: str
    references: tuple[str, ...]
    grade: float
    sureness: float | None
    places: tuple[Place, ...]
    weights_P: Numbers


def shown_examples(
    bundle: Bundle, report: Report, quality: TextQuality, count: int, method: Method
) -> tuple[ShownExample, ...]:
    """Choose examples by their grades and explain their answers by a method; none is shown twice.

    Those between are spread over all whose grade is another. Of the best and worst the longest answers come
    first, which say more than short ones.
    """
    order = sorted(
        quality.order(), key=lambda number: (-_merit(quality, number), -len(_answer(report, number)))
    )
    best = order[:count]
    worst = sorted(
        order[count:], key=lambda number: (_merit(quality, number), -len(_answer(report, number)))
    )[:count]
    ends = {_merit(quality, number) for number in (*best, *worst)}
    rest = [number for number in order if _merit(quality, number) not in ends]
    steps = min(count, len(rest))
    middling = [rest[(2 * step + 1) * len(rest) // (2 * steps)] for step in range(steps)]
    ranked: list[tuple[Rank, list[int]]] = [("worst", worst), ("middling", middling), ("best", best)]
    return tuple(
        _shown(bundle, report, quality, rank, number, method)
        for rank, numbers in ranked
        for number in numbers
    )


def _merit(quality: TextQuality, number: int) -> float:
    return quality.scores[number] * (1 if quality.telling.higher_is_better else -1)


def _answer(report: Report, number: int) -> str:
    return text_of(report.predictions[number].values[0])


def _shown(
    bundle: Bundle, report: Report, quality: TextQuality, rank: Rank, number: int, method: Method
) -> ShownExample:
    prediction = report.predictions[number]
    log_probs = prediction.hypotheses[0].log_probs
    return ShownExample(
        rank,
        number,
        prediction.example.id or str(number + 1),
        str(shown(prediction.example.source)),
        _answer(report, number),
        tuple(map(text_of, report.references[number])),
        quality.scores[number],
        math.exp(sum(log_probs) / len(log_probs)) if log_probs else None,
        *what_counts(bundle, prediction, method),
    )


def what_counts(bundle: Bundle, prediction: Prediction, method: Method) -> tuple[tuple[Place, ...], Numbers]:
    """Return how much each place of a source counts for the whole answer (P,), the largest being 1.

    Both are empty where the answer cannot be explained.
    """
    answer = prediction.values[0]
    if answer == "":
        return (), np.zeros(0)
    try:
        subject = subject_of(bundle, prediction.example, answer)
        weights_TP = attribute(subject, method).weights_TS
    except (DataError, UserError):
        return (), np.zeros(0)
    places, weights_P = _whole_words(subject, np.abs(weights_TP).sum(axis=0))
    largest = float(weights_P.max(initial=0.0))
    return places, weights_P / largest if largest else weights_P


def _whole_words(subject: Subject, weights_P: Numbers) -> tuple[tuple[Place, ...], Numbers]:
    """Join pieces of words, where a source has several words; what they count adds up."""
    if subject.places[0].kind != "text":
        return subject.places, weights_P
    text = text_of(subject.example.source)
    words = [(found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    if len(words) < 2:
        return subject.places, weights_P
    totals = [0.0] * len(words)
    for place, weight in zip(subject.places, weights_P.tolist(), strict=True):
        middle = (place.begin + place.end + text[int(place.begin) : int(place.end)].startswith(" ")) / 2
        for number, (begin, end) in enumerate(words):
            if begin <= middle < end and place.end > place.begin:
                totals[number] += weight
    return tuple(Place(text[begin:end], begin, end, "text") for begin, end in words), np.array(totals)
