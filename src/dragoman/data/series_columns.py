"""Tables of numbers as columns: CSV, TSV and Parquet, read strictly.

Shapes: S rows, V columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.lines import plain_name
from dragoman.data.parquet import read_parquet_columns
from dragoman.data.tables import Fields, column_number, csv_fields, tsv_fields
from dragoman.errors import DataError
from dragoman.recipe.columns import Column

MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "None"))
"""What a table writes where a value is missing."""
_TABS = (".tsv", ".tab")


@dataclass(frozen=True)
class ColumnTable:
    """A table by columns; `lines` is where each row stands in the file, counted from 1."""

    path: Path
    names: tuple[str, ...]
    columns: Sequence[Sequence[Any] | NDArray[Any]]
    lines: NDArray[np.int64]

    def number(self, column: Column) -> int:
        """Find a column by its name, or by its number from 0."""
        return column_number(self.path, column, self.names)


@dataclass(frozen=True)
class NumberColumns:
    """Columns as numbers (S, V), NaN where one is missing, and what is wrong with rows that hold others."""

    values: NDArray[np.float64]
    faults: Mapping[int, str]


def read_table(path: Path, named: Sequence[Column], labels: Sequence[Column]) -> ColumnTable:
    """Read a table whole.

    Its first line is a header if any of the columns `named` is given by its name, or if any cell of it is no
    number, those of the columns `labels` (ids, times) not looked at. A column without a header is called by
    its number. Raises DataError for rows of unequal length and lines that cannot be read.
    """
    if plain_name(path).endswith(".parquet"):
        columns = read_parquet_columns(path)
        count = len(next(iter(columns.values())))
        return ColumnTable(path, tuple(columns), list(columns.values()), np.arange(1, count + 1))
    rows = read_rows(path)
    first = rows[0].fields
    apart = {column for column in labels if isinstance(column, int)}
    cells = [cell for number, cell in enumerate(first) if number not in apart]
    has_header = any(isinstance(column, str) for column in named) or is_header(path, cells)
    names = tuple(first) if has_header else tuple(map(str, range(len(first))))
    body = rows[1:] if has_header else rows
    if not body:
        raise DataError(f"{path}: there is a header and nothing below it")
    for row in body:
        if len(row.fields) != len(names):
            raise DataError(
                f"{path}:{row.number}: expected {len(names)} columns as in the first line, "
                f"found {len(row.fields)}"
            )
    lines = np.array([row.number for row in body], np.int64)
    return ColumnTable(path, names, list(zip(*(row.fields for row in body), strict=True)), lines)


def read_rows(path: Path) -> list[Fields]:
    """Read the fields of all rows, at least one; DataError for a line that cannot be read."""
    rows = list((tsv_fields if plain_name(path).endswith(_TABS) else csv_fields)(path))
    for row in rows:
        if row.fault:
            raise DataError(f"{path}:{row.number}: {row.fault}: found {row.found[:80]!r}")
    return rows


def is_header(path: Path, cells: Sequence[str]) -> bool:
    """Tell whether the first line of a file holds names, not numbers; DataError where it holds both."""
    named = [cell for cell in cells if cell.strip() not in MISSING and number_of(cell) is None]
    numbers = [cell for cell in cells if number_of(cell) is not None]
    if named and numbers:
        raise DataError(
            f"{path}:1: neither names nor numbers: found {named[0]!r} beside {numbers[0]!r}; mend the line, "
            "or give the columns of ids, times and values by their names"
        )
    return bool(named)


def number_of(cell: str) -> float | None:
    """Read a finite number as files write it; None for anything else."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in cell else None


def read_numbers(table: ColumnTable, columns: Sequence[int]) -> NumberColumns:
    """Read columns as numbers."""
    values = np.empty((len(table.lines), len(columns)))
    faults: dict[int, str] = {}
    for place, column in enumerate(columns):
        cells = table.columns[column]
        values[:, place], wrong = _array(cells) if isinstance(cells, np.ndarray) else column_of(cells)
        faults |= {row: f"{found} in column {table.names[column]!r}" for row, found in wrong.items()}
    return NumberColumns(values, dict(sorted(faults.items())))


def column_of(cells: Sequence[str]) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Read cells as numbers; also say which are none, and what they are instead."""
    try:
        values = np.array(list(map(float, cells)))
        if np.isfinite(values).all() and not any("_" in cell for cell in cells):
            return values, {}
    except ValueError:
        pass
    read = [np.nan if cell.strip() in MISSING else number_of(cell) for cell in cells]
    wrong = {row: repr(cells[row]) for row, value in enumerate(read) if value is None}
    return np.array([np.nan if value is None else value for value in read]), wrong


def _array(cells: NDArray[Any]) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Take a column of a Parquet file."""
    if cells.dtype.kind in "fiub":
        values = cells.astype(np.float64)
        return values, {int(row): str(cells[row]) for row in np.flatnonzero(np.isinf(values))}
    return column_of(["" if cell is None else str(cell) for cell in cells])
