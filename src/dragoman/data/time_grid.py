"""Times of a series: read strictly, checked for a regular step, filled where steps are left out, continued.

Shapes: S steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[Any]
"""(S,) datetime64[s], or int64 where steps are only numbered."""

_DATE = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.0+)?)?)?Z?)?)?")
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0+)?")
_DAY = 86_400
_SHORTEST_MONTH = 28 * _DAY
MOST_FILLED = 4
"""A grid with more than this many steps for each row that is there is no grid, but times of another kind."""


@dataclass(frozen=True, slots=True)
class Step:
    """What lies between two times: seconds (or plain numbers), or months.

    `shift` is the day that brings the last day of a month to the first of the next.
    """

    count: int
    is_months: bool = False
    shift: int = 0


class BadTime(Exception):  # noqa: N818 - a verdict on a row, not an error of the program
    """A row whose time cannot stand there: its number from 0, a kind of reject, and what was found."""

    def __init__(self, row: int, kind: str, found: str) -> None:
        """Keep where it is and what is wrong."""
        super().__init__(row, kind, found)
        self.row, self.kind, self.found = row, kind, found


def read_times(cells: Sequence[Any] | NDArray[Any]) -> Times:
    """Read ISO dates without a zone (or in UTC, `Z`) or whole numbers; BadTime for anything else."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "Miu":
        return _read_array(cells)
    texts = [str(cell).strip() for cell in cells]
    is_numbered = bool(texts) and all(map(_WHOLE.fullmatch, texts[:1]))
    pattern = _WHOLE if is_numbered else _DATE
    for row, text in enumerate(texts):
        if not pattern.fullmatch(text):
            wanted = "a whole number" if is_numbered else "an ISO date such as 2016-07-01 12:00"
            raise BadTime(row, "bad time", f"expected {wanted}, found {text!r}")
    if is_numbered:
        return np.array([int(text.partition(".")[0]) for text in texts], np.int64)
    texts = [text.removesuffix("Z").partition(".")[0].replace(" ", "T") for text in texts]
    # An hour without minutes is ISO, but not NumPy's.
    texts = [f"{text}:00" if len(text) == len("2016-07-01T12") else text for text in texts]
    try:
        return np.array(texts, "datetime64[s]")
    except ValueError:
        return np.array([_date(row, text) for row, text in enumerate(texts)])


def _read_array(cells: NDArray[Any]) -> Times:
    if cells.dtype.kind != "M":
        return cells.astype(np.int64)
    if np.isnat(cells).any():
        raise BadTime(int(np.isnat(cells).argmax()), "bad time", "expected a date, found nothing")
    times: Times = cells.astype("datetime64[s]")
    if (uneven := times != cells).any():
        row = int(uneven.argmax())
        raise BadTime(row, "bad time", f"expected whole seconds, found {cells[row]}")
    return times


def _date(row: int, text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "s")
    except ValueError as error:
        raise BadTime(row, "bad time", f"no such date: {text!r}") from error


def step_of(times: Times) -> Step | None:
    """Return the step of times that rise; None for fewer than two, or where others are no multiples of it.

    The step is the most frequent one. Months count as equal, whatever their days.
    """
    found = _commonest(times)
    return None if found is None or (found[1] % found[0].count).any() else found[0]


def go_on(times: Times, step: Step, count: int) -> Times:
    """Return the times of the next `count` steps."""
    steps = step.count * np.arange(1, count + 1)
    if not step.is_months:
        moves = steps if times.dtype.kind == "i" else steps.astype("timedelta64[s]")
        return np.asarray(times[-1] + moves)
    shift = np.timedelta64(step.shift, "s")
    last = times[-1] + shift
    month = last.astype("datetime64[M]")
    begun = (month + steps).astype("datetime64[s]")
    return np.asarray(begun + (last - month.astype("datetime64[s]")) - shift)


def fill(times: Times) -> tuple[Times, NDArray[np.int64]]:
    """Return the whole regular grid and at which of its rows each of the given times stands.

    Raises BadTime where times do not rise, where their steps are not multiples of the most frequent one, and
    where most of the grid would be missing.
    """
    _check_rising(times)
    found = _commonest(times)
    if found is None:
        return times, np.arange(len(times))
    step, moves = found
    if (uneven := moves % step.count != 0).any():
        row = int(uneven.argmax()) + 1
        unit = "months" if step.is_months else "" if times.dtype.kind == "i" else "seconds"
        raise BadTime(
            row,
            "irregular times",
            f"{times[row]} after {times[row - 1]}, where the usual step is {step.count:,} {unit}".rstrip(),
        )
    rows = np.concatenate(([0], np.cumsum(moves // step.count)))
    if rows[-1] + 1 > MOST_FILLED * len(times):
        row = int(moves.argmax()) + 1
        raise BadTime(row, "irregular times", f"{times[row]} after {times[row - 1]}: most steps are missing")
    grid = np.concatenate((times[:1], go_on(times[:1], step, int(rows[-1]))))
    return grid, rows


def _check_rising(times: Times) -> None:
    back = np.diff(times.astype(np.int64)) <= 0
    if back.any():
        row = int(back.argmax()) + 1
        kind = "duplicate time" if times[row] == times[row - 1] else "unsorted times"
        raise BadTime(row, kind, f"{times[row]} after {times[row - 1]}")


def _commonest(times: Times) -> tuple[Step, NDArray[np.int64]] | None:
    """Return the most frequent step, and the moves between times in its unit; None for fewer than two."""
    if len(times) < 2:
        return None
    numbers = times.astype(np.int64)
    moves = numbers[1:] - numbers[:-1]
    if times.dtype.kind == "M" and moves.min() >= _SHORTEST_MONTH:
        for shift in (0, _DAY):
            months, rests = _months(times + np.timedelta64(shift, "s"))
            if (rests == rests[0]).all():
                moves = np.diff(months)
                return Step(_mode(moves), is_months=True, shift=shift), moves
    return Step(_mode(moves)), moves


def _months(times: Times) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split times into months since 1970 and seconds since the month's beginning."""
    months = times.astype("datetime64[M]")
    return months.astype(np.int64), (times - months.astype("datetime64[s]")).astype(np.int64)


def _mode(moves: NDArray[np.int64]) -> int:
    found, counts = np.unique(moves, return_counts=True)
    return int(found[counts.argmax()])
