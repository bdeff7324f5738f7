"""Tables as streams of rows: TSV, CSV and JSON lines."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dragoman.data.lines import LONGEST_LINE, Line, nearest, read_lines
from dragoman.errors import DataError
from dragoman.recipe.columns import Column

FORMATS = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""What names of files say of their format."""
_QUOTED = re.compile(r'[^"]*+(?:""[^"]*+)*+')


class Row(NamedTuple):
    """The wanted values of a row, or its fault and what was found; `number` is the line it begins on."""

    number: int
    values: Sequence[object] = ()
    fault: str = ""
    found: str = ""


class Fields(NamedTuple):
    """All the fields of a row of a TSV or CSV file, or its fault."""

    number: int
    fields: list[str]
    fault: str = ""
    found: str = ""


def read_tsv(path: Path, wanted: Sequence[Column]) -> Iterator[Row]:
    """Stream rows split at tabs; nothing quotes a tab."""
    return _pick(path, tsv_fields(path), wanted)


def read_csv(path: Path, wanted: Sequence[Column]) -> Iterator[Row]:
    """Stream comma-separated rows (RFC 4180): quoted fields may hold commas, quotes and line feeds."""
    return _pick(path, csv_fields(path), wanted)


def read_jsonl(path: Path, wanted: Sequence[Column], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Stream one JSON object a line; `a.b` is the key `a.b`, or else the key `b` of the object under `a`.

    Of the wanted keys, those that are `optional` may be missing, which gives None. Numbers come as float.
    """
    keys = [name for name in wanted if isinstance(name, str)]
    if len(keys) < len(wanted):
        raise DataError(f"{path}: JSON lines have named keys, no numbered columns; name them all")
    return (_json_row(line, keys, optional) for line in read_lines(path))


def tsv_fields(path: Path) -> Iterator[Fields]:
    """Stream the rows of `read_tsv` with all their fields, a header among them."""
    lines = read_lines(path)
    return (Fields(line.number, line.text.split("\t"), line.fault, line.text) for line in lines)


def csv_fields(path: Path) -> Iterator[Fields]:
    """Stream the rows of `read_csv` with all their fields, a header among them."""
    lines = _Rewinding(read_lines(path, keep_return=True))
    while line := lines.take():
        yield _csv_row(line, lines)


def _pick(path: Path, rows: Iterator[Fields], wanted: Sequence[Column]) -> Iterator[Row]:
    """Choose the wanted columns of each row; the first line is a header if any of them is a name."""
    if any(isinstance(column, str) for column in wanted):
        header = next(rows)
        if header.fault:
            raise DataError(f"{path}:1: the header cannot be read: {header.fault}")
        numbers = [column_number(path, column, header.fields) for column in wanted]
    else:
        numbers = [int(column) for column in wanted]
    needed = max(numbers) + 1
    is_bare = True
    for row in rows:
        is_bare = False
        if row.fault:
            yield Row(row.number, (), row.fault, row.found)
        elif len(row.fields) < needed:
            yield Row(row.number, (), "wrong column count", f"{len(row.fields)} of {needed}: {row.found}")
        else:
            yield Row(row.number, [row.fields[number] for number in numbers])
    if is_bare:
        raise DataError(f"{path}: there is a header and nothing below it")


def column_number(path: Path, column: Column, header: Sequence[str]) -> int:
    """Find a column by its name, or by its number from 0; DataError where it is not in the header."""
    if isinstance(column, int):
        if column >= len(header):
            raise DataError(f"{path}: no column {column}; the header has {len(header)}, counted from 0")
        return column
    match header.count(column):
        case 1:
            return header.index(column)
        case 0:
            columns = ", ".join(map(repr, header))
            raise DataError(f"{path}: no column {column!r} among {columns}{nearest(column, header)}")
        case several:
            raise DataError(
                f"{path}: {several} columns are called {column!r}; give the column's number instead"
            )


class _Rewinding:
    """Lines that can be put back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._returned: deque[Line] = deque()

    def take(self) -> Line | None:
        """Return the next line, None at the end."""
        return self._returned.popleft() if self._returned else next(self._lines, None)

    def put_back(self, lines: Sequence[Line]) -> None:
        """Make these the next lines."""
        self._returned.extendleft(reversed(lines))


def _csv_row(first: Line, lines: _Rewinding) -> Fields:
    """Read on until the quotes are closed."""
    if '"' not in first.text:
        fields = first.text.removesuffix("\r").split(",")
        return Fields(first.number, fields, first.fault, first.text)
    record = _Record()
    taken: list[Line] = []
    length = 0
    line: Line | None = first
    while line is not None and length <= LONGEST_LINE:
        taken.append(line)
        length += len(line.text) + 1
        if line.fault == "line too long":
            return Fields(first.number, [], line.fault, line.text)
        try:
            is_complete = record.feed(line.text)
        except ValueError as error:
            return Fields(first.number, [], "bad quoting", f"{error}: {first.text}")
        if is_complete:
            fault = next((part.fault for part in taken if part.fault), "")
            return Fields(first.number, record.fields, fault, "\n".join(part.text for part in taken))
        line = lines.take()
    # One stray quote must not swallow the rows after it: they are read again as rows of their own.
    lines.put_back(taken[1:] if line is None else [*taken[1:], line])
    return Fields(first.number, [], "bad quoting", f"a quote that is never closed: {first.text}")


class _Record:
    """The fields of one CSV record, fed a line at a time; quotes within an unquoted field are ordinary."""

    def __init__(self) -> None:
        self.fields: list[str] = []
        self._open: list[str] | None = None

    def feed(self, line: str) -> bool:
        """Take a line and tell whether it ends the record; ValueError for text after a closing quote."""
        end = len(line) - line.endswith("\r")
        at = 0
        while True:
            if self._open is None and line.startswith('"', at):
                self._open, at = [], at + 1
            if self._open is None:
                comma = line.find(",", at)
                self.fields.append(line[at:end] if comma < 0 else line[at:comma])
                if comma < 0:
                    return True
                at = comma + 1
                continue
            at = self._quoted(line, at, self._open)
            if self._open is not None:
                return False
            if at >= end:
                return True
            if line[at] != ",":
                raise ValueError(f"text after a closing quote at character {at + 1}")
            at += 1

    def _quoted(self, line: str, at: int, parts: list[str]) -> int:
        """Read up to the closing quote, or to the end of the line with the quote still open."""
        text = _QUOTED.match(line, at)
        assert text is not None
        parts.append(text[0])
        if text.end() == len(line):
            parts.append("\n")
            return text.end()
        self.fields.append("".join(parts).replace('""', '"'))
        self._open = None
        return text.end() + 1


def _json_row(line: Line, keys: Sequence[str], optional: Sequence[str]) -> Row:
    if line.fault:
        return Row(line.number, (), line.fault, line.text)
    try:
        # Whole numbers are never wanted, and very long ones are refused by int().
        row = json.loads(line.text, parse_int=float)
    except (ValueError, RecursionError) as error:
        return Row(line.number, (), "bad json", f"{error}: {line.text}")
    if not isinstance(row, dict):
        return Row(line.number, (), "bad json", f"not an object: {line.text}")
    values: list[object] = []
    for key in keys:
        try:
            values.append(_value(row, key))
        except KeyError:
            if key in optional:
                values.append(None)
                continue
            return Row(line.number, (), "missing key", f"no {key!r}{nearest(key, row)} in {line.text}")
    return Row(line.number, values)


def _value(row: dict[str, object], key: str) -> object:
    if key in row:
        return row[key]
    first, dot, rest = key.partition(".")
    inner = row[first]
    if not dot or not isinstance(inner, dict):
        raise KeyError(key)
    return _value(inner, rest)
