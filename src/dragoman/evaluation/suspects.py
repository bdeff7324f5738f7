"""Answers that may be made up: four rules, none of them proof, each named where it fires."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

REPEATED_NGRAM = 3
"""Words in a row that count as a repetition when they come again."""
_MORE_REPEATS = 2
"""Repetitions beyond those of the reference that make an answer suspect."""
_FAR = 4.0
"""Robust deviations from the usual ratio of lengths that make an answer suspect."""
_SPREAD = 1.4826
"""A median absolute deviation times this is the standard deviation of a normal distribution."""
_LEAST_DEVIATION = 0.15
"""Where nearly all ratios are equal a word more is no outlier."""
_LONG = 4
"""Words of an answer from which on it is no accident that two sources get it."""
_LITTLE_GAIN = 0.2
"""Of what a source usually adds to the log-probability of its answer, this share is little."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Which rule fired on an example, and what it saw."""

    rule: str
    seen: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """The number of an example and the rules that fired."""

    number: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """How much of what is written is written again: shares of n-grams that came before in the same text."""

    answers: float
    references: float


def repeated(words: Sequence[str], size: int = REPEATED_NGRAM) -> int:
    """Count runs of `size` words that came before in the same text."""
    runs = [tuple(words[begin : begin + size]) for begin in range(len(words) - size + 1)]
    return len(runs) - len(set(runs))


def repetition(
    answers: Sequence[Sequence[str]], references: Sequence[Sequence[str]], size: int = REPEATED_NGRAM
) -> Repetition:
    """Return the share of repeated runs of words in answers, and in references to compare with."""

    def share(texts: Sequence[Sequence[str]]) -> float:
        runs = sum(max(0, len(words) - size + 1) for words in texts)
        return sum(repeated(words, size) for words in texts) / runs if runs else 0.0

    return Repetition(share(answers), share(references))


def suspects(
    sources: Sequence[str],
    source_lengths: Sequence[float],
    unit: str,
    answers: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    gains: Sequence[float] = (),
) -> tuple[Suspect, ...]:
    """Return examples on which a rule fires, most rules first, then in their order.

    `references` are one for each answer; source lengths are counted in a `unit`. `gains` say by how many
    nats a token each answer is more probable with its source than without one; that rule needs them.
    """
    fired: dict[int, list[Reason]] = defaultdict(list)
    for rule in (
        _repeats(answers, references),
        _lengths(source_lengths, answers, references, unit),
        _shared(sources, answers, references),
        _detached(gains),
    ):
        for number, reason in rule:
            fired[number].append(reason)
    ordered = sorted(fired.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Suspect(number, tuple(reasons)) for number, reasons in ordered)


_Fired = list[tuple[int, Reason]]


def _repeats(answers: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> _Fired:
    found = []
    for number, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        ours, theirs = repeated(answer), repeated(reference)
        if ours - theirs >= _MORE_REPEATS:
            seen = f"{ours} runs of {REPEATED_NGRAM} words come again; in the reference {theirs}"
            found.append((number, Reason("repeats itself", seen)))
    return found


def _lengths(
    source_lengths: Sequence[float],
    answers: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    unit: str,
) -> _Fired:
    """Compare length ratios with those of the references, which say what is usual."""
    usual = [
        math.log(len(words) / length)
        for words, length in zip(references, source_lengths, strict=True)
        if words and length
    ]
    if not usual:
        return []
    middle = median(usual)
    deviation = max(_LEAST_DEVIATION, _SPREAD * median(abs(ratio - middle) for ratio in usual))
    found = []
    for number, (words, length) in enumerate(zip(answers, source_lengths, strict=True)):
        if not length:
            continue
        ratio = len(words) / length
        far = (math.log(ratio) - middle) / deviation if words else -math.inf
        if abs(far) > _FAR:
            seen = f"{ratio:.2g} words for each {unit} of the source, {math.exp(middle):.2g} are usual"
            found.append((number, Reason("too long" if far > 0 else "too short", seen)))
    return found


def _shared(
    sources: Sequence[str], answers: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> _Fired:
    """Find one long answer to different sources that want different ones."""
    asked: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = defaultdict(dict)
    for source, answer, reference in zip(sources, answers, references, strict=True):
        asked[tuple(answer)].setdefault(source, tuple(reference))
    found = []
    for number, answer in enumerate(answers):
        wanted = Counter(asked[tuple(answer)].values())
        if len(answer) >= _LONG and len(wanted) > 1:
            seen = f"the same answer as to {len(wanted) - 1} other source{'s' if len(wanted) > 2 else ''}"
            found.append((number, Reason("same answer", seen)))
    return found


def _detached(gains: Sequence[float]) -> _Fired:
    """Find answers that would be nearly as probable had the source said nothing."""
    known = [gain for gain in gains if not math.isnan(gain)]
    if not known or (usual := median(known)) <= 0:
        return []
    return [
        (
            number,
            Reason(
                "hardly of this source",
                f"the source adds {gain:.2f} nats a token to its probability, {usual:.2f} are usual",
            ),
        )
        for number, gain in enumerate(gains)
        if gain < _LITTLE_GAIN * usual
    ]
