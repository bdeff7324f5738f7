"""Inline SVG: shaded cells, axes, lines. Colours come from the page's style, by class.

Shapes: R rows, C columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.explanation.page.elements import Attributes, Child, Html, element, joined, visible

Reals = NDArray[np.float64]

LEVELS = 8
"""Shades of a cell; what is below half of one is left out."""
HATCH = "against-hatch"


def picture(width: float, height: float, label: str, *children: Child, class_name: str = "") -> Html:
    """Return a picture; what it shows is said in its label, and stands as text or as a table beside it."""
    attributes: Attributes = {
        "viewBox": f"0 0 {width:.0f} {height:.0f}",
        "width": width,
        "height": height,
        "role": "img",
        "aria-label": label,
        "class": class_name or None,
    }
    return element("svg", attributes, *children)


def patterns() -> Html:
    """Return what all pictures of a page share: hatching, so that signs are not told by colour alone."""
    line = element("path", {"d": "M0 4L4 0", "class": "hatching"})
    size: Attributes = {"width": 4, "height": 4, "patternUnits": "userSpaceOnUse"}
    pattern = element("pattern", {"id": HATCH, **size}, line)
    return element(
        "svg",
        {"width": 0, "height": 0, "aria-hidden": "true", "class": "patterns"},
        element("defs", None, pattern),
    )


def shading(
    weights_RC: Reals, lefts: Sequence[float], rights: Sequence[float], tops: Sequence[float], height: float
) -> Html:
    """Shade cells by their weights, -1 to 1: column c from left to right, row r from its top down."""
    parts: list[Child] = []
    for class_name, shares_RC in (("for", weights_RC), ("against", -weights_RC)):
        levels_RC = np.clip(np.rint(np.nan_to_num(shares_RC) * LEVELS), 0, LEVELS).astype(int)
        for level in range(1, LEVELS + 1):
            outline = _outline(levels_RC == level, lefts, rights, tops, height)
            if not outline:
                continue
            parts.append(element("path", {"class": class_name, "fill-opacity": level / LEVELS, "d": outline}))
            if class_name == "against":
                parts.append(element("path", {"fill": f"url(#{HATCH})", "d": outline}))
    return joined(parts)


def _outline(
    is_shaded_RC: NDArray[np.bool_],
    lefts: Sequence[float],
    rights: Sequence[float],
    tops: Sequence[float],
    height: float,
) -> str:
    """Draw rectangles, one for cells side by side."""
    found = []
    for row, cells in enumerate(is_shaded_RC):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], cells.astype(np.int8), [0]])))
        for first, end in edges.reshape(-1, 2).tolist():
            left, right = lefts[first], rights[end - 1]
            found.append(
                f"M{_short(left)} {_short(tops[row])}h{_short(right - left)}v{_short(height)}H{_short(left)}z"
            )
    return "".join(found)


def line(xs: Sequence[float], ys: Sequence[float], class_name: str) -> Html:
    """Draw a line; where a number is missing it has a gap."""
    parts, is_down = [], False
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(y):
            parts.append(f"{'L' if is_down else 'M'}{_short(x)} {_short(y)}")
        is_down = math.isfinite(y)
    return element("path", {"class": class_name, "d": "".join(parts)})


def label(x: float, y: float, text: str, class_name: str = "", title: str = "") -> Html:
    """Write text whose baseline begins, or as its class says ends or is centred, at a point."""
    attributes = {"x": x, "y": y, "class": class_name or None}
    return element("text", attributes, element("title", None, title) if title else None, visible(text))


def ticks(begin: float, end: float, most: int = 8) -> list[float]:
    """Return round numbers between two."""
    span = end - begin
    if not span > 0:
        return [begin]
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    each = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [each * step for step in range(math.ceil(begin / each), math.floor(end / each + 1e-9) + 1)]


def pooled(values_RC: Reals, rows: int, columns: int) -> Reals:
    """Return means of blocks: at most so many rows and columns."""
    for axis, most in ((0, rows), (1, columns)):
        count = values_RC.shape[axis]
        if count > most:
            starts = np.arange(most) * count // most
            sizes = np.diff(np.append(starts, count))
            shape = (-1, 1) if axis == 0 else (1, -1)
            values_RC = np.add.reduceat(values_RC, starts, axis) / sizes.reshape(shape)
    return values_RC


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
