"""Files of numbers as series: long, wide, a row a series, arrays; times checked, gaps filled with NaN.

Shapes: S steps, V variables, C known covariates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dragoman.data.lines import find_file
from dragoman.data.rejects import Rejects
from dragoman.data.series_columns import (
    ColumnTable,
    NumberColumns,
    column_of,
    is_header,
    read_numbers,
    read_rows,
    read_table,
)
from dragoman.data.tables import column_number
from dragoman.data.time_grid import BadTime, Times, fill, read_times
from dragoman.errors import DataError
from dragoman.recipe.columns import columns_of
from dragoman.recipe.series import SeriesFiles, files_of, layout_of
from dragoman.records import Origin, Series

ONLY_VARIABLE = ("value",)
"""The name of a series' variable where the file has none for it."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """What one file says of one series; `lines` (S,) is where each step stands in it."""

    id: str
    file: str
    lines: NDArray[np.int64]
    values: NDArray[np.float64]
    names: tuple[str, ...] = ONLY_VARIABLE
    times: Times | None = None
    known: NDArray[np.float64] | None = None
    known_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Fault:
    """Why a series cannot be used: a kind of reject, where it is, and what was found."""

    id: str
    kind: str
    origin: Origin
    found: str


_Pieces = Iterator[_Piece | _Fault]


def read_series(section: SeriesFiles, folder: Path, rejects: Rejects) -> list[Series]:
    """Read the series of a section in the order of their first rows.

    A missing value is NaN; so is every value of a step that a regular grid of times leaves out. Times that
    are only numbers order the steps and are not kept. One fault rejects the whole of its series, since a row
    less would move all that follow. Raises DataError for a file that cannot be read or lacks a column, and
    where no series is left.
    """
    names = files_of(section.series)
    paths = [find_file(folder, name) for name in names]
    layout = layout_of(section)
    read = {"long": _long, "wide": _wide, "rows": _rows, "npy": _arrays}[layout]
    pieces: dict[str, list[_Piece | _Fault]] = {}
    for name, path in zip(names, paths, strict=True):
        for piece in read(section, name, path):
            pieces.setdefault(piece.id, []).append(piece)
    found: list[Series] = []
    for parts in pieces.values():
        series = _joined(parts, names)
        if isinstance(series, Series):
            found.extend(_apart(series) if section.apart else [series])
        elif layout == "wide":
            raise DataError(f"{series.origin}: {series.kind}: {series.found}")
        else:
            rejects.add(series.kind, series.origin, series.found)
    if not found:
        raise DataError(f"{paths[0]}: no series is left; {rejects.summary()}")
    return found


@dataclass(frozen=True)
class _Columns:
    """A table and which of its columns are what; `numbers` holds values first, then known covariates."""

    table: ColumnTable
    numbers: NumberColumns
    names: tuple[str, ...]
    known_names: tuple[str, ...]
    times: Sequence[Any] | NDArray[Any] | None


def _columns(section: SeriesFiles, path: Path) -> _Columns:
    given = [*columns_of(section.id), *columns_of(section.time)]
    numeric = [*columns_of(section.values), *columns_of(section.known)]
    table = read_table(path, [*given, *numeric], given)
    labels = [table.number(column) for column in given]
    known = [table.number(column) for column in columns_of(section.known)]
    values = [table.number(column) for column in columns_of(section.values)] or [
        number for number in range(len(table.names)) if number not in {*labels, *known}
    ]
    if not values:
        raise DataError(f"{path}: no column is left for values among {', '.join(map(repr, table.names))}")
    if len({*labels, *known, *values}) < len(labels) + len(known) + len(values):
        raise DataError(f"{path}: a column is named twice, once by its number; it can be one thing")
    return _Columns(
        table,
        read_numbers(table, [*values, *known]),
        tuple(table.names[number] for number in values),
        tuple(table.names[number] for number in known),
        None if section.time is None else table.columns[table.number(section.time)],
    )


def _wide(section: SeriesFiles, name: str, path: Path) -> _Pieces:
    columns = _columns(section, path)
    yield _cut(columns, "", name, np.arange(len(columns.table.lines)))


def _long(section: SeriesFiles, name: str, path: Path) -> _Pieces:
    columns = _columns(section, path)
    assert section.id is not None
    rows: dict[str, list[int]] = defaultdict(list)
    for row, cell in enumerate(columns.table.columns[columns.table.number(section.id)]):
        rows["" if cell is None else str(cell)].append(row)
    if "" in rows:
        line = columns.table.lines[rows[""][0]]
        raise DataError(f"{path}:{line}: expected the id of a series, found nothing")
    for series_id, numbers in rows.items():
        yield _cut(columns, series_id, name, np.array(numbers))


def _cut(columns: _Columns, series_id: str, name: str, rows: NDArray[np.int64]) -> _Piece | _Fault:
    """Take the rows of one series out of a table."""
    lines = columns.table.lines[rows]
    faults = columns.numbers.faults
    wrong = next((row for row in rows if row in faults), None) if faults else None
    if wrong is not None:
        origin = Origin(name, int(columns.table.lines[wrong]))
        advice = "" if columns.times is not None else "; a column of times is named with `time`"
        return _Fault(series_id, "not a number", origin, f"{faults[wrong]}{advice}")
    numbers = columns.numbers.values[rows]
    values, known = np.split(numbers, [len(columns.names)], axis=1)
    if (gaps := np.isnan(known).any(axis=1)).any():
        origin = Origin(name, int(lines[gaps.argmax()]))
        return _Fault(
            series_id, "missing known value", origin, f"nothing among {', '.join(columns.known_names)}"
        )
    times = None
    if columns.times is not None:
        cells = columns.times
        try:
            times = read_times(cells[rows] if isinstance(cells, np.ndarray) else [cells[row] for row in rows])
        except BadTime as bad:
            return _Fault(series_id, bad.kind, Origin(name, int(lines[bad.row])), bad.found)
    return _Piece(
        series_id,
        name,
        lines,
        values,
        columns.names,
        times,
        known if columns.known_names else None,
        columns.known_names,
    )


def _rows(section: SeriesFiles, name: str, path: Path) -> _Pieces:
    """Read a row a series; empty cells at its end are padding, those before are missing values."""
    rows = read_rows(path)
    first = rows[0].fields
    place = 0 if section.id is None else column_number(path, section.id, first)
    is_named = isinstance(section.id, str)
    for row in rows[is_named or is_header(path, first[:place] + first[place + 1 :]) :]:
        if place >= len(row.fields) or not (series_id := row.fields[place].strip()):
            raise DataError(f"{path}:{row.number}: expected the id of a series, found nothing")
        cells = row.fields[:place] + row.fields[place + 1 :]
        while cells and not cells[-1].strip():
            cells.pop()
        values, faults = column_of(cells)
        origin = Origin(name, row.number)
        if faults:
            at = min(faults)
            yield _Fault(
                series_id, "not a number", origin, f"{faults[at]} as value {at + 1} of {series_id!r}"
            )
        elif not cells:
            yield _Fault(series_id, "empty series", origin, f"no value of {series_id!r}")
        else:
            yield _Piece(series_id, name, np.full(len(cells), row.number), values[:, None])


def _arrays(section: SeriesFiles, name: str, path: Path) -> _Pieces:
    """Read an array, or all arrays of an archive by their names; never a pickle."""
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded.items())
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise DataError(f"{path}: not a NumPy array of numbers: {error}") from error
    for series_id, array in arrays.items():
        if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
            shape = "×".join(map(str, array.shape))
            raise DataError(
                f"{path}: expected numbers by steps, or by steps and variables, "
                f"found {array.dtype} in the shape {shape or 'of a single value'}"
            )
        values = array.astype(np.float64).reshape(len(array), -1)
        names = ONLY_VARIABLE if array.ndim == 1 else tuple(map(str, range(values.shape[1])))
        if section.values is not None:
            chosen = [column_number(path, column, names) for column in columns_of(section.values)]
            values, names = values[:, chosen], tuple(names[number] for number in chosen)
        if (infinite := np.isinf(values).any(axis=1)).any():
            row = int(infinite.argmax())
            yield _Fault(series_id, "not a number", Origin(name, row + 1), f"{values[row]}")
        else:
            yield _Piece(series_id, name, np.arange(1, len(values) + 1), values, names)


def _joined(parts: Sequence[_Piece | _Fault], files: Sequence[str]) -> Series | _Fault:
    """Put the pieces of a series end to end, on a regular grid of times where there are times."""
    pieces: list[_Piece] = []
    for part in parts:
        if isinstance(part, _Fault):
            return part
        if fault := _mismatch(pieces, part):
            return fault
        pieces.append(part)
    first = pieces[0]
    whole = Series(
        np.concatenate([piece.values for piece in pieces]),
        first.names,
        first.id,
        known_values=None if first.known is None else np.concatenate([piece.known for piece in pieces]),
        known_names=first.known_names,
    )
    if first.times is None:
        missing = [file for file in files if file not in {piece.file for piece in pieces}]
        if missing:
            origin = Origin(first.file, int(first.lines[0]))
            found = f"{first.id!r} is not in {missing[0]}; without times each file must have every series"
            return _Fault(first.id, "incomplete series", origin, found)
        return whole
    return _on_grid(whole, pieces)


def _mismatch(before: Sequence[_Piece], piece: _Piece) -> _Fault | None:
    """Say what keeps a piece from going on with those before it."""
    if not before:
        return None
    first, origin = before[0], Origin(piece.file, int(piece.lines[0]))
    if piece.file in {other.file for other in before}:
        return _Fault(piece.id, "duplicate id", origin, f"{piece.id!r} came before, in line {first.lines[0]}")
    if (piece.names, piece.known_names) != (first.names, first.known_names):
        found = f"{', '.join(piece.names + piece.known_names)}; "
        found += f"{first.file} has {', '.join(first.names + first.known_names)}"
        return _Fault(piece.id, "other columns", origin, found)
    if piece.times is not None and first.times is not None and piece.times.dtype != first.times.dtype:
        return _Fault(piece.id, "bad time", origin, f"{piece.times[0]}; {first.file} has {first.times[0]}")
    return None


def _on_grid(series: Series, pieces: Sequence[_Piece]) -> Series | _Fault:
    """Check the times of a series and give a row of NaN to each step that they leave out."""
    times: Times = np.concatenate([piece.times for piece in pieces])
    origins = [(piece.file, int(line)) for piece in pieces for line in piece.lines]
    try:
        grid, rows = fill(times)
    except BadTime as bad:
        return _Fault(series.id, bad.kind, Origin(*origins[bad.row]), bad.found)
    dates = grid if grid.dtype.kind == "M" else None
    if len(grid) == len(times):
        return replace(series, times=dates)
    if series.known_values is not None:
        row = int((np.diff(rows) > 1).argmax()) + 1
        found = f"{times[row]} after {times[row - 1]}: steps between them have no {series.known_names[0]!r}"
        return _Fault(series.id, "missing known value", Origin(*origins[row]), found)
    values = np.full((len(grid), series.values.shape[1]), np.nan)
    values[rows] = series.values
    return replace(series, values=values, times=dates)


def _apart(series: Series) -> Iterator[Series]:
    """Make each variable a series of its own."""
    for number, name in enumerate(series.names):
        apart = f"{series.id}/{name}" if series.id else name
        yield replace(series, id=apart, names=ONLY_VARIABLE, values=series.values[:, [number]])
