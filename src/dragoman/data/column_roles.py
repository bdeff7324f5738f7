"""What the columns of a table are, by their names or by what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dragoman.data.audio import ENDINGS
from dragoman.data.series_columns import MISSING, number_of
from dragoman.errors import UserError
from dragoman.recipe.columns import Column

SOURCES = ("source", "src", "input", "inputs", "question", "article", "document", "body", "word", "lemma")
TARGETS = (
    "target",
    "tgt",
    "trg",
    "output",
    "outputs",
    "answer",
    "summary",
    "highlights",
    "subject",
    "pron",
    "pronunciation",
    "form",
)
TRANSCRIPTS = ("text", "sentence", "transcript", "transcription", "normalised", "normalized")
TIMES = ("date", "time", "timestamp", "datetime", "ds", "month", "day")
FEATURES = ("features", "feats", "tags", "msd")
_CODES = (
    "ar bg bn ca cs da de el en es et fa fi fr ga he hi hr hu id is it ja ka kk ko lt lv mk ms nl no pl pt "
    "ro ru sk sl sq sr sv sw ta te th tr uk ur uz vi zh"
)
"""Codes that name columns of translations."""
_DATE = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)?")
_FEATURES = re.compile(r"[^\s;]+(;[^\s;]+)*")
_MOST_FEATURES = 500


@dataclass(frozen=True)
class Columns:
    """The columns of a table and what they are for: `audio` is of speech, `time` and `id` are of series."""

    kind: Literal["pairs", "speech", "series"]
    has_header: bool
    source: Column | tuple[Column, ...] = 0
    target: Column = 1
    features: str | None = None
    audio: Column = 0
    time: Column | None = None
    id: Column | None = None
    is_rows: bool = False
    """Whether a row is a whole series."""
    why: str = ""


def columns_of_rows(path: Path, rows: Sequence[Sequence[str]]) -> Columns:
    """Recognise the columns of the first rows of a TSV or CSV file. Raises UserError where that fails."""
    width = max(map(len, rows))
    header = _header(rows)
    body = [row for row in rows[header is not None :] if row]
    names: list[Column] = list(header) if header else list(range(width))
    if not body:
        raise UserError(f"{path}: a header and nothing below it")
    if _is_ragged_series(body):
        return Columns(
            "series",
            header is not None,
            id=None,
            is_rows=True,
            why="Rows are series: an id, then its values.",
        )
    cells = [[row[at] for row in body if at < len(row)] for at in range(len(names))]
    audio = next((at for at, column in enumerate(cells) if _share(column, _is_audio) > 0.9), None)
    if audio is not None:
        return _speech(path, names, cells, audio, header is not None)
    numeric = [at for at, column in enumerate(cells) if _share(column, _is_number) > 0.95]
    times = [at for at, column in enumerate(cells) if _is_time(names[at], column)]
    if numeric and len({*numeric, *times}) >= len(names) - 1 and (times or len(numeric) > 1):
        return _series(names, cells, numeric, times, header is not None)
    return _pairs(path, names, cells, header is not None)


def keys_of_objects(path: Path, objects: Sequence[dict[str, object]]) -> Columns:
    """Recognise the keys of JSON objects; a `translation` of two languages gives two dotted keys."""
    flat: dict[str, list[str]] = {}
    for one in objects:
        for key, value in _leaves(one):
            flat.setdefault(key, []).append(value)
    names: list[Column] = [key for key, values in flat.items() if len(values) > len(objects) / 2]
    cells = [flat[str(name)] for name in names]
    audio = next((at for at, column in enumerate(cells) if _share(column, _is_audio) > 0.9), None)
    if audio is not None:
        return _speech(path, names, cells, audio, True)
    return _pairs(path, names, cells, True)


def _leaves(one: dict[str, object], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in one.items():
        match value:
            case str():
                found.append((above + key, value))
            case [str() as first, *_]:
                found.append((above + key, first))
            case dict():
                found += _leaves(value, f"{above}{key}.")
    return found


def _header(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the first row where it holds names: known words, languages, or words above numbers."""
    first = [cell.strip().lower() for cell in rows[0]]
    if len(set(first)) < len(first) or len(rows) < 2:
        return None
    known = {*SOURCES, *TARGETS, *TRANSCRIPTS, *TIMES, *FEATURES, "file", "path", "audio", "id", "unique_id"}
    body = [row for row in rows[1:] if len(row) == len(first)]
    recurs = any(row[at].strip().lower() == cell for row in body for at, cell in enumerate(first))
    languages = len(first) > 1 and all(cell in _CODES.split() for cell in first)
    above_numbers = any(
        body
        and not _is_number(cell)
        and not _is_time(0, [cell])
        and _share([row[at] for row in body], _is_number) > 0.9
        for at, cell in enumerate(first)
    )
    is_header = (not recurs and (bool(known & set(first)) or languages)) or above_numbers
    return [cell.strip() for cell in rows[0]] if is_header else None


def _share(cells: Sequence[str], test: object) -> float:
    assert callable(test)
    return sum(map(test, cells)) / len(cells) if cells else 0.0


def _is_audio(cell: str) -> bool:
    return cell.partition("#t=")[0].lower().endswith(ENDINGS) and " " not in cell.strip()


def _is_number(cell: str) -> bool:
    return cell.strip() in MISSING or number_of(cell) is not None


def _is_time(name: Column, cells: Sequence[str]) -> bool:
    is_named = isinstance(name, str) and name.lower() in TIMES
    return bool(cells) and (
        _share(cells, lambda cell: _DATE.fullmatch(cell.strip()) is not None) > 0.95
        or (is_named and _share(cells, _is_number) > 0.95)
    )


def _is_ragged_series(body: Sequence[Sequence[str]]) -> bool:
    """Say whether rows are series: an id, and then more numbers than there can be columns."""
    few = [row for row in body if len(row) < 30]
    if few or len({row[0] for row in body}) < len(body):
        return False
    return all(not _is_number(row[0]) and _share(row[1:], _is_number) > 0.95 for row in body)


def _speech(path: Path, names: list[Column], cells: list[list[str]], audio: int, has_header: bool) -> Columns:
    others = [at for at in range(len(names)) if at != audio]
    known = [at for word in TRANSCRIPTS for at in others if str(names[at]).lower() == word]
    texts = [at for at in others if len(set(cells[at])) > len(cells[at]) / 5 and not _is_numbers(cells[at])]
    found = next(iter([*known, *texts]), None)
    if found is None:
        raise UserError(f"{path}: sound files in column {names[audio]!r}, but no column says what is said")
    why = f"Column {names[audio]!r} names sound files, {names[found]!r} says what is said."
    return Columns("speech", has_header, audio=names[audio], target=names[found], why=why)


def _is_numbers(cells: Sequence[str]) -> bool:
    return _share(cells, _is_number) > 0.95


def _series(
    names: list[Column], cells: list[list[str]], numeric: list[int], times: list[int], has_header: bool
) -> Columns:
    labels = [at for at in range(len(names)) if at not in numeric and at not in times]
    time = names[times[0]] if times else None
    label = names[labels[0]] if labels and len(set(cells[labels[0]])) < len(cells[labels[0]]) else None
    values = [str(names[at]) for at in numeric if at not in times]
    told = ", ".join(values[:8]) + (" and more" if len(values) > 8 else "")
    why = f"Numbers in columns {told}" + (f", times in {time!r}" if time is not None else "")
    why += f", a series for each {label!r}." if label is not None else "."
    return Columns("series", has_header, time=time, id=label, why=why)


def _pairs(path: Path, names: list[Column], cells: list[list[str]], has_header: bool) -> Columns:
    told = [at for at, column in enumerate(cells) if len(set(column)) > 1 or len(cells) == 2]
    features = next((at for at in told if _is_features(names[at], cells[at])), None)
    texts = [at for at in told if at != features]
    lowered = {str(names[at]).lower(): at for at in texts}
    source = next((lowered[word] for word in SOURCES if word in lowered), None)
    target = next((lowered[word] for word in TARGETS if word in lowered), None)
    is_named = source is not None and target is not None
    if not is_named:
        plain = [at for at in texts if not _is_numbers(cells[at]) or len(texts) == 2]
        if len(plain) < 2:
            columns = ", ".join(map(repr, names))
            raise UserError(
                f"{path}: no two columns of text among {columns}; a pair needs a source and a target. "
                "Of two parallel files name both"
            )
        source, target = plain[:2]
    assert source is not None and target is not None
    chosen: Column | tuple[Column, ...] = names[source]
    why = f"Source is column {names[source]!r}, target {names[target]!r}"
    why += ", by their names" if is_named else ", the first two with text"
    if features is not None:
        chosen = (names[source], names[features])
        why += f"; {names[features]!r} holds grammatical features, which belong to the source"
    left = [repr(names[at]) for at in range(len(names)) if at not in (source, target, features)]
    why += f"; not read: {', '.join(left)}." if left else "."
    separator = ";" if features is not None else None
    return Columns("pairs", has_header, chosen, names[target], separator, why=why)


def _is_features(name: Column, cells: Sequence[str]) -> bool:
    """Say whether cells list tags between semicolons, of a small set."""
    listed = [cell for cell in cells if ";" in cell]
    is_named = isinstance(name, str) and name.lower() in FEATURES
    if len(listed) < len(cells) * (0.1 if is_named else 0.7):
        return False
    tags = {tag for cell in cells for tag in cell.split(";")}
    is_small = len(tags) <= min(_MOST_FEATURES, max(20, len(cells) / 2))
    return is_small and _share(cells, lambda cell: _FEATURES.fullmatch(cell) is not None) > 0.95
