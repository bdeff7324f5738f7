"""Prepared training examples on disk: written once in constant memory, read through a memory map.

A store is a folder of plain little-endian arrays and a `meta.json` that describes them. One entry is one
(source, target) pair. For each side, `tokens` holds the ids of all entries end to end and `text` their raw
UTF-8; entry i begins at `offsets[i]` and ends before `offsets[i + 1]`.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dragoman.data.codec import Codec, Codecs
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.sections import Recipe
from dragoman.records import Example, Origin

_VERSION = 1
_META = "meta.json"
_UINT8, _UINT16, _INT32, _INT64 = "|u1", "<u2", "<i4", "<i8"
_LARGEST_UINT16_VOCABULARY = 1 << 16
_BUFFER_BYTES = 1 << 20
_ABANDONED_SECONDS = 3600
"""A partial store that nobody wrote to for this long was left by a killed process."""


class Store:
    """Encoded and raw (source, target) pairs, read from a memory map; open it with `open_store`.

    `source_lengths` and `target_lengths` count encoded steps with EOS, without sampling of the segmentation.
    `corpus_sizes` has the entries of each corpus of `data.train`, which lie one after the other.
    """

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        """Map the arrays that `meta` lists."""
        self.folder = folder
        self.corpus_sizes: list[int] = list(meta["corpus_sizes"])
        self._files: list[str] = list(meta["files"])
        arrays = {name: _map(folder / name, array["dtype"]) for name, array in meta["arrays"].items()}
        self.source_lengths: NDArray[np.int32] = arrays["source_lengths"]
        self.target_lengths: NDArray[np.int32] = arrays["target_lengths"]
        self._source = _Side.of(arrays, "source")
        self._target = _Side.of(arrays, "target")
        self._lines = arrays["lines"]
        self._file_numbers = arrays["file_numbers"]

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.source_lengths)

    def tokens(self, entry: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return copies of the source's and the target's ids, each ending with EOS."""
        return self._source.tokens_of(entry), self._target.tokens_of(entry)

    def values(self, entry: int) -> tuple[str, str]:
        """Return the raw source and target."""
        return self._source.value_of(entry), self._target.value_of(entry)

    def origin(self, entry: int) -> Origin | None:
        """Return the file and line of an entry; None where its example came from no file."""
        line = int(self._lines[entry])
        return Origin(self._files[self._file_numbers[entry]], line) if line else None

    def id(self, entry: int) -> str:
        """Return `<name of the file>:<line>`, or the entry's number from 1 where it came from no file."""
        origin = self.origin(entry)
        return f"{Path(origin.file).name}:{origin.line}" if origin else str(range(len(self))[entry] + 1)


class _Side(NamedTuple):
    """What is read of one side."""

    tokens: NDArray[Any]
    offsets: NDArray[np.int64]
    text: NDArray[np.uint8]
    text_offsets: NDArray[np.int64]

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], side: str) -> _Side:
        return cls(*(arrays[f"{side}_{name}"] for name in cls._fields))

    def tokens_of(self, entry: int) -> NDArray[np.int32]:
        return self.tokens[self.offsets[entry] : self.offsets[entry + 1]].astype(np.int32)

    def value_of(self, entry: int) -> str:
        return self.text[self.text_offsets[entry] : self.text_offsets[entry + 1]].tobytes().decode("utf-8")


def open_store(folder: Path) -> Store:
    """Open a store; DataError where it is missing, of another version, or a file has not the size it had."""
    path = folder / _META
    advice = "delete the folder and it will be written again"
    try:
        meta = json.loads(path.read_bytes())
        if meta["version"] != _VERSION:
            raise DataError(f"{path}: a store of version {meta['version']}, not {_VERSION}; {advice}")
        for name, array in meta["arrays"].items():
            expected, file = int(array["bytes"]), folder / name
            found = file.stat().st_size if file.is_file() else None
            if found != expected:
                raise DataError(f"{file}: damaged: {found} bytes, expected {expected}; {advice}")
        return Store(folder, meta)
    except OSError as error:
        raise DataError(
            f"{folder}: not a prepared store: {_META} cannot be read: {error.strerror}"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error}); {advice}") from error


def _map(path: Path, dtype: str) -> NDArray[Any]:
    if dtype not in (_UINT8, _UINT16, _INT32, _INT64):
        raise ValueError(f"{path.name} of type {dtype!r}")
    if path.stat().st_size == 0:  # mmap refuses empty files
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))


def write_store(
    folder: Path,
    examples: Iterator[tuple[int, Example]],
    codecs: Codecs,
    recipe: Recipe,
    rejects: Rejects,
) -> Store:
    """Encode a stream of (number of the corpus in `data.train`, Example) into a new store and open it.

    The numbers must not fall. Every reference makes an entry. What cannot be encoded or is longer than the
    recipe allows is rejected. Memory does not grow with the stream. The folder appears when it is complete;
    one that is there already is replaced. Raises DataError where nothing is left or the disk refuses.
    """
    # A name of its own: another process may be writing the same store.
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        partial.mkdir()
        with _Writer(partial, codecs, len(recipe.data.train)) as writer:
            for entry in _entries(examples, codecs, recipe, rejects):
                writer.add(entry)
        if not sum(writer.corpus_sizes):
            raise DataError(f"no training example is left: {rejects.summary()}")
        (partial / _META).write_text(json.dumps(writer.meta(), indent=1), "utf-8")
        _publish(partial, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: the store cannot be written: {error}; `data.cache` chooses its place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_store(folder)


class _Encoded(NamedTuple):
    tokens: NDArray[np.int32]
    text: bytes


class _Entry(NamedTuple):
    corpus: int
    origin: Origin | None
    source: _Encoded
    target: _Encoded


def _entries(
    examples: Iterator[tuple[int, Example]], codecs: Codecs, recipe: Recipe, rejects: Rejects
) -> Iterator[_Entry]:
    data = recipe.data
    for corpus, example in examples:
        origin = example.origin
        if not example.targets:
            rejects.add("empty target", origin, f"none for {example.source!r}")
        source = _encode(codecs.source, example.source, "source", data.max_source_length, origin, rejects)
        if source is None:
            continue
        for value in example.targets:
            target = _encode(codecs.target, value, "target", data.max_target_length, origin, rejects)
            if target is not None:
                yield _Entry(corpus, origin, source, target)


def _encode(
    codec: Codec, value: str, side: str, longest: int, origin: Origin | None, rejects: Rejects
) -> _Encoded | None:
    try:
        encoded = _Encoded(codec.encode(value), value.encode("utf-8"))
    except (DataError, UnicodeEncodeError) as error:
        rejects.add(f"{side} cannot be encoded", origin, f"{value!r}: {error}")
        return None
    if len(encoded.tokens) > longest:
        found = f"{len(encoded.tokens):,} steps, `data.max_{side}_length` is {longest:,}: {value}"
        rejects.add(f"{side} too long", origin, found)
        return None
    return encoded


class _Writer:
    """Appends entries to array files in a folder; the files close when the block ends."""

    def __init__(self, folder: Path, codecs: Codecs, corpora: int) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._dtypes: dict[str, str] = {}
        self._files: dict[str, int] = {}
        self._latest = 0
        self.corpus_sizes = [0] * corpora
        self._source = _SideWriter(self, "source", codecs.source)
        self._target = _SideWriter(self, "target", codecs.target)
        self._lines = self.array("lines", _INT64)
        self._file_numbers = self.array("file_numbers", _INT32)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def array(self, name: str, dtype: str) -> IO[bytes]:
        """Open a new array file."""
        self._dtypes[name] = dtype
        file = (self._folder / name).open("wb", buffering=_BUFFER_BYTES)
        self._stack.callback(_close_durably, file)
        return file

    def add(self, entry: _Entry) -> None:
        """Append an entry."""
        if entry.corpus < self._latest:
            raise ValueError(f"corpus {entry.corpus} comes after corpus {self._latest}")
        self._latest = entry.corpus
        self.corpus_sizes[entry.corpus] += 1
        self._source.add(entry.source)
        self._target.add(entry.target)
        file, line = (entry.origin.file, entry.origin.line) if entry.origin else ("", 0)
        self._lines.write(line.to_bytes(8, "little"))
        self._file_numbers.write(self._files.setdefault(file, len(self._files)).to_bytes(4, "little"))

    def meta(self) -> dict[str, object]:
        """Describe the closed files."""
        sizes = {name: (self._folder / name).stat().st_size for name in self._dtypes}
        arrays = {name: {"dtype": dtype, "bytes": sizes[name]} for name, dtype in self._dtypes.items()}
        return {
            "version": _VERSION,
            "entries": sum(self.corpus_sizes),
            "corpus_sizes": self.corpus_sizes,
            "files": list(self._files),
            "arrays": arrays,
        }


class _SideWriter:
    def __init__(self, writer: _Writer, side: str, codec: Codec) -> None:
        self._dtype = _UINT16 if codec.port.size <= _LARGEST_UINT16_VOCABULARY else _INT32
        self._tokens = writer.array(f"{side}_tokens", self._dtype)
        self._lengths = writer.array(f"{side}_lengths", _INT32)
        self._text = writer.array(f"{side}_text", _UINT8)
        self._offsets = _Offsets(writer.array(f"{side}_offsets", _INT64))
        self._text_offsets = _Offsets(writer.array(f"{side}_text_offsets", _INT64))

    def add(self, encoded: _Encoded) -> None:
        length = len(encoded.tokens)
        self._tokens.write(encoded.tokens.astype(self._dtype).tobytes())
        self._lengths.write(length.to_bytes(4, "little"))
        self._text.write(encoded.text)
        self._offsets.add(length)
        self._text_offsets.add(len(encoded.text))


class _Offsets:
    """Where entries begin and end: a zero first, then a running sum."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0
        self.add(0)

    def add(self, length: int) -> None:
        self._end += length
        self._file.write(self._end.to_bytes(8, "little"))


def _close_durably(file: IO[bytes]) -> None:
    # A file may have its full size after a power cut and still hold zeros, unless it was synchronised.
    with file:
        file.flush()
        os.fsync(file.fileno())


def _publish(partial: Path, folder: Path) -> None:
    """Give the complete store its name; what had the name before is moved aside first, then deleted."""
    if folder.exists():
        aside = folder.with_name(f"{partial.name}.old")
        folder.rename(aside)
        partial.rename(folder)
        shutil.rmtree(aside)
    else:
        partial.rename(folder)


def _sweep(folder: Path) -> None:
    """Delete what killed processes left of this store; other processes may be writing theirs right now."""
    for partial in folder.parent.glob(f"{glob.escape(folder.name)}.*.partial*"):
        try:
            newest = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
        except FileNotFoundError:  # it was completed or deleted meanwhile
            continue
        if time.time() - newest > _ABANDONED_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)


def fingerprint(files: Iterable[Path], words: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of the contents of files and of words, in order: the key of a cached store.

    Names of files do not count. Raises DataError for a file that cannot be read.
    """
    total = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(cast(Any, file), "sha256").digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    total.update(b"words")
    for word in words:
        # A digest each, so that no two lists of words run into the same bytes.
        total.update(hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest())
    return total.hexdigest()
