"""Minimum-Bayes-risk decoding: the answer that is most like what else the model would say.

Kumar and Byrne 2004; from samples as Eikema and Aziz (2022) do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dragoman.decoding.likeness import likeness
from dragoman.recipe.decoding import Beam, Limits, Mbr, Sample
from dragoman.records import Hypothesis


def drawing(section: Mbr) -> Sample:
    """Return how the samples are drawn."""
    return Sample(
        method="sample",
        samples=section.samples,
        temperature=section.temperature,
        epsilon=section.epsilon,
        top_k=section.top_k,
        top_p=section.top_p,
        seed=section.seed,
        **_limits(section),
    )


def searching(section: Mbr) -> Beam | None:
    """Return the beam whose hypotheses are candidates too, if there is one."""
    if not section.beam:
        return None
    return Beam(method="beam", beam=section.beam, nbest=section.beam, **_limits(section))


def _limits(section: Mbr) -> dict[str, Any]:
    return {name: value for name, value in section if name in Limits.model_fields}


def most_agreed(
    section: Mbr, found: Sequence[Hypothesis], texts: Sequence[str]
) -> list[tuple[Hypothesis, str]]:
    """Choose the answers of the highest expected utility: finished ones, then those cut, best first.

    `found` are all the samples, best first, then the hypotheses of a beam. The expectation is the mean over
    all samples, each as the right answer. It becomes the score of a hypothesis. No text comes twice.
    """
    distinct = list(dict.fromkeys(texts))
    places = {text: place for place, text in enumerate(distinct)}
    times = np.bincount([places[text] for text in texts[: section.samples]], minlength=len(distinct))
    expected = likeness(section.utility, distinct) @ times / section.samples
    best: dict[str, Hypothesis] = {}
    first = list(range(section.samples))[: section.candidates]
    for at in (*first, *range(section.samples, len(found))):
        held = best.setdefault(texts[at], found[at])
        best[texts[at]] = max(held, found[at], key=lambda one: (one.is_finished, one.score))
    scored = [(replace(one, score=float(expected[places[text]])), text) for text, one in best.items()]
    return sorted(scored, key=lambda pair: (not pair[0].is_finished, -pair[0].score))[: section.nbest]
