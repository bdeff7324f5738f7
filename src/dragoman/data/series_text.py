"""Series as text: numbers that people type, JSON lists, CSV rows of forecasts.

Shapes: S steps, V variables, H horizon.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.rejects import shorten
from dragoman.errors import DataError
from dragoman.records import Series

_BETWEEN = re.compile(r"\s*[,;\s]\s*")
_DIGITS = 9
"""Significant digits of an answer: what a float32 needs to come back as it was."""


def parse_series(text: str) -> Series:
    """Read a JSON list of numbers or of lists (a step each, `null` where one is missing), or bare numbers.

    Bare numbers stand between spaces, commas or semicolons. DataError for anything else.
    """
    stripped = text.strip()
    if not stripped:
        raise DataError("expected numbers, found nothing")
    if not stripped.startswith("["):
        return Series(np.array([[_number(part)] for part in _BETWEEN.split(stripped)]))
    try:
        steps = json.loads(stripped, parse_constant=_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a JSON list of numbers: {error}: {shorten(text)}") from error
    if not steps:
        raise DataError("expected numbers, found an empty list")
    rows = [step if isinstance(step, list) else [step] for step in steps]
    if len({(isinstance(step, list), len(row)) for step, row in zip(steps, rows, strict=True)}) > 1:
        raise DataError(f"expected as many numbers at each step, found {shorten(text)}")
    return Series(np.array([[_json_number(cell) for cell in row] for row in rows], np.float64))


def _number(part: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise DataError(f"expected a number, found {shorten(part)!r}") from None


def _json_number(cell: Any) -> float:
    if cell is None:
        return np.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise DataError(f"expected a number, found {shorten(repr(cell))}")
    try:
        return float(cell)
    except OverflowError:
        return np.inf


def written(series: Series) -> str:
    """Write values as a JSON list: a number a step, or a list of them where there are several variables."""
    steps = [[None if np.isnan(cell) else _short(cell) for cell in row] for row in series.values]
    return json.dumps([row[0] for row in steps] if series.values.shape[1] == 1 else steps)


def series_csv(
    forecasts: Sequence[Series], quantiles: Sequence[Mapping[float, NDArray[np.float64]]] = ()
) -> str:
    """Write forecasts as CSV with a header: id, time (or the number of the step, from 1), variables.

    `quantiles` maps, for each forecast, a level to values (H, V); level 0.1 of `load` is column `load@0.1`.
    All forecasts have the same variables and levels.
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    levels = sorted(quantiles[0]) if quantiles else []
    names = forecasts[0].names or tuple(map(str, range(forecasts[0].values.shape[1])))
    more = [f"{name}@{level:g}" for level in levels for name in names]
    has_times = forecasts[0].times is not None
    rows.writerow(["id", "time" if has_times else "step", *names, *more])
    for number, forecast in enumerate(forecasts):
        bands = [quantiles[number][level] for level in levels]
        for step, values in enumerate(forecast.values):
            cells = [cell for part in (values, *(band[step] for band in bands)) for cell in part]
            when = step + 1 if forecast.times is None else str(forecast.times[step])
            rows.writerow([forecast.id, when, *("" if np.isnan(cell) else _short(cell) for cell in cells)])
    return out.getvalue()


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
