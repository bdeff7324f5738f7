"""Lists of recordings as streams of examples: TSV, CSV, JSON lines, Parquet, NeMo's, Common Voice's, Kaldi's.

Nothing that a list says is ever run: a Kaldi entry that is a command is a rejected row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dragoman.data.audio import END_TOLERANCE_SECONDS, Clip, clip_of, is_file, parts_of, seconds_of
from dragoman.data.lines import find_file, nearest, plain_name, read_lines
from dragoman.data.parquet import read_parquet
from dragoman.data.rejects import Rejects
from dragoman.data.rows import BadRow, proper_text, references_of
from dragoman.data.tables import FORMATS, Row, read_csv, read_jsonl, read_tsv
from dragoman.errors import DataError
from dragoman.recipe.columns import Column, columns_of
from dragoman.recipe.speech import Manifest, without_effect
from dragoman.records import Example, Origin

_NEMO_FILE = "audio_filepath"
_COMMON_VOICE_HEADER = {"client_id", "path", "sentence"}
_TO_THE_END = ("-1", "-1.0")
_SPACE = re.compile(r"[ \t]+")
MANIFEST_FORMATS = {**FORMATS, ".json": "jsonl", ".parquet": "parquet"}
"""Formats of lists by the endings of their names."""


def read_manifest(section: Manifest, folder: Path, rejects: Rejects) -> Iterator[Example]:
    """Stream the examples of a manifest in the order of its rows; bad rows go to `rejects`.

    Sources are absolute paths, with `#t=begin,end` where a row is a part of its file; such files are opened
    for their length. Files are looked for, but not read. Ids are `<name of the list>:<line>`. `merge` is left
    to the caller. Raises DataError at once for a list that is not there; while reading, for a column that is
    not there or a damaged list; at the end, where not one sound file was found.
    """
    form, path = _form_of(section, folder)
    if wrong := without_effect(section, form):
        raise DataError(f"{path}: " + "; ".join(wrong))
    below = path if form == "kaldi" else path.parent
    audio_folder = folder / section.audio_folder if section.audio_folder is not None else below
    if form == "common_voice" and section.audio_folder is None:
        audio_folder = below / "clips"
    files = _SoundFiles(audio_folder)
    if form == "kaldi":
        examples = _kaldi(section, path, files, rejects)
    else:
        examples = _table(section, form, path, files, rejects)
    return _some(examples, path, files)


def manifest_files(section: Manifest, folder: Path) -> list[Path]:
    """Return the files that make up a list; DataError for one that is not there."""
    form, path = _form_of(section, folder)
    if form != "kaldi":
        return [path]
    segments = path / "segments"
    return [find_file(path, "wav.scp"), find_file(path, "text"), *([segments] if segments.is_file() else [])]


def manifest_form(section: Manifest, folder: Path) -> str:
    """Return the format of a list, `auto` told by its name and first line; DataError where they do not."""
    return _form_of(section, folder)[0]


def _form_of(section: Manifest, folder: Path) -> tuple[str, Path]:
    path = folder / section.manifest
    if section.format == "kaldi" and path.is_file():
        raise DataError(f"{path}: is a file; the format kaldi is a folder with `wav.scp` and `text`")
    if section.format == "kaldi" or (section.format == "auto" and path.is_dir()):
        find_file(path, "wav.scp")
        return "kaldi", path
    path = find_file(folder, section.manifest)
    if section.format != "auto":
        return section.format, path
    ending = Path(plain_name(path)).suffix
    if ending not in MANIFEST_FORMATS:
        raise DataError(
            f"{path}: the name does not tell the format: found {ending!r}, known are "
            f"{', '.join(MANIFEST_FORMATS)}; say `format: tsv`, `csv`, `jsonl`, `parquet`, `nemo` or "
            "`common_voice`"
        )
    form = MANIFEST_FORMATS[ending]
    is_by_name = section.audio is None and section.begin is None and section.duration is None
    if is_by_name and form in ("jsonl", "tsv"):
        first = next(read_lines(path)).text
        if form == "jsonl" and f'"{_NEMO_FILE}"' in first:
            return "nemo", path
        if form == "tsv" and _COMMON_VOICE_HEADER.issubset(first.split("\t")):
            return "common_voice", path
    return form, path


def _some(examples: Iterator[Example], path: Path, files: _SoundFiles) -> Iterator[Example]:
    is_empty = True
    for example in examples:
        is_empty = False
        yield example
    if is_empty and files.first_missing:
        raise DataError(
            f"{path}: not one of its sound files is there; the first should be {files.first_missing}; "
            "`audio_folder` says where relative names start"
        )


class _SoundFiles:
    """Where relative names start, and which file was missing first."""

    def __init__(self, folder: Path) -> None:
        self.first_missing = ""
        self._folder = folder.absolute()
        self._latest = ("", 0.0)

    def source(self, clip: Clip) -> str:
        """Return the source that a row means; BadRow where there is no such clip."""
        if not clip.path.strip():
            raise BadRow("empty source", repr(clip.path))
        if clip.path.rstrip().endswith("|"):
            raise BadRow("a command", f"{clip.path}: commands are never run; write its output to a file")
        if clip.end is not None and clip.end <= clip.begin:
            raise BadRow("bad duration", f"{clip.begin:g} to {clip.end:g} of {clip.path}")
        path = self._folder / clip.path
        if not is_file(path):
            self.first_missing = self.first_missing or str(path)
            raise BadRow("missing audio", f"{path}{self._suggest(path)}")
        if clip.begin or clip.end is not None:
            self._check_end(clip, str(path))
        return clip_of(str(path), clip.begin, None if clip.end is None else clip.end - clip.begin)

    def _suggest(self, path: Path) -> str:
        """Name a neighbour while no other file was missing: looking for one takes time."""
        if self.first_missing != str(path) or not path.parent.is_dir():
            return ""
        return nearest(path.name, (neighbour.name for neighbour in path.parent.iterdir()))

    def _check_end(self, clip: Clip, path: str) -> None:
        if self._latest[0] != path:  # clips of one recording mostly follow one another
            try:
                self._latest = (path, seconds_of(clip_of(path)))
            except DataError as error:
                raise BadRow("unreadable audio", str(error)) from error
        seconds = self._latest[1]
        end = clip.begin if clip.end is None else clip.end
        if clip.begin >= seconds or end > seconds + END_TOLERANCE_SECONDS:
            raise BadRow("beyond the end", f"{clip.begin:g} to {end:g} of {seconds:.3f} seconds: {path}")


def _table(
    section: Manifest, form: str, path: Path, files: _SoundFiles, rejects: Rejects
) -> Iterator[Example]:
    for row in _rows(section, form, path):
        origin = Origin(section.manifest, row.number)
        if row.fault:
            rejects.add(row.fault, origin, row.found)
            continue
        try:
            name, begin, duration, *targets = row.values
            source = files.source(_clip(proper_text(name, "the sound file"), begin, duration))
            yield Example(source, references_of(targets, source), f"{path.name}:{row.number}", origin)
        except BadRow as bad:
            rejects.add(bad.kind, origin, bad.found)


def _rows(section: Manifest, form: str, path: Path) -> Iterator[Row]:
    """Stream rows of sound file, begin and duration (None where the list has none), and targets."""
    audio = "file" if section.audio is None else section.audio
    targets = columns_of("text" if section.target is None else section.target)
    match form:
        case "nemo":
            return read_jsonl(path, (_NEMO_FILE, "offset", "duration", *targets), ("offset", "duration"))
        case "common_voice":
            targets = ("sentence",) if section.target is None else targets
            return _filled(read_tsv(path, ("path", *targets)), None, None)
    wanted: list[Column] = [audio, *targets]
    wanted += [column for column in (section.begin, section.duration) if column is not None]
    match form:
        case "csv":
            rows = read_csv(path, wanted)
        case "jsonl":
            rows = read_jsonl(path, wanted)
        case "parquet":
            rows = read_parquet(path, wanted)
        case _:
            rows = read_tsv(path, wanted)
    return _filled(rows, section.begin, section.duration)


def _filled(rows: Iterator[Row], begin: Column | None, duration: Column | None) -> Iterator[Row]:
    """Bring values into the order sound file, begin, duration, targets; begin and duration come last."""
    for row in rows:
        if row.fault:
            yield row
            continue
        values = list(row.values)
        duration_value = None if duration is None else values.pop()
        begin_value = None if begin is None else values.pop()
        yield Row(row.number, [values[0], begin_value, duration_value, *values[1:]])


def _clip(name: str, begin: object, duration: object) -> Clip:
    """Return the clip of a row; without begin and duration, a name may be written as a clip itself."""
    if begin is None and duration is None:
        return parts_of(name)
    begin_seconds, length = _seconds(begin, "begin") or 0.0, _seconds(duration, "duration")
    return Clip(name, begin_seconds, None if length is None else begin_seconds + length)


def _seconds(value: object, role: str) -> float | None:
    """Return a number that is not below 0, None for an empty value."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        seconds = math.nan
    if isinstance(value, bool) or not (math.isfinite(seconds) and seconds >= 0):
        raise BadRow(f"bad {role}", f"{value!r}; expected seconds")
    return seconds


class _Entry(NamedTuple):
    """A line of a Kaldi file, without the id that it begins with."""

    rest: str
    origin: Origin


def _kaldi(section: Manifest, path: Path, files: _SoundFiles, rejects: Rejects) -> Iterator[Example]:
    """Read `wav.scp` and `segments` into memory, stream `text`."""
    recordings = _entries(section, path, "wav.scp", rejects)
    has_segments = (path / "segments").is_file()
    waiting = _entries(section, path, "segments", rejects) if has_segments else dict(recordings)
    for name, entry in _kaldi_lines(section, path, "text", rejects):
        try:
            if name not in waiting:
                raise BadRow("no audio", f"{name!r} stands in no other file, or stood in `text` before")
            utterance = waiting.pop(name)
            clip = _segment(utterance.rest, recordings) if has_segments else Clip(utterance.rest)
            source = files.source(clip)
            targets = references_of([entry.rest], source)
            yield Example(source, targets, f"text:{entry.origin.line}", entry.origin)
        except BadRow as bad:
            rejects.add(bad.kind, entry.origin, bad.found)
    for name, entry in waiting.items():
        rejects.add("no transcript", entry.origin, f"{name!r} does not stand in `text`")


def _entries(section: Manifest, path: Path, name: str, rejects: Rejects) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for key, entry in _kaldi_lines(section, path, name, rejects):
        if key in found:
            rejects.add("repeated id", entry.origin, f"{key!r} stood on line {found[key].origin.line}")
        else:
            found[key] = entry
    return found


def _kaldi_lines(section: Manifest, path: Path, name: str, rejects: Rejects) -> Iterator[tuple[str, _Entry]]:
    for line in read_lines(find_file(path, name)):
        origin = Origin(f"{section.manifest}/{name}", line.number)
        if line.fault or not line.text.strip():
            rejects.add(line.fault or "empty line", origin, line.text)
            continue
        key, *rest = _SPACE.split(line.text.strip(" \t"), maxsplit=1)
        yield key, _Entry(rest[0] if rest else "", origin)


def _segment(rest: str, recordings: dict[str, _Entry]) -> Clip:
    """Return the clip of a line of `segments`; an end of -1 is that of the recording."""
    parts: Sequence[str] = _SPACE.split(rest)
    if len(parts) != 3:
        raise BadRow("bad segment", f"{rest!r}; expected a recording, begin and end")
    name, begin, end = parts
    if name not in recordings:
        raise BadRow("no audio", f"the recording {name!r} does not stand in `wav.scp`")
    begin_seconds = _seconds(begin, "begin") or 0.0
    end_seconds = None if end in _TO_THE_END else _seconds(end, "end")
    return Clip(recordings[name].rest, begin_seconds, end_seconds)
