"""Parquet files as streams of rows, or whole by columns. The only module that knows pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.lines import nearest
from dragoman.data.tables import Row
from dragoman.errors import DataError, MissingExtra
from dragoman.recipe.columns import Column

_ROWS_AT_ONCE = 1024


def read_parquet(path: Path, wanted: Sequence[Column]) -> Iterator[Row]:
    """Stream rows of the wanted columns, a row group at a time; `a.b` may be field `b` of a struct `a`.

    Rows count from 1. Raises MissingExtra without pyarrow, DataError for a file that is damaged, empty or
    lacks a column.
    """
    arrow = _load("pyarrow")
    try:
        with _load("pyarrow.parquet").ParquetFile(path) as file:
            if file.metadata.num_rows == 0:
                raise DataError(f"{path}: there are no rows in the file")
            places = [_place(path, column, file.schema_arrow) for column in wanted]
            number = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[".".join(place) for place in places]):
                columns = [_values(batch, place) for place in places]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield _row(number, values)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a complete Parquet file: {error}") from error


def parquet_names(path: Path) -> list[str]:
    """List the columns of a file, fields of structs among them by dotted names, and read no row."""
    arrow = _load("pyarrow")
    try:
        with _load("pyarrow.parquet").ParquetFile(path) as file:
            schema = file.schema_arrow
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a complete Parquet file: {error}") from error
    names = list(schema.names)
    return [found for name in names for found in (_fields(name, schema.field(name).type) or [name])]


def read_parquet_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file whole: a column of numbers as such with NaN for null, dates as datetime64, text as objects.

    Raises MissingExtra without pyarrow, DataError for a file that is damaged or empty, or where two columns
    have one name.
    """
    arrow = _load("pyarrow")
    try:
        with _load("pyarrow.parquet").ParquetFile(path) as file:
            table = file.read()
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a complete Parquet file: {error}") from error
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError(f"{path}: there are no rows in the file")
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: {names.count(twice)} columns are called {twice!r}; rename them")
    return {name: _array(path, name, table.column(name)) for name in names}


def _array(path: Path, name: str, column: Any) -> NDArray[Any]:
    types = _load("pyarrow").types
    if types.is_timestamp(column.type) and column.type.tz not in (None, "UTC"):
        raise DataError(f"{path}: times of column {name!r} are in the zone {column.type.tz}; convert to UTC")
    is_whole = types.is_integer(column.type) and column.null_count == 0
    if types.is_floating(column.type) or types.is_decimal(column.type) or types.is_integer(column.type):
        column = column if is_whole else column.cast("float64")
    return np.asarray(column.to_numpy())


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra("pyarrow", "data", "Reading Parquet files") from None


def _place(path: Path, column: Column, schema: Any) -> list[str]:
    """Return the names from the top of the schema down to a column."""
    names = list(schema.names)
    if isinstance(column, int) and column >= len(names):
        raise DataError(f"{path}: no column {column}; there are {len(names)}, counted from 0")
    wanted = names[column] if isinstance(column, int) else column
    if names.count(wanted) > 1:
        raise DataError(f"{path}: {names.count(wanted)} columns are called {wanted!r}; rename them")
    if wanted in names:
        return [wanted]
    known = dict.fromkeys(names)
    for name in names:
        known |= dict.fromkeys(_fields(name, schema.field(name).type) if names.count(name) == 1 else [])
    if wanted not in known:
        columns = ", ".join(map(repr, known))
        raise DataError(f"{path}: no column {wanted!r} among {columns}{nearest(wanted, known)}")
    return wanted.split(".")


def _fields(name: str, kind: Any) -> list[str]:
    """List a column's struct fields at any depth, as dotted names."""
    types = _load("pyarrow").types
    if not types.is_struct(kind):
        return []
    inner = [(f"{name}.{kind.field(index).name}", kind.field(index).type) for index in range(kind.num_fields)]
    return [found for path, below in inner for found in (path, *_fields(path, below))]


def _values(batch: Any, place: list[str]) -> list[object]:
    """Return a column as Python values; text that is not UTF-8 stays bytes."""
    column = batch.column(place[0])
    if place[1:]:
        column = _load("pyarrow.compute").struct_field(column, place[1:])
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_scalar(value) for value in column]


def _scalar(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return error.object


def _row(number: int, values: tuple[object, ...]) -> Row:
    wrong = next((value for value in values if isinstance(value, bytes)), None)
    if wrong is None:
        return Row(number, values)
    try:
        return Row(number, [value.decode("utf-8") if isinstance(value, bytes) else value for value in values])
    except UnicodeDecodeError as error:
        return Row(number, (), "bad utf-8", error.object.decode("utf-8", "backslashreplace"))
