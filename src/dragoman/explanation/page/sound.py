"""Weights over sound: rows of shades, one for each token, below the energy of the sound.

Shapes: S source steps, T target steps, F frames, B bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dragoman.data.frames import Frames
from dragoman.data.speech import SpeechCodec
from dragoman.explanation.attribution import Attribution
from dragoman.explanation.explanation import strongest
from dragoman.explanation.page.drawing import label, line, picture, pooled, shading, ticks
from dragoman.explanation.page.elements import (
    Child,
    Html,
    element,
    number,
    per_cent,
    said,
    scrolled,
    signed,
    table,
    visible,
)
from dragoman.explanation.page.matrix import Named, above_weights, scaled
from dragoman.explanation.subject import Place, Subject

Reals = NDArray[np.float64]

_WIDTH, _MARGIN = 840.0, 130.0
_ENERGY, _AXIS, _ROW = 96.0, 24.0, 24.0
_MOST_COLUMNS, _MOST_BANDS = 240, 24
_DARK, _LIGHT = 98, 40
"""Percentiles of energy that are darkest and blank."""


def sound_map(given: Named, subject: Subject) -> Html:
    """Return the drawing, a table of where each token was heard, and the weights, folded away."""
    return above_weights(given, _drawing(given, subject), _moments(given, subject))


def _drawing(given: Named, subject: Subject) -> Html:
    seconds = max((place.end for place in subject.places), default=0.0) or 1.0
    per_second = _WIDTH / seconds
    bottom = _ENERGY + _AXIS + _ROW * len(given.pieces)
    parts: list[Child] = [_energy(subject, per_second), label(_MARGIN - 8, _ENERGY / 2, "energy", "end")]
    for second in ticks(0.0, seconds):
        x = _MARGIN + second * per_second
        parts.append(line([x, x], [_ENERGY, bottom], "grid"))
        parts.append(label(x, _ENERGY + 16, f"{second:g} s", "middle axis"))
    lefts = [_MARGIN + place.begin * per_second for place in subject.places]
    rights = [_MARGIN + place.end * per_second for place in subject.places]
    tops = [_ENERGY + _AXIS + _ROW * step for step in range(len(given.pieces))]
    parts.append(shading(_by_row(given.attribution), lefts, rights, tops, _ROW - 4))
    for top, piece in zip(tops, given.pieces, strict=True):
        parts.append(label(_MARGIN - 8, top + 15, piece[:16], "end"))
    words = f"{given.caption}: energy of the sound over {seconds:.2f} seconds, below it a row for each step. "
    return picture(_MARGIN + _WIDTH + 20, bottom + 6, words + _heard(given, subject), *parts)


def _by_row(attribution: Attribution) -> Reals:
    """Return weights over the largest of their row: shares of many steps are small."""
    shares_TS = scaled(attribution)
    largest_T1 = np.abs(shares_TS).max(axis=1, keepdims=True, initial=0.0)
    largest_T1[largest_T1 == 0] = 1.0
    by_row_TS: Reals = shares_TS / largest_T1
    return by_row_TS


def _energy(subject: Subject, per_second: float) -> Html | None:
    """Shade the bands of the source, high ones on top, in blocks."""
    if not isinstance(subject.source, Frames) or not isinstance(subject.bundle.codecs.source, SpeechCodec):
        return None
    frames_FB = subject.source.values.astype(np.float64)
    section = subject.bundle.codecs.source.section
    hop = section.hop_seconds * per_second
    blocks_BF = pooled(frames_FB.T[::-1], _MOST_BANDS, _MOST_COLUMNS)
    low, high = np.percentile(blocks_BF, [_LIGHT, _DARK])
    shares_BF = np.clip((blocks_BF - low) / max(high - low, 1e-9), 0, 1)
    width = len(frames_FB) * hop / blocks_BF.shape[1]
    lefts = [_MARGIN + width * column for column in range(blocks_BF.shape[1])]
    height = _ENERGY / len(blocks_BF)
    tops = [height * row for row in range(len(blocks_BF))]
    drawn = shading(shares_BF, lefts, [left + width for left in lefts], tops, height)
    return element("g", {"class": "energy"}, drawn)


def _heard(given: Named, subject: Subject) -> str:
    rows = zip(given.pieces, given.attribution.weights_TS, strict=True)
    spans = [(piece, core(weights_S, subject.places)) for piece, weights_S in rows]
    return "; ".join(f"{visible(piece)} at {span[0]:.2f} to {span[1]:.2f} s" for piece, span in spans if span)


def _moments(given: Named, subject: Subject) -> Html:
    attribution, caption = given.attribution, given.caption
    rows: list[list[Child]] = []
    for piece, weights_S in zip(given.pieces, attribution.weights_TS, strict=True):
        span, top = core(weights_S, subject.places), strongest(weights_S, 1)
        if span is None or not top:
            rows.append([said(visible(piece)), "nowhere", "", ""])
            continue
        place, weight = subject.places[top[0]], float(weights_S[top[0]])
        shown = signed(weight) if attribution.is_signed else per_cent(weight)
        peak = f"{number((place.begin + place.end) / 2)} s"
        rows.append([said(visible(piece)), f"{number(span[0])} to {number(span[1])} s", peak, shown])
    head = ["token", "where half of its weight lies", "strongest at", "weight there"]
    return scrolled(f"{caption}, in seconds", table(f"{caption}, in seconds", head, rows, "moments"))


def core(weights_S: Reals, places: tuple[Place, ...]) -> tuple[float, float] | None:
    """Return begin and end of the shortest stretch with half of all weight, for or against."""
    sums_S = np.cumsum(np.abs(np.nan_to_num(weights_S)))
    if not len(sums_S) or not sums_S[-1]:
        return None
    before_S = np.concatenate([[0.0], sums_S[:-1]])
    ends_S = np.searchsorted(sums_S, np.minimum(before_S + sums_S[-1] / 2, sums_S[-1]) - 1e-12)
    lengths = [
        (places[end].end - places[first].begin, first, end)
        for first, end in enumerate(ends_S.tolist())
        if before_S[first] <= sums_S[-1] / 2 + 1e-12
    ]
    _, first, end = min(lengths)
    return places[first].begin, places[end].end
