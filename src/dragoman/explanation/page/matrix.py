"""Weights as a table of numbers that is shaded, or as a picture where there are too many of them.

Shapes: T target steps, S source steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dragoman.explanation.attribution import Attribution
from dragoman.explanation.explanation import Explanation, strongest
from dragoman.explanation.page.drawing import label, picture, shading
from dragoman.explanation.page.elements import Child, Html, element, number, scrolled, signed, visible

Reals = NDArray[np.float64]

MOST_CELLS = 6000
"""Cells of a table; more weights than these are drawn, and their numbers are in the JSON."""
UPRIGHT = 14
"""With more columns than these their names are written from top to bottom."""
_CELL, _MARGIN, _HEAD = 14.0, 110.0, 6.0
_THUMB, _LARGEST_SIDE = 120.0, 12.0
"""The longest side of a small picture, and the most that one weight takes of it."""


def scaled(attribution: Attribution) -> Reals:
    """Return weights over the largest of all, between -1 and 1."""
    finite_TS = np.nan_to_num(attribution.weights_TS)
    largest = np.abs(finite_TS).max(initial=0.0)
    return finite_TS / largest if largest else finite_TS


@dataclass(frozen=True)
class Named:
    """An attribution with the names of its rows and columns, the target step of each row, and a caption."""

    attribution: Attribution
    steps: tuple[int, ...]
    pieces: tuple[str, ...]
    labels: tuple[str, ...]
    caption: str


def named(explanation: Explanation, attribution: Attribution, caption: str) -> Named:
    """Name what an attribution is of."""
    subject, steps = explanation.subject, explanation.steps_of(attribution)
    pieces = tuple(subject.pieces[step] for step in steps)
    return Named(attribution, steps, pieces, tuple(place.label for place in subject.places), caption)


def matrix(given: Named) -> Html:
    """Return a table with a row for each target step, or a picture of a large one."""
    attribution, caption = given.attribution, given.caption
    if attribution.weights_TS.size > MOST_CELLS:
        return _large(given)
    shares_TS = scaled(attribution)
    columns = [element("th", {"scope": "col"}, element("bdi", None, visible(name))) for name in given.labels]
    error_head = element("th", {"scope": "col"}, "missing") if attribution.error_T is not None else None
    rows = [_row(given, shares_TS, row) for row in range(len(given.pieces))]
    upright = " upright" if len(given.labels) > UPRIGHT else ""
    corner = element("td", None, element("span", {"class": "hidden"}, "answer, by source"))
    body = element(
        "table",
        {"class": f"heat{upright}"},
        element("caption", None, caption),
        element("thead", None, element("tr", None, corner, *columns, error_head)),
        element("tbody", None, *rows),
    )
    return scrolled(caption, body)


def above_weights(given: Named, drawing: Html, summary: Html) -> Html:
    """Put a drawing of weights and a table of what counts above all of them, which are folded away."""
    full = matrix(replace(given, caption=f"{given.caption}, all weights"))
    is_table = given.attribution.weights_TS.size <= MOST_CELLS
    return element(
        "div",
        None,
        scrolled(given.caption, drawing),
        summary,
        element("details", None, element("summary", None, "All weights"), full) if is_table else None,
    )


def _row(given: Named, shares_TS: Reals, row: int) -> Html:
    attribution = given.attribution
    weights_S = attribution.weights_TS[row]
    top = strongest(weights_S, 1)
    cells: list[Child] = []
    for place, (weight, share) in enumerate(zip(weights_S, shares_TS[row], strict=True)):
        classes = ["against"] if share < 0 else []
        classes += ["top"] if place in top else []
        text = signed(float(weight)) if attribution.is_signed else number(100 * float(weight), 0)
        style = f"--w:{abs(share):.2f}" if abs(share) >= 0.005 else None
        cells.append(element("td", {"class": " ".join(classes) or None, "style": style}, text))
    if attribution.error_T is not None:
        cells.append(element("td", {"class": "error"}, signed(float(attribution.error_T[row]), 3)))
    head = element("th", {"scope": "row"}, element("bdi", None, visible(given.pieces[row])))
    return element("tr", {"data-t": given.steps[row]}, head, *cells)


def _large(given: Named) -> Html:
    attribution, caption, pieces = given.attribution, given.caption, given.pieces
    steps, places = attribution.weights_TS.shape
    width = min(_CELL, max(2.0, 1600 / places))
    lefts = [_MARGIN + width * place for place in range(places)]
    tops = [_HEAD + _CELL * step for step in range(steps)]
    drawn = shading(scaled(attribution), lefts, [left + width for left in lefts], tops, _CELL)
    names = [label(_MARGIN - 6, top + 11, piece[:14], "end") for top, piece in zip(tops, pieces, strict=True)]
    said = f"{caption}: {steps:,} by {places:,} weights, too many for a table; their numbers are in the JSON."
    size = (_MARGIN + width * places + 4, _HEAD + _CELL * steps + 4)
    return element(
        "figure",
        None,
        element("figcaption", None, said),
        scrolled(caption, picture(*size, f"{said} {reads_of(given)}", drawn, *names)),
    )


def reads_of(given: Named) -> str:
    """Say in words which source step counts most for each target step, for up to twenty of them."""
    found = []
    for piece, weights_S in list(zip(given.pieces, given.attribution.weights_TS, strict=True))[:20]:
        top = strongest(weights_S, 1)
        if top:
            found.append(f"{visible(piece)} from {visible(given.labels[top[0]])}")
    return "; ".join(found)


def thumbnail(given: Named) -> Html:
    """Return weights as a small picture with its part's name."""
    attribution = given.attribution
    steps, places = attribution.weights_TS.shape
    wide, high = (min(_LARGEST_SIDE, _THUMB / max(count, 1)) for count in (places, steps))
    lefts = [wide * place for place in range(places)]
    tops = [high * step for step in range(steps)]
    drawn = shading(scaled(attribution), lefts, [left + wide for left in lefts], tops, high)
    words = f"{attribution.part}: {reads_of(given)}"
    frame = picture(max(wide * places, 8.0), max(high * steps, 8.0), words, drawn, class_name="thumb")
    return element("figure", {"class": "part"}, frame, element("figcaption", None, attribution.part))
