"""The answer token by token: how sure the model was, and what it would have written instead."""

from __future__ import annotations

import math

from dragoman.explanation.attribution import Attribution
from dragoman.explanation.explanation import Explanation, strongest
from dragoman.explanation.page.elements import (
    Child,
    Html,
    element,
    joined,
    number,
    per_cent,
    said,
    scrolled,
    signed,
    table,
    visible,
)

_PLACES = 3
"""Source steps that are named for each target step."""
_SMALLEST = 0.0005
"""Alternatives less probable than this are not worth a line."""


def choices_section(explanation: Explanation) -> Html | None:
    """Return the table of steps; None where the answer is not made of tokens."""
    if not explanation.choices:
        return None
    whole = [one for one in explanation.attributions if len(one.weights_TS) == len(explanation.choices)]
    first = whole[0] if whole else None
    head = ["token", "probability", "instead"]
    if first is not None:
        head.insert(2, f"counts most ({first.method.replace('_', ' ')})")
    rows: list[list[Child]] = []
    for step, choice in enumerate(explanation.choices):
        row: list[Child] = [said(visible(choice.piece)), _probability(choice.log_prob, choice.rank)]
        if first is not None:
            row.append(_places(explanation, first, step))
        row.append(_alternatives([(one.piece, one.log_prob) for one in choice.alternatives]))
        rows.append(row)
    caption = "Each token with the probability that the model gave it, given all before it"
    return element(
        "section",
        {"id": "steps", "aria-labelledby": "steps-title"},
        element("h2", {"id": "steps-title"}, "Step by step"),
        scrolled(caption, table(caption, head, rows, "steps")),
    )


def _probability(log_prob: float, rank: int) -> Html:
    share = math.exp(log_prob)
    bar = element("span", {"class": "bar", "style": f"--w:{share:.3f}", "aria-hidden": "true"})
    beaten = f" (rank {rank:,})" if rank > 1 else ""
    return element("span", {"class": "share"}, bar, f" {per_cent(share)}{beaten}")


def _places(explanation: Explanation, attribution: Attribution, step: int) -> Html:
    weights_S = attribution.weights_TS[step]
    found = []
    for place in strongest(weights_S, _PLACES):
        weight = float(weights_S[place])
        shown = signed(weight) if attribution.is_signed else number(100 * weight, 0) + "%"
        found.append((explanation.subject.places[place].label, shown))
    return _listed(found)


def _alternatives(others: list[tuple[str, float]]) -> Html:
    """List what might have stood here; of what was next to impossible only the first."""
    shares = [(piece, math.exp(log_prob)) for piece, log_prob in others]
    named = [(piece, per_cent(share)) for piece, share in shares if share >= _SMALLEST]
    return _listed(named or [(piece, per_cent(share)) for piece, share in shares[:1]])


def _listed(named: list[tuple[str, str]]) -> Html:
    """Write names with numbers behind them, each pair on one line."""
    found: list[Child] = []
    for piece, shown in named:
        found += [element("span", {"class": "other"}, said(visible(piece)), f" {shown}"), ", "]
    return joined(found[:-1])
