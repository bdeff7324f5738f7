"""Measures data before a recipe is planned: what is in the files, how much, how long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from dragoman.data.column_roles import Columns, columns_of_rows, keys_of_objects
from dragoman.data.lines import plain_name, read_lines
from dragoman.data.manifests import MANIFEST_FORMATS, manifest_form
from dragoman.data.pair_facts import pair_facts
from dragoman.data.parquet import parquet_names, read_parquet
from dragoman.data.roles import Given, given_files
from dragoman.data.series_facts import series_facts
from dragoman.data.speech_facts import speech_facts
from dragoman.data.tables import FORMATS, csv_fields, tsv_fields
from dragoman.errors import DataError
from dragoman.recipe.facts import Corpus, Facts, Files
from dragoman.recipe.speech import Manifest

_LOOKED_AT = 500
"""Rows from which columns are recognised."""
_USUAL: dict[str, tuple[str, str]] = {
    "nemo": ("audio_filepath", "text"),
    "common_voice": ("path", "sentence"),
}
"""Columns of the sound file and of what is said, where a format fixes them."""


def measure(names: Sequence[str]) -> Facts:
    """Say what files hold: a table, two parallel texts, a list of recordings, series; or a folder of such.

    Reads all rows of pairs up to a bound, headers of recordings, and series whole. Raises DataError and
    UserError where it cannot be told what they are.
    """
    given = given_files(names)
    if len(given.train) == 2:
        return pair_facts(_parallel(given), None)
    path = given.folder / given.train[0]
    if path.is_dir():
        return speech_facts(_kaldi(given))
    form = format_of(path)
    if form == "npy":
        return series_facts(_files(given, {"series": given.train[0]}, "series"))
    columns = columns_of(path, form)
    match columns.kind:
        case "series":
            return series_facts(_files(given, _series(given.train[0], columns, form), "series", columns))
        case "speech":
            return speech_facts(_files(given, _manifest(given, columns, form), "manifest", columns))
        case "pairs":
            table: Corpus = {"file": given.train[0], **_form(path, form, columns)}
            return pair_facts(_files(given, table, "file", columns), columns.features)


def format_of(path: Path) -> str:
    """Say how a table is written, by its name or else by its first line; DataError for text alone."""
    ending = Path(plain_name(path)).suffix
    if ending in (".npy", ".npz"):
        return "npy"
    if ending == ".parquet":
        return "parquet"
    if ending in FORMATS:
        return FORMATS[ending]
    first = next(read_lines(path)).text
    if "\t" in first:
        return "tsv"
    if first.lstrip().startswith("{"):
        return "jsonl"
    if first.count(",") and all(len(cell) < 40 for cell in first.split(",")):
        return "csv"
    raise DataError(
        f"{path}: no tab, comma or JSON in the first line, so no columns; of parallel files name both: "
        "the source, then the target"
    )


def columns_of(path: Path, form: str) -> Columns:
    """Recognise the columns of a table by its first rows."""
    match form:
        case "jsonl":
            return keys_of_objects(path, _objects(path))
        case "parquet":
            names = parquet_names(path)
            rows = [names]
            rows += [
                ["" if value is None else str(value) for value in row.values]
                for row in islice(read_parquet(path, names), _LOOKED_AT)
            ]
            return columns_of_rows(path, rows)
        case _:
            fields = (tsv_fields if form == "tsv" else csv_fields)(path)
            return columns_of_rows(path, [row.fields for row in islice(fields, _LOOKED_AT) if not row.fault])


def _objects(path: Path) -> list[dict[str, object]]:
    found = []
    for line in islice(read_lines(path), _LOOKED_AT):
        try:
            one = json.loads(line.text)
        except ValueError:
            continue
        if isinstance(one, dict):
            found.append(one)
    if not found:
        raise DataError(f"{path}: not one of the first lines is a JSON object")
    return found


def _form(path: Path, form: str, columns: Columns) -> dict[str, object]:
    """Write a table's columns as a recipe does, what is by default left out."""
    said: dict[str, object] = {}
    if Path(plain_name(path)).suffix not in (*FORMATS, ".parquet"):
        said["format"] = form
    source = list(columns.source) if isinstance(columns.source, tuple) else columns.source
    if source != 0 or columns.target != 1:
        said |= {"source": source, "target": columns.target}
    return said


def _series(name: str, columns: Columns, form: str) -> Corpus:
    said: dict[str, object] = {"series": name}
    if columns.is_rows:
        return {**said, "format": "rows"}
    if form == "parquet":
        said["format"] = "parquet"
    if columns.id is not None:
        said["id"] = columns.id
    if columns.time is not None:
        said["time"] = columns.time
    return said


def _manifest(given: Given, columns: Columns, form: str) -> Corpus:
    name = given.train[0]
    said: dict[str, object] = {"manifest": name}
    if Path(plain_name(Path(name))).suffix not in MANIFEST_FORMATS:
        said["format"] = form
    known = manifest_form(Manifest.model_validate(said), given.folder)
    audio, target = _USUAL.get(known, ("file", "text"))
    if columns.audio != audio:
        said["audio"] = columns.audio
    if columns.target != target:
        said["target"] = columns.target
    return said


def _files(given: Given, train: Corpus, key: str, columns: Columns | None = None) -> Files:
    """Say the same of development and test files, which are written alike."""

    def alike(names: tuple[str, ...]) -> Corpus | None:
        return {**train, key: names[0]} if names else None

    notes = (*given.notes, *([columns.why] if columns is not None and columns.why else []))
    return Files(str(given.folder), train, alike(given.dev), alike(given.test), notes)


def _parallel(given: Given) -> Files:
    def pair(names: tuple[str, ...]) -> Corpus | None:
        return {"source": names[0], "target": names[1]} if names else None

    train = pair(given.train)
    assert train is not None
    return Files(str(given.folder), train, pair(given.dev), pair(given.test), given.notes)


def _kaldi(given: Given) -> Files:
    def folder(names: tuple[str, ...]) -> Corpus | None:
        return {"manifest": names[0]} if names else None

    return Files(
        str(given.folder), {"manifest": given.train[0]}, folder(given.dev), folder(given.test), given.notes
    )
