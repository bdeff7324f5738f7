"""Source and answer as they read, each step of either a part that can be pointed at."""

from __future__ import annotations

from dragoman.explanation.explanation import told
from dragoman.explanation.page.elements import WORD_START, Child, Html, element, joined, said, visible
from dragoman.explanation.subject import Subject
from dragoman.records import Series, text_of


def strip(subject: Subject) -> Html:
    """Return source and answer, the places of a text source within it."""
    return element(
        "dl",
        {"class": "strip"},
        element("dt", None, "source"),
        element("dd", {"dir": "auto"}, _source(subject)),
        element("dt", None, "answer"),
        element("dd", {"dir": "auto"}, _answer(subject)),
    )


def _source(subject: Subject) -> Html:
    if not subject.places or subject.places[0].kind != "text":
        return said(told(subject.example.source, [place.label for place in subject.places]))
    text = text_of(subject.example.source)
    parts: list[Child] = []
    read = 0
    for number, place in enumerate(subject.places):
        begin, end = int(place.begin), int(place.end)
        if end <= begin or begin < read:
            parts.append(element("span", {"class": "place mark", "data-s": number}, visible(place.label)))
            continue
        parts.append(text[read:begin])
        parts.append(element("span", {"class": "place", "data-s": number}, text[begin:end]))
        read = end
    return joined([*parts, text[read:]])


def _answer(subject: Subject) -> Html:
    """Put a blank where a piece begins a word; a box around each keeps the others apart."""
    if isinstance(subject.answer, Series):
        return said(told(subject.answer, subject.pieces))
    parts: list[Child] = []
    for number, piece in enumerate(subject.pieces):
        bare = piece.removeprefix(WORD_START)
        parts.append(" " if bare != piece and number else None)
        parts.append(element("span", {"class": "piece", "data-t": number}, visible(bare)))
    return joined(parts)
