"""Weights over a series: its lines, dates below them, and a row of shades for each step of the answer.

Shapes: S source steps, T target steps, V variables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dragoman.data.number_codec import series_of
from dragoman.explanation.explanation import strongest
from dragoman.explanation.page.drawing import label, line, picture, shading
from dragoman.explanation.page.elements import Child, Html, element, number, said, scrolled, signed, table
from dragoman.explanation.page.matrix import Named, above_weights, scaled
from dragoman.explanation.subject import Subject
from dragoman.records import Series

Reals = NDArray[np.float64]

MOST_VARIABLES = 4
"""Lines that are drawn; of wider series the first variables."""
_WIDTH, _MARGIN, _TOP = 840.0, 130.0, 10.0
_PANEL, _AXIS, _BAND = 96.0, 26.0, 20.0
_PLACES, _DATES = 3, 5


def series_map(given: Named, subject: Subject) -> Html:
    """Return the drawing, a table of the dates that count, and the weights, folded away."""
    return above_weights(given, _drawing(given, subject), _dates(given, subject))


def _drawing(given: Named, subject: Subject) -> Html:
    attribution = given.attribution
    context = series_of(subject.example.source)
    answer = subject.answer if isinstance(subject.answer, Series) else None
    ahead = 0 if answer is None else len(answer.values)
    each = _WIDTH / max(1, len(context.values) + ahead)
    shown = min(MOST_VARIABLES, context.values.shape[1])
    parts = [_panel(context, answer, variable, each) for variable in range(shown)]
    top = _TOP + _PANEL * shown
    parts.append(_axis(subject, each, top))
    lefts = [_MARGIN + each * place.begin for place in subject.places]
    rights = [_MARGIN + each * place.end for place in subject.places]
    together = np.abs(scaled(attribution)).mean(axis=0, keepdims=True)
    together = together / (together.max(initial=0.0) or 1.0)
    top += _AXIS
    parts.append(shading(together, lefts, rights, [top], _BAND - 2))
    parts.append(label(_MARGIN - 8, top + 14, "all steps", "end"))
    top += _BAND + 6
    row = 12.0 if len(given.pieces) <= 48 else 5.0
    tops = [top + row * step for step in range(len(given.pieces))]
    parts.append(shading(scaled(attribution), lefts, rights, tops, row - 1))
    for step in range(0, len(given.pieces), max(1, round(14 / row))):
        parts.append(label(_MARGIN - 8, tops[step] + row - 2, given.pieces[step][:18], "end axis"))
    words = f"{given.caption}: lines of the series with dates, below them a row of shades for each step"
    return picture(_MARGIN + _WIDTH + 20, top + row * len(tops) + 6, words, *parts)


def _panel(context: Series, answer: Series | None, variable: int, each: float) -> Html:
    """Draw one variable, and its forecast behind it where there is one of the same name."""
    values_S = context.values[:, variable]
    name = context.names[variable] if context.names else f"variable {variable + 1}"
    ahead_T = _forecast_of(name, context, answer)
    both = np.concatenate([values_S, ahead_T])
    finite = both[np.isfinite(both)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    top = _TOP + _PANEL * variable
    height = _PANEL - 16
    ys = top + height - (both - low) / ((high - low) or 1.0) * height
    xs = [_MARGIN + each * (step + 0.5) for step in range(len(both))]
    known = len(values_S)
    parts: list[Child] = [
        line(xs[:known], ys[:known].tolist(), "line"),
        line(xs[max(0, known - 1) :], ys[max(0, known - 1) :].tolist(), "line ahead"),
        label(_MARGIN - 8, top + height / 2, name[:16], "end"),
        label(_MARGIN - 8, top + 9, f"{high:.4g}", "end axis"),
        label(_MARGIN - 8, top + height, f"{low:.4g}", "end axis"),
    ]
    return element("g", None, *parts)


def _forecast_of(name: str, context: Series, answer: Series | None) -> Reals:
    if answer is None:
        return np.zeros(0)
    if name in answer.names:
        return answer.values[:, answer.names.index(name)]
    is_alone = context.values.shape[1] == answer.values.shape[1] == 1
    return answer.values[:, 0] if is_alone and not (context.names and answer.names) else np.zeros(0)


def _axis(subject: Subject, each: float, top: float) -> Html:
    count = len(subject.places)
    steps = sorted({round(share * (count - 1)) for share in np.linspace(0, 1, _DATES)}) if count else []
    parts: list[Child] = []
    for step in steps:
        place = subject.places[step]
        x = _MARGIN + each * (place.begin + place.end) / 2
        parts.append(line([x, x], [_TOP, top + 4], "grid"))
        parts.append(label(x, top + 17, place.label, "middle axis"))
    return element("g", None, *parts)


def _dates(given: Named, subject: Subject) -> Html:
    attribution, caption = given.attribution, given.caption
    rows: list[list[Child]] = []
    for piece, weights_S in zip(given.pieces, attribution.weights_TS, strict=True):
        found = []
        for place in strongest(weights_S, _PLACES):
            weight = float(weights_S[place])
            shown = signed(weight, 3) if attribution.is_signed else number(100 * weight, 1) + "%"
            found.append(f"{subject.places[place].label} ({shown})")
        rows.append([said(piece), "; ".join(found)])
    words = f"{caption}: what counts most"
    return scrolled(words, table(words, ["step of the answer", "counts most"], rows, "moments"))
