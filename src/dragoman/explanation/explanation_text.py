"""An explanation for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from unicodedata import combining, east_asian_width

from dragoman.explanation.attribution import Attribution
from dragoman.explanation.beam_tree import BeamTree
from dragoman.explanation.explanation import Explanation, strongest, told
from dragoman.explanation.trust import format_trust

_PLACES, _OTHERS, _LINES = 4, 3, 4
"""What is named of a step's source, of its alternatives, and of the lines that lost."""
_BLANKS = {" ": "␣", "\n": "↵", "\t": "⇥", "": "∅"}
_SHORTEST = 0.005
"""Shares below this are not named."""


def as_text(explanation: Explanation) -> str:
    """Return lines for a person: how sure each token was, what it came from, what lost and why."""
    subject = explanation.subject
    parts = [f"source  {_one_line(told(subject.example.source, [one.label for one in subject.places]))}"]
    given = " (given)" if explanation.is_given else ""
    parts.append(f"answer  {_one_line(told(subject.answer, subject.pieces))}{given}")
    if explanation.choices:
        total = sum(choice.log_prob for choice in explanation.choices)
        parts.append(f"        probability {_share(total)}, {total:.2f} nats")
        parts += ["", *_choices(explanation)]
    for attribution in explanation.attributions:
        parts += ["", *_attribution(explanation, attribution)]
    if explanation.tree is not None:
        parts += ["", *_search(explanation.tree)]
    if explanation.trust is not None:
        parts += ["", format_trust(explanation.trust)]
    parts += [f"note: {note}" for note in subject.notes]
    parts += [f"left out: {_one_line(reason)}" for reason in explanation.left_out.values()]
    return "\n".join(parts)


def _choices(explanation: Explanation) -> Iterator[str]:
    rows = [["step", "token", "probability", "instead"]]
    for step, choice in enumerate(explanation.choices, 1):
        others = [f"{_visible(one.piece)} {_share(one.log_prob)}" for one in choice.alternatives[:_OTHERS]]
        rank = f" (rank {choice.rank:,})" if choice.rank > 1 else ""
        rows.append([str(step), _visible(choice.piece), _share(choice.log_prob) + rank, ", ".join(others)])
    yield from _columns(rows)


def _attribution(explanation: Explanation, attribution: Attribution) -> Iterator[str]:
    part = f" ({attribution.part})" if attribution.part not in ("", attribution.method) else ""
    unit = (
        "what speaks for + and against - each token" if attribution.is_signed else "shares of what was read"
    )
    yield f"{attribution.method.replace('_', ' ')}{part}: {unit}"
    subject, rows = explanation.subject, []
    for row, step in enumerate(explanation.steps_of(attribution)):
        weights_S = attribution.weights_TS[row]
        named = []
        for place in strongest(weights_S, _PLACES):
            weight = float(weights_S[place])
            if not attribution.is_signed and weight < _SHORTEST:
                continue
            shown_weight = f"{weight:+.2f}" if attribution.is_signed else f"{100 * weight:.0f}%"
            named.append(f"{_visible(subject.places[place].label)} {shown_weight}")
        missing = "" if attribution.error_T is None else f"(misses {attribution.error_T[row]:+.3f})"
        rows.append([str(step + 1), _visible(subject.pieces[step]), "  ".join(named), missing])
    yield from _columns(rows)


def _search(tree: BeamTree) -> Iterator[str]:
    yield f"search: {tree.method} of {tree.width}, {len(tree.nodes):,} continuations looked at"
    if tree.answer is not None:
        best = tree.nodes[tree.answer]
        yield f"  {_score(best.score)}  {_one_line(best.text or '')}"
    ended = sorted(
        (node for node in tree.nodes if node.fate == "finished"),
        key=lambda node: -math.inf if node.score is None else -node.score,
    )
    for node in ended[:_LINES]:
        yield f"  {_score(node.score)}  {_one_line(node.text or '')}  ({_score(node.lacked)} behind)"
    fell = sorted(
        (node for node in tree.nodes if node.fate == "fell_out" and node.lacked is not None),
        key=lambda node: node.lacked or 0.0,
    )
    for node in fell[:_LINES]:
        yield f"  fell out after {node.step}: {_one_line(node.text or '')}  ({node.lacked:.2f} nats behind)"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(log_prob: float) -> str:
    share = math.exp(log_prob)
    return "<0.1%" if share < 0.001 else f"{100 * share:.1f}%"


def _visible(piece: str) -> str:
    return _BLANKS.get(piece) or _one_line(piece)


def _one_line(text: str) -> str:
    """Keep to a line, and let nothing in a text steer the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Set cells below each other, wide letters counted as two."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        yield "  " + "  ".join(cells).rstrip()


def _width(text: str) -> int:
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)
