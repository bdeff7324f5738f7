"""Files as streams of lines: plain or compressed, strict UTF-8, split at line feeds only."""

from __future__ import annotations

import bz2
import difflib
import gzip
import importlib
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from dragoman.errors import DataError

LONGEST_LINE = 1_000_000
"""Lines with more bytes than this are not examples but accidents, and would not fit a model."""

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_COMPRESSED = (".gz", ".xz", ".bz2", ".zst")


class Line(NamedTuple):
    """A line without its line feed: `number` counts from 1, `fault` is a kind of reject or empty."""

    number: int
    text: str
    fault: str = ""


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a file that exists; raises DataError with the nearest name otherwise."""
    path = folder / name
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name the file in it")
    if not path.parent.is_dir():
        raise DataError(f"{path}: not found: there is no folder {path.parent}")
    neighbours = [neighbour.name for neighbour in path.parent.iterdir()]
    raise DataError(f"{path}: not found{nearest(path.name, neighbours)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name, as the end of a message; empty where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def plain_name(path: Path) -> str:
    """Return the file's name in lower case without the ending of its compression."""
    name = path.name.lower()
    return next((name.removesuffix(end) for end in _COMPRESSED if name.endswith(end)), name)


def read_lines(path: Path, keep_return: bool = False) -> Iterator[Line]:
    """Stream the lines of a file in constant memory.

    Only a line feed ends a line; a carriage return before it goes unless `keep_return`. A line that is not
    UTF-8 or longer than LONGEST_LINE bytes comes with its fault, and the stream goes on.
    Raises DataError for a file that is empty, cannot be read, or is cut off.
    """
    number = 0
    try:
        with _open(path) as file:
            while raw := file.readline(LONGEST_LINE + 1):
                if number == 0:
                    raw = _without_mark(raw, path)
                    if not raw:  # nothing but the mark
                        break
                number += 1
                yield _line(number, raw, file, keep_return)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        after = f" after line {number:,}" if number else ""
        packed = path.suffix.lower() in _COMPRESSED
        advice = "; is the file complete, and packed as its name says?" if packed else ""
        raise DataError(f"{path}: cannot be read{after}: {error}{advice}") from error
    if number == 0:
        raise DataError(f"{path}: the file is empty; it needs at least one line")


def _open(path: Path) -> IO[bytes]:
    match path.suffix.lower():
        case ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        case ".xz":
            return lzma.open(path, "rb")
        case ".bz2":
            return bz2.open(path, "rb")
        case ".zst":
            return _open_zstandard(path)
        case _:
            return path.open("rb")


def _open_zstandard(path: Path) -> IO[bytes]:
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError:
        raise DataError(f"{path}: reading .zst takes Python 3.14; unpack it first with `zstd -d`") from None
    return cast(IO[bytes], zstd.open(path, "rb"))


def _without_mark(raw: bytes, path: Path) -> bytes:
    if raw.startswith(_UTF16_MARKS):
        raise DataError(f"{path}: the file is UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`")
    return raw.removeprefix(_UTF8_MARK)


def _line(number: int, raw: bytes, file: IO[bytes], keep_return: bool) -> Line:
    if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
        _skip_to_line_feed(file)
        return Line(number, raw[:200].decode("utf-8", "replace"), "line too long")
    raw = raw.removesuffix(b"\n")
    if not keep_return:
        raw = raw.removesuffix(b"\r")
    try:
        return Line(number, raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Line(number, raw.decode("utf-8", "backslashreplace"), "bad utf-8")


def _skip_to_line_feed(file: IO[bytes]) -> None:
    while (chunk := file.readline(LONGEST_LINE)) and not chunk.endswith(b"\n"):
        pass
