"""An answer with all that was found out about where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragoman.explanation.attribution import Attribution
from dragoman.explanation.beam_tree import BeamTree
from dragoman.explanation.steps import StepChoice
from dragoman.explanation.subject import Subject


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an answer is as it is: one attribution a method, `parts` of attention by layer and head.

    `choices` are what else could have been written at each step, none where numbers are written; `tree` is
    what the model's own search considered. The answer is the model's, or was given (`is_given`). `seconds`
    says how long each part of the explanation took.
    """

    subject: Subject
    attributions: tuple[Attribution, ...]
    parts: tuple[Attribution, ...]
    choices: tuple[StepChoice, ...]
    tree: BeamTree | None
    seconds: Mapping[str, float]
    is_given: bool = False


def strongest(weights_S: NDArray[np.float64], count: int) -> list[int]:
    """Return the source steps that count most, for or against, the strongest first; none that count nothing."""
    order = np.argsort(-np.abs(weights_S), kind="stable")[:count]
    return [int(step) for step in order if weights_S[step] != 0]
