"""Which of several systems is better, as far as one test set can tell, and where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from dragoman.evaluation.metrics import Statistics
from dragoman.evaluation.significance import Difference, difference, holm
from dragoman.evaluation.systems import Answered, System, same_examples
from dragoman.recipe.metrics import Evaluation

SAME = "no difference that this test set can show"
_LONGEST = 300
"""Characters of a text that the console shows."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of two systems: their scores, the second less the first, and what follows from it.

    `holm` is the larger of both p-values, raised for all comparisons that were made together (Holm 1979).
    """

    label: str
    baseline: float
    value: float
    difference: Difference
    higher_is_better: bool
    verdict: Literal["better", "worse", "same"]
    holm: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """One example that two systems answered differently well, by the metric that tells examples apart."""

    number: int
    baseline: Answered
    other: Answered
    baseline_score: float
    score: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A system beside the baseline: every metric, and by `told_by` single examples.

    `better`, `worse` and `equal` count the examples; `most` are those that differ most, in either direction.
    """

    name: str
    metrics: tuple[Compared, ...]
    told_by: str
    better: int
    worse: int
    equal: int
    most: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every system beside the first, on the same examples. `notes` say what else there is to know."""

    baseline: str
    examples: int
    windows_together: int
    pairs: tuple[Pair, ...]
    evaluation: Evaluation
    notes: tuple[str, ...] = ()


def compare_systems(
    systems: Sequence[System], evaluation: Evaluation, worst: int = 5, notes: Sequence[str] = ()
) -> Comparison:
    """Test every system against the first by every metric, and find the `worst` examples of each pair.

    A system is better or worse where both tests say so at the confidence of the section: the paired bootstrap
    and approximate randomisation, each of `evaluation.bootstrap_samples` draws. Raises UserError where the
    systems did not answer the same examples.
    """
    same_examples([(system.name, system.rows) for system in systems])
    first, *others = systems
    found = [_differences(first, other, evaluation) for other in others]
    p_values = [_larger(one) for differences in found for one in differences]
    raised = iter(holm(p_values))
    pairs = []
    for other, differences in zip(others, found, strict=True):
        metrics = tuple(
            _compared(ours, theirs, one, next(raised), evaluation)
            for ours, theirs, one in zip(first.statistics, other.statistics, differences, strict=True)
        )
        pairs.append(_pair(first, other, metrics, worst))
    block = first.statistics[0].block
    return Comparison(first.name, len(first.rows), block, tuple(pairs), evaluation, tuple(notes))


def _differences(first: System, other: System, evaluation: Evaluation) -> list[Difference]:
    samples, confidence, seed = evaluation.bootstrap_samples, evaluation.confidence, evaluation.seed
    block = first.statistics[0].block
    return [
        difference((a.rows_NF, a.score), (b.rows_NF, b.score), samples, confidence, seed, block)
        for a, b in zip(first.statistics, other.statistics, strict=True)
    ]


def _larger(one: Difference) -> float:
    return max(one.p_bootstrap, one.p_randomisation)


def _compared(
    ours: Statistics, theirs: Statistics, one: Difference, raised: float, evaluation: Evaluation
) -> Compared:
    verdict: Literal["better", "worse", "same"] = "same"
    if _larger(one) < 1 - evaluation.confidence:
        verdict = "better" if (one.value > 0) == ours.higher_is_better else "worse"
    scores = ours.score(ours.rows_NF.sum(axis=0)), theirs.score(theirs.rows_NF.sum(axis=0))
    return Compared(ours.label, *scores, one, ours.higher_is_better, verdict, raised)


def _pair(first: System, other: System, metrics: tuple[Compared, ...], count: int) -> Pair:
    ours_N, theirs_N = first.telling.scores_N(), other.telling.scores_N()
    gains_N = theirs_N - ours_N if first.telling.higher_is_better else ours_N - theirs_N
    order = np.argsort(-np.abs(gains_N), kind="stable")[:count]
    most = tuple(
        Contrast(number + 1, first.rows[number], other.rows[number], ours_N[number], theirs_N[number])
        for number in map(int, order)
        if gains_N[number]
    )
    better, worse, equal = (int(which.sum()) for which in (gains_N > 0, gains_N < 0, gains_N == 0))
    return Pair(other.name, metrics, first.telling.label, better, worse, equal, most)


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """Return a comparison as JSON takes it."""
    found = asdict(comparison)
    found["evaluation"] = comparison.evaluation.model_dump(mode="json")
    return found


def format_comparison(comparison: Comparison) -> str:
    """Write a comparison for the console: metrics with verdicts first, then the examples that differ most.

    The baseline is called A, the others B, C and so on.
    """
    section = comparison.evaluation
    together = f", {comparison.windows_together} windows together" if comparison.windows_together > 1 else ""
    lines = [
        f"{comparison.examples:,} examples{together}; differences with intervals of "
        f"{section.confidence:.0%}; p of the paired bootstrap and of approximate randomisation, "
        f"{section.bootstrap_samples:,} draws each",
        f"A  {comparison.baseline}",
    ]
    lines += [f"{_letter(number)}  {pair.name}" for number, pair in enumerate(comparison.pairs)]
    for number, pair in enumerate(comparison.pairs):
        letter = _letter(number)
        lines += [
            "",
            *_metric_lines(pair, letter),
            f"examples by {pair.told_by}: {letter} better than A in {pair.better:,}, "
            f"worse in {pair.worse:,}, as good in {pair.equal:,}",
        ]
        lines += [line for contrast in pair.most for line in _contrast_lines(contrast, pair.told_by, letter)]
    return "\n".join([*lines, *_closing(comparison)])


def _letter(number: int) -> str:
    """Name a system other than the baseline."""
    return chr(ord("B") + number) if number < 25 else f"B{number}"


def _metric_lines(pair: Pair, letter: str) -> list[str]:
    rows = []
    for one in pair.metrics:
        found = one.difference
        digits = 2 if max(abs(one.baseline), abs(one.value)) >= 10 else 4
        rows.append(
            [
                one.label,
                f"A {one.baseline:.{digits}f}",
                f"{letter} {one.value:.{digits}f}",
                f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]",
                f"p {found.p_bootstrap:.3f} {found.p_randomisation:.3f}",
                {"better": f"{letter} better", "worse": "A better", "same": SAME}[one.verdict],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _contrast_lines(contrast: Contrast, told_by: str, letter: str) -> list[str]:
    texts = {
        "source": contrast.baseline.source,
        "expected": " | ".join(map(str, contrast.baseline.references)),
        f"A {contrast.baseline_score:.4g}": contrast.baseline.answer,
        f"{letter} {contrast.score:.4g}": contrast.other.answer,
    }
    width = max(map(len, texts))
    rows = [f"    {name:<{width}}  {_short(value)}" for name, value in texts.items()]
    return ["", f"  {contrast.baseline.id}, by {told_by}", *rows]


def _short(value: object) -> str:
    text = str(value).replace("\n", " ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _closing(comparison: Comparison) -> list[str]:
    """Say what many comparisons do to p-values, and what was noted on the way."""
    alpha = 1 - comparison.evaluation.confidence
    lines = list(comparison.notes)
    found = [(_letter(number), one) for number, pair in enumerate(comparison.pairs) for one in pair.metrics]
    differing = [(letter, one) for letter, one in found if one.verdict != "same"]
    if len(found) > 1 and differing:
        kept = [f"{one.label} of {letter}" for letter, one in differing if one.holm < alpha]
        named = "all of the differences" if len(kept) == len(differing) else ", ".join(kept) or "none of them"
        lines.append(
            f"{len(found)} comparisons at once: one of {round(1 / alpha)} shows a difference where there is "
            f"none. Corrected for that (Holm 1979) {named} can be shown."
        )
    return ["", *lines] if lines else []
