"""The section of a report about forecasts: errors by step and series, quantiles, the worst windows.

Shapes: H horizon, V variables, S steps of a context.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragoman.explanation.attribution import NAMES, Method
from dragoman.explanation.page.charts import (
    HIGH,
    WIDE,
    Axes,
    Drawn,
    band,
    compact,
    curves,
    figure,
    side_by_side,
)
from dragoman.explanation.page.drawing import label, line, picture, shading
from dragoman.explanation.page.elements import Child, Html, element, number, per_cent, scrolled, signed, table
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.forecast_quality import ForecastQuality, Window
from dragoman.explanation.report.parts import section

_MOST_SERIES = 30
_COUNTING, _ROOM = 7.0, 0.08
"""How high shades of what counts are, and the share of a chart that is kept free for them."""
_TABLE_STEPS = 24


def forecasts(found: Findings) -> Html | None:
    """Return where forecasts go wrong; None where there are none."""
    given = found.numbers
    if given is None:
        return None
    steps = list(range(1, len(given.by_step) + 1))
    parts: list[Child] = []
    if len(steps) > 1:
        note = "Mean absolute error, in deviations of the training values."
        drawn = Drawn("error", steps, given.by_step.tolist())
        parts.append(side_by_side(curves("Error by step", [drawn], "step", from_zero=True, note=note)))
    if len(given.by_series) > 1:
        parts.append(_by_series(given))
    if given.coverage:
        parts.append(_coverage(given))
    for name, windows in (("The worst windows", given.worst), ("The best windows", given.best)):
        if windows:
            parts.append(element("h3", None, name))
            parts.append(side_by_side(*(_window(one, found.shown_by) for one in windows)))
    return section("forecasts", "Where forecasts go wrong", *parts)


def _by_series(given: ForecastQuality) -> Html:
    rows: list[list[Child]] = [
        [one.name, f"{one.windows:,}", number(one.error, 3), signed(one.bias, 3)]
        for one in given.by_series[:_MOST_SERIES]
    ]
    more = (
        f", the worst {_MOST_SERIES} of {len(given.by_series):,}"
        if len(given.by_series) > _MOST_SERIES
        else ""
    )
    caption = f"Mean absolute error by series, in deviations of its training values{more}"
    head = ["series", "windows", "error", "with its sign (+ is too high)"]
    return scrolled(caption, table(caption, head, rows))


def _coverage(given: ForecastQuality) -> Html:
    rows: list[list[Child]] = [
        [f"{one.level:g}", per_cent(one.share), f"{signed(100 * (one.share - one.level), 1)} points"]
        for one in given.coverage
    ]
    caption = "Do quantiles hold what they say? Below a quantile of 0.9 there should be 90% of what came"
    return scrolled(caption, table(caption, ["quantile", "below it", "off by"], rows))


def _window(one: Window, method: Method) -> Html:
    """Draw the end of a context, what counts of it, what came, and the forecast of its worst variable."""
    errors_V = np.nanmean(np.abs(one.point - one.truth), axis=0)
    variable = int(np.nanargmax(errors_V))
    point, truth = one.point[:, variable], one.truth[:, variable]
    horizon = len(point)
    past = (
        one.context.values[-2 * horizon :, variable]
        if variable < one.context.values.shape[1]
        else np.zeros(0)
    )
    before = list(range(1 - len(past), 1))
    ahead = list(range(1, horizon + 1))
    everything = np.concatenate([past, point, truth, *(band[:, variable] for band in one.quantiles.values())])
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    low -= _ROOM * (high - low) if one.places else 0.0
    axes = Axes(before[0] if before else 1, horizon, low, high)
    parts: list[Child] = [axes.drawn("step")]
    parts.append(_band(axes, one, variable))
    parts.append(line([axes.x(0.5)] * 2, [axes.y(low), axes.y(high)], "marker"))
    for xs, ys, class_name in ((before, past, "line"), (ahead, truth, "line"), (ahead, point, "line ahead")):
        parts.append(line([axes.x(x) for x in xs], [axes.y(y) for y in ys.tolist()], class_name))
    parts.append(label(axes.x(0.5) + 4, axes.y(low) - 6, "forecast", "axis"))
    parts.append(_counting(one, axes, len(past)))
    names = one.context.names
    named = f", {names[variable]}" if len(names) > variable and len(names) > 1 else ""
    title = f"{one.name}{named}"
    told = _told(one, len(past), method)
    words = f"{title}: error {number(one.error, 3)}.{told}"
    rows = _steps(ahead, point.tolist(), truth.tolist())
    numbers = table(title, ["step", "forecast", "came"], rows)
    note = f"Error {number(one.error, 3)}; what came is whole, the forecast dashed.{told}"
    return figure(title, picture(WIDE, HIGH, words, *parts), numbers, note)


def _counting(one: Window, axes: Axes, drawn: int) -> Html | None:
    """Shade below the context how much each place of it counts, as far as it is drawn."""
    if not one.places or not drawn:
        return None
    steps = len(one.context.values)
    first = steps - drawn
    seen = [number for number, place in enumerate(one.places) if place.end > first]
    lefts = [axes.x(max(one.places[number].begin, first) - steps + 0.5) for number in seen]
    rights = [axes.x(one.places[number].end - steps + 0.5) for number in seen]
    return shading(one.weights_P[None, seen], lefts, rights, [axes.y(axes.y_from) - _COUNTING], _COUNTING)


def _told(one: Window, drawn: int, method: Method) -> str:
    """Say what of the context counts most, and how much counts that lies before what is drawn."""
    if not one.weights_P.any():
        return ""
    first = len(one.context.values) - drawn
    is_early_P = np.array([place.end <= first for place in one.places])
    early = float(one.weights_P[is_early_P].sum() / one.weights_P.sum())
    most = one.places[int(one.weights_P.argmax())].label
    earlier = f"; {per_cent(early)} of it is earlier than what is drawn" if early else ""
    return f" Shades: what counts ({NAMES[method]}), most at {most}{earlier}."


def _band(axes: Axes, one: Window, variable: int) -> Html | None:
    """Shade what lies between the outermost quantiles."""
    if len(one.quantiles) < 2:
        return None
    levels = min(one.quantiles), max(one.quantiles)
    lowest, highest = (one.quantiles[level][:, variable].tolist() for level in levels)
    return band(axes, range(1, len(lowest) + 1), lowest, highest)


def _steps(ahead: Sequence[int], point: Sequence[float], truth: Sequence[float]) -> list[list[Child]]:
    every = -(-len(ahead) // _TABLE_STEPS)
    return [
        [str(step), compact(ours), compact(theirs)]
        for step, ours, theirs in list(zip(ahead, point, truth, strict=True))[::every]
    ]
