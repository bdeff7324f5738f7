"""An answer with all that was found out about where it came from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.data.frames import Frames
from dragoman.data.portable import shown
from dragoman.errors import UserError
from dragoman.explanation.attribution import METHODS, Attribution, Method, attention_parts, attribute
from dragoman.explanation.beam_tree import BeamTree, beam_tree
from dragoman.explanation.steps import StepChoice, step_choices
from dragoman.explanation.subject import Subject, is_alone, subject_of
from dragoman.explanation.trust import Trust, weigh
from dragoman.recipe.decoding import Decoding, TokenDecoding
from dragoman.records import Example, Series, Value

Group = Literal["usual", "quick", "all"]
GROUPS: Mapping[Group, tuple[Method, ...]] = {
    "usual": ("attention", "occlusion"),
    "quick": tuple(method for method in METHODS if method != "integrated_gradients"),
    "all": METHODS,
}
"""Methods by one name; integrated gradients alone take longer than all others together."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an answer is as it is: one attribution a method, `parts` of attention by layer and head.

    `choices` are what else could have been written at each step, none where no tokens are written; `tree` is
    what the model's own search considered, which may have found another answer than one that was given
    (`is_given`). A contrast of one target step alone has one row, that of `step`, counted from 0. `left_out`
    says of methods that were not asked for by name why this model or source does not have them, `seconds`
    how long each part took. `trust` is what speaks for each method, where that was asked for.
    """

    subject: Subject
    attributions: tuple[Attribution, ...]
    parts: tuple[Attribution, ...]
    choices: tuple[StepChoice, ...]
    tree: BeamTree | None
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]
    is_given: bool = False
    step: int | None = None
    trust: Trust | None = None

    def steps_of(self, attribution: Attribution) -> tuple[int, ...]:
        """Return the target step of each row."""
        if attribution.method == "contrastive" and self.step is not None:
            return (self.step,)
        return tuple(range(len(attribution.weights_TS)))


def explain(
    bundle: Bundle,
    example: Example,
    *,
    target: Value | None = None,
    methods: Sequence[Method] | Group = "usual",
    section: Decoding | None = None,
    step: int | None = None,
    foil: str | None = None,
    alternatives: int = 5,
    trust: bool = False,
) -> Explanation:
    """Explain an answer: `target`, or what the bundle answers in its own way of decoding or another.

    The tree is that of this search, beside a given target too.
    Of a group of methods it takes those that this model and source have. A contrast asks why not the next
    best token at every step, or at one `step` from 1, there perhaps why not `foil`; either asks for a
    contrast too. With `trust` methods are weighed, for which the model is asked about some hundred parts of
    the source. Raises UserError for a method, asked for by name, that the model does not have, and for what
    `subject_of` and `attribute` refuse.
    """
    is_contrast = step is not None or foil is not None
    named = tuple(methods) if not isinstance(methods, str) else GROUPS[methods]
    wanted = dict.fromkeys((*named, "contrastive") if is_contrast else named)
    costs = _Costs()
    with costs.part("answer"):
        subject = subject_of(bundle, example, target, section if target is None else None)
    place = None if step is None else _place(subject, step)
    attributions: list[Attribution] = []
    for method in wanted:
        with costs.part(method, is_needed=not isinstance(methods, str)):
            attributions.append(
                attribute(subject, method, step=place, foil=foil)
                if method == "contrastive"
                else attribute(subject, method)
            )
    parts: list[Attribution] = []
    if any(one.method == "attention" for one in attributions):
        with costs.part("heads"):
            parts = attention_parts(subject)
    choices = _choices(subject, alternatives, costs)
    tree = _tree(bundle, example, section or bundle.recipe.decoding, costs)
    weighed: Trust | None = None
    if trust:
        with costs.part("trust"):
            weighed = weigh(subject, attributions)
    return Explanation(
        subject,
        tuple(attributions),
        tuple(parts),
        choices,
        tree,
        costs.seconds,
        costs.left_out,
        target is not None,
        place,
        weighed,
    )


def _choices(subject: Subject, alternatives: int, costs: _Costs) -> tuple[StepChoice, ...]:
    if isinstance(subject.target, Frames) or is_alone(subject.bundle):
        return ()
    with costs.part("alternatives"):
        return step_choices(subject, alternatives)


def _tree(bundle: Bundle, example: Example, searched: Decoding, costs: _Costs) -> BeamTree | None:
    if not isinstance(searched, TokenDecoding):
        return None
    with costs.part("search"):
        return beam_tree(bundle, example, searched)


def _place(subject: Subject, step: int) -> int:
    """Count a step from 0."""
    if not 1 <= step <= len(subject.pieces):
        raise UserError(f"step: expected 1 to {len(subject.pieces)}, the steps of this answer, found {step}")
    return step - 1


def strongest(weights_S: NDArray[np.float64], count: int) -> list[int]:
    """Return the source steps that count most, for or against, strongest first; none that count nothing."""
    order = np.argsort(-np.abs(weights_S), kind="stable")[:count]
    return [int(step) for step in order if weights_S[step] != 0]


def told(value: Value, steps: Sequence[str]) -> str:
    """Return text as it is, a series by what is measured from when to when; `steps` are their names."""
    if not isinstance(value, Series):
        return str(shown(value))
    what = ", ".join(value.names) or "numbers"
    return f"{len(value.values):,} steps of {what}, from {steps[0]} to {steps[-1]}"


class _Costs:
    """How long parts took, and why some could not be had."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.left_out: dict[str, str] = {}

    @contextmanager
    def part(self, what: str, is_needed: bool = True) -> Iterator[None]:
        """Time a part; one that is not needed may be refused, and is left out with the reason."""
        begin = time.perf_counter()
        try:
            yield
        except UserError as fault:
            if is_needed:
                raise
            self.left_out[what] = str(fault)
        else:
            self.seconds[what] = time.perf_counter() - begin
