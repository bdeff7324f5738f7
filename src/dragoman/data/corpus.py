"""Files of examples as a stream of Examples: what a row must hold, and what becomes of rows that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from dragoman.data.lines import find_file, plain_name, read_lines
from dragoman.data.manifests import read_manifest
from dragoman.data.parquet import read_parquet
from dragoman.data.pharaoh import Link, links_of
from dragoman.data.rejects import Rejects
from dragoman.data.rows import BadRow, proper_text, references_of
from dragoman.data.tables import FORMATS, Row, read_csv, read_jsonl, read_tsv
from dragoman.data.word_places import word_spans
from dragoman.errors import DataError
from dragoman.recipe.columns import columns_of
from dragoman.recipe.data import Parallel, Table
from dragoman.recipe.speech import Manifest
from dragoman.records import Example, Origin, Value

_FORMATS = {**FORMATS, ".parquet": "parquet"}


def read_corpus(section: Parallel | Table | Manifest, folder: Path, rejects: Rejects) -> Iterator[Example]:
    """Stream the examples of a corpus in the order of its rows; bad rows go to `rejects`.

    Several references of a source come in one Example; of several, those left empty are no references. With
    `merge`, the whole corpus is held in memory. Ids are `<name of the file>:<line>`, and text is as it is in
    the file. Raises DataError at once for a missing file; while reading, for a column that is not there and a
    file that is empty or damaged; after the last pair, for parallel files of unequal length.
    """
    match section:
        case Parallel():
            targets = section.target if isinstance(section.target, tuple) else (section.target,)
            names = [section.source, *targets, *([] if section.alignment is None else [section.alignment])]
            paths = [find_file(folder, name) for name in names]
            examples = _parallel(names, paths, section.alignment is not None, rejects)
        case Table():
            examples = _table(section, find_file(folder, section.file), rejects)
        case Manifest():
            examples = read_manifest(section, folder, rejects)
    return _merged(examples) if section.merge else examples


def _parallel(names: list[str], paths: list[Path], is_aligned: bool, rejects: Rejects) -> Iterator[Example]:
    streams = [read_lines(path) for path in paths]
    for number, lines in enumerate(zip_longest(*streams), start=1):
        present = [line for line in lines if line is not None]
        if len(present) < len(lines):
            counts = [
                number - 1 if line is None else number + sum(1 for _ in stream)
                for line, stream in zip(lines, streams, strict=True)
            ]
            raise _unequal(paths, counts)
        wrong = next((at for at, line in enumerate(present) if line.fault), None)
        if wrong is not None:
            rejects.add(present[wrong].fault, Origin(names[wrong], number), present[wrong].text)
            continue
        texts = [line.text for line in present]
        alignment = texts.pop() if is_aligned else None
        if example := _example(Origin(names[0], number), paths[0], texts, 1, alignment, rejects):
            yield example


def _unequal(paths: list[Path], counts: list[int]) -> DataError:
    found = " and ".join(f"{count:,} in {path}" for path, count in zip(paths, counts, strict=True))
    return DataError(
        f"unequal line numbers: {found}; a line is missing or broken in two somewhere, "
        "and every pair after it is suspect: mend the files"
    )


def _table(section: Table, path: Path, rejects: Rejects) -> Iterator[Example]:
    sources, targets = columns_of(section.source), columns_of(section.target)
    is_aligned = section.alignment is not None
    wanted = (*sources, *targets) if section.alignment is None else (*sources, *targets, section.alignment)
    for row in _rows(section, path, wanted):
        origin = Origin(section.file, row.number)
        if row.fault:
            rejects.add(row.fault, origin, row.found)
            continue
        values = row.values[:-1] if is_aligned else row.values
        alignment = row.values[-1] if is_aligned else None
        if example := _example(origin, path, values, len(sources), alignment, rejects):
            yield example


def _rows(section: Table, path: Path, wanted: Sequence[int | str]) -> Iterator[Row]:
    ending = Path(plain_name(path)).suffix
    form = _FORMATS.get(ending) if section.format == "auto" else section.format
    match form:
        case "tsv":
            return read_tsv(path, wanted)
        case "csv":
            return read_csv(path, wanted)
        case "jsonl":
            return read_jsonl(path, wanted)
        case "parquet":
            return read_parquet(path, wanted)
        case _:
            known = ", ".join(_FORMATS)
            raise DataError(
                f"{path}: the name does not tell the format: found {ending!r}, known are {known}; "
                "say `format: tsv`, `csv`, `jsonl` or `parquet`"
            )


def _example(
    origin: Origin,
    path: Path,
    values: Sequence[object],
    sources: int,
    alignment: object,
    rejects: Rejects,
) -> Example | None:
    """Make the example of a row whose first values are its source; None where the row is bad."""
    try:
        source = "\t".join(proper_text(value, "the source") for value in values[:sources])
        if not source.strip():
            raise BadRow("empty source", repr(source))
        references = references_of(values[sources:], source)
        links = () if alignment is None else _links_of(alignment, source, references)
    except BadRow as bad:
        rejects.add(bad.kind, origin, bad.found)
        return None
    return Example(source, references, f"{path.name}:{origin.line}", origin, links)


def _links_of(alignment: object, source: str, references: tuple[str, ...]) -> tuple[Link, ...]:
    """Read the alignment of a pair; BadRow where it is none, or of words that are not there."""
    text = proper_text(alignment, "the alignment")
    if len(references) > 1:
        raise BadRow("bad alignment", f"{text!r} is of one target, found {len(references)}")
    try:
        links = sorted(links_of(text).possible)
    except DataError as error:
        raise BadRow("bad alignment", str(error)) from error
    words, others = len(word_spans(source)), len(word_spans(references[0]))
    for one, other in links:
        if one >= words or other >= others:
            found = f"{one}-{other} of {words} and {others} words: {source!r}, {references[0]!r}"
            raise BadRow("bad alignment", found)
    return tuple(links)


def _merged(examples: Iterator[Example]) -> Iterator[Example]:
    """Join examples of equal source into the first of them; a reference given twice counts once."""
    firsts: dict[Value, Example] = {}
    references: dict[Value, dict[Value, None]] = {}
    for example in examples:
        firsts.setdefault(example.source, example)
        references.setdefault(example.source, {}).update(dict.fromkeys(example.targets))
    for source, first in firsts.items():
        yield replace(first, targets=tuple(references[source]))
