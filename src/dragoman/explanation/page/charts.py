"""Charts: small enough to be read on a phone, each with its numbers as a table below.

Shapes: H horizon, V variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dragoman.explanation.page.drawing import label, line, picture, ticks
from dragoman.explanation.page.elements import Child, Html, element, joined, number, scrolled, table

WIDE, HIGH = 330.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 20.0, 10.0, 34.0
_BINS = 24


Write = Callable[[float], str]
"""Writes a number for people."""


@dataclass(frozen=True)
class Axes:
    """The ends of both axes of a chart, which say where a value is drawn."""

    x_from: float
    x_to: float
    y_from: float
    y_to: float
    wide: float = WIDE
    high: float = HIGH

    def x(self, value: float) -> float:
        """Return where a value stands from the left."""
        share = (value - self.x_from) / ((self.x_to - self.x_from) or 1.0)
        return _LEFT + share * (self.wide - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return where a value stands from the top."""
        share = (value - self.y_from) / ((self.y_to - self.y_from) or 1.0)
        return self.high - _BOTTOM - share * (self.high - _TOP - _BOTTOM)

    def drawn(self, x_name: str, write_x: Write | None = None, write_y: Write | None = None) -> Html:
        """Draw a grid with its numbers, and name the axis below."""
        parts: list[Child] = []
        rows, columns = ticks(self.y_from, self.y_to, 5), ticks(self.x_from, self.x_to, 5)
        for at in rows:
            y, text = self.y(at), (write_y or _digits(rows))(at)
            parts.append(line([_LEFT, self.wide - _RIGHT], [y, y], "grid"))
            parts.append(label(_LEFT - 6, y + 4, text, "axis end"))
        for at in columns:
            text = (write_x or _digits(columns))(at)
            parts.append(label(self.x(at), self.high - _BOTTOM + 15, text, "axis middle"))
        parts.append(label((_LEFT + self.wide - _RIGHT) / 2, self.high - 4, x_name, "axis middle"))
        return joined(parts)


def _digits(found: Sequence[float]) -> Write:
    """Write numbers with as many digits as tell them apart."""
    step = min((abs(b - a) for a, b in zip(found, found[1:], strict=False)), default=1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return lambda value: f"{value + 0.0:,.{digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Drawn:
    """A line of a chart: its name, its points, and how it is drawn ("line", "line ahead")."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    class_name: str = "line"


def figure(title: str, chart: Html, numbers: Html | None = None, note: str = "") -> Html:
    """Return a chart with its title, and its numbers folded away below."""
    folded = (
        element("details", None, element("summary", None, "the numbers"), scrolled(title, numbers))
        if numbers is not None
        else None
    )
    caption = element("figcaption", None, element("strong", None, title), f" {note}" if note else None)
    return element("figure", {"class": "chart"}, caption, chart, folded)


def side_by_side(*figures: Child) -> Html:
    """Put charts beside one another, as many as there is room for."""
    return element("div", {"class": "charts"}, *figures)


def curves(
    title: str,
    lines: Sequence[Drawn],
    x_name: str,
    *,
    mark: float | None = None,
    mark_name: str = "",
    from_zero: bool = False,
    note: str = "",
) -> Html:
    """Draw lines over one axis; a mark is an upright line with a name."""
    ys = [y for one in lines for y in one.ys if math.isfinite(y)]
    xs = [x for one in lines for x in one.xs]
    low, high = (0.0 if from_zero else min(ys), max(ys)) if ys else (0.0, 1.0)
    room = 0.05 * (high - low or abs(high) or 1.0)
    axes = Axes(min(xs), max(xs), low if from_zero else low - room, high + room)
    parts: list[Child] = [axes.drawn(x_name)]
    if mark is not None:
        x = axes.x(mark)
        parts.append(line([x, x], [_TOP, HIGH - _BOTTOM], "marker"))
        is_high = bool(ys) and math.isfinite(lines[0].ys[-1]) and lines[0].ys[-1] > (low + high) / 2
        parts.append(_mark_name(x, HIGH - _BOTTOM - 8 if is_high else _TOP + 10, mark_name))
    for one in lines:
        parts.append(line([axes.x(x) for x in one.xs], [axes.y(y) for y in one.ys], one.class_name))
        if len(one.xs) <= 12:
            parts += [
                element("circle", {"cx": axes.x(x), "cy": axes.y(y), "r": 2.5, "class": one.class_name})
                for x, y in zip(one.xs, one.ys, strict=True)
                if math.isfinite(y)
            ]
    words = "; ".join(f"{one.name} from {_ends(one)}" for one in lines if len(one.ys))
    legend = _legend([(one.name, one.class_name) for one in lines]) if len(lines) > 1 else None
    chart = joined([picture(WIDE, HIGH, f"{title}, by {x_name}: {words}", *parts), legend])
    return figure(title, chart, _points(title, lines, x_name), note)


def band(axes: Axes, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> Html:
    """Shade what lies between two lines."""
    there = [f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in zip(xs, highs, strict=True)]
    back = [f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in zip(xs, lows, strict=True)][::-1]
    return element("path", {"class": "band", "d": f"M{'L'.join(there + back)}z"})


def _mark_name(x: float, y: float, name: str) -> Html:
    """Name an upright line on the side that has more room."""
    return label(x - 4, y, name, "axis end") if x > WIDE / 2 else label(x + 4, y, name, "axis")


def _ends(one: Drawn) -> str:
    return f"{compact(one.ys[0])} to {compact(one.ys[-1])}"


def _legend(rows: Sequence[tuple[str, str]]) -> Html:
    """Say which line is which, by how it is drawn."""
    parts = []
    for name, class_name in rows:
        sample = element(
            "svg",
            {"width": 26, "height": 8, "aria-hidden": "true"},
            line([1, 25], [4, 4], class_name),
        )
        parts.append(element("span", None, sample, f" {name}"))
    return element("p", {"class": "legend keys"}, *parts)


def _points(title: str, lines: Sequence[Drawn], x_name: str, most: int = 40) -> Html:
    """Return the points of lines as a table; of long lines every so many."""
    at = {x: None for one in lines for x in one.xs}
    xs = sorted(at)
    every = -(-len(xs) // most)
    kept = [x for place, x in enumerate(xs) if place % every == 0 or place == len(xs) - 1]
    known = [dict(zip(one.xs, one.ys, strict=True)) for one in lines]
    rows = [[compact(x), *(compact(ys[x]) if x in ys else "" for ys in known)] for x in kept]
    return table(title, [x_name, *(one.name for one in lines)], rows)


def histogram(
    title: str,
    values: Sequence[float],
    unit: str,
    *,
    others: Sequence[float] = (),
    names: tuple[str, str] = ("", ""),
    mark: float | None = None,
    mark_name: str = "",
    note: str = "",
) -> Html:
    """Draw how values are spread, as bars, and how others are, as a dashed line; both as shares.

    The longest hundredth of the values may lie beyond the right end, in the last bar.
    """
    edges = _edges([*values, *others])
    first, second = (_shares(given, edges) for given in (values, others))
    axes = Axes(edges[0], edges[-1], 0.0, 1.05 * max([*first, *second], default=1.0) or 1.0)
    parts: list[Child] = [axes.drawn(unit, write_y=lambda share: f"{100 * share:.3g}%")]
    for left, right, share in zip(edges, edges[1:], first, strict=False):
        top, floor = axes.y(share), axes.y(0)
        size = {"x": axes.x(left) + 0.5, "y": top, "width": max(0.5, axes.x(right) - axes.x(left) - 1)}
        parts.append(element("rect", {**size, "height": floor - top, "class": "bar-fill"}))
    if others:
        xs = [axes.x(edge) for pair in zip(edges, edges[1:], strict=False) for edge in pair]
        ys = [axes.y(share) for share in second for _ in (0, 1)]
        parts.append(line(xs, ys, "line ahead"))
    if mark is not None and edges[0] <= mark <= edges[-1]:
        parts.append(line([axes.x(mark)] * 2, [_TOP, HIGH - _BOTTOM], "marker"))
        parts.append(_mark_name(axes.x(mark), _TOP + 10, mark_name))
    legend = _bars_legend(names) if others else None
    words = "; ".join(
        f"{name or 'median'} {compact(float(np.median(given)))} {unit}"
        for name, given in zip((f"median {one}".strip() for one in names), (values, others), strict=True)
        if given
    )
    head = [unit, names[0] or "share", *([names[1]] if others else [])]
    rows = [
        [f"{compact(left)} to {compact(right)}", _percent(a), *([_percent(b)] if others else [])]
        for left, right, a, b in zip(edges, edges[1:], first, second or first, strict=False)
    ]
    chart = joined([picture(WIDE, HIGH, f"{title}: {words}", *parts), legend])
    return figure(title, chart, table(title, head, rows), note or words)


def _bars_legend(names: tuple[str, str]) -> Html:
    square = element(
        "svg",
        {"width": 12, "height": 10, "aria-hidden": "true"},
        element("rect", {"width": 12, "height": 10, "class": "bar-fill"}),
    )
    dashes = element(
        "svg", {"width": 26, "height": 8, "aria-hidden": "true"}, line([1, 25], [4, 4], "line ahead")
    )
    return element(
        "p",
        {"class": "legend keys"},
        element("span", None, square, f" {names[0]}"),
        element("span", None, dashes, f" {names[1]}"),
    )


def _edges(values: Sequence[float]) -> list[float]:
    """Return the ends of bars: whole numbers where values are whole, up to the longest but a hundredth."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), float(np.quantile(values, 0.99))
    is_whole = all(float(value).is_integer() for value in values[:200])
    span = max(high - low, 1.0 if is_whole else 1e-6)
    width = max(1.0, math.ceil(span / _BINS)) if is_whole else span / _BINS
    count = max(1, math.ceil((span + (1 if is_whole else 0)) / width))
    begin = low - 0.5 if is_whole and width == 1 else low
    return [begin + width * place for place in range(count + 1)]


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    if not values:
        return []
    clipped = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
    counts, _ = np.histogram(clipped, edges)
    return [float(share) for share in counts / len(values)]


def interval_mark(low: float, value: float, high: float, begin: float, end: float) -> Html:
    """Draw an interval with its value for a cell of a table; the table's numbers say the same."""
    wide, high_px = 150.0, 14.0
    span = (end - begin) or 1.0
    left, at, right = (6 + (wide - 12) * (one - begin) / span for one in (low, value, high))
    return element(
        "svg",
        {"width": wide, "height": high_px, "viewBox": f"0 0 {wide:.0f} {high_px:.0f}", "aria-hidden": "true"},
        line([6, wide - 6], [7, 7], "grid"),
        line([left, right], [7, 7], "line thick"),
        element("circle", {"cx": at, "cy": 7, "r": 4, "class": "dot"}),
    )


def compact(value: float) -> str:
    """Write a number shortly: 1,200, 0.25, 3.1e-05."""
    if not math.isfinite(value):
        return "none"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M".replace("-", "−")
    return f"{value:.3g}".replace("-", "−") if abs(value) < 1000 else number(value, 0)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
