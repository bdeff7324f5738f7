"""Prepared training examples on disk, read through a memory map; `store_writing` writes them.

A store is a folder of plain little-endian arrays and a `meta.json` that describes them. One entry is one
(source, target) pair. For each side, `steps` holds the ids, or the frames, of all entries end to end and
`text` their raw UTF-8; entry i begins at `offsets[i]` and ends before `offsets[i + 1]`. Where a side has
several variants of each value (audio at several speeds), they lie one after the other: variant v of entry i
begins at `offsets[i * variants + v]`. Where attention learns from alignments, `links` holds pairs of a
target step and a source step in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dragoman.data.frames import Encoded, Frames
from dragoman.errors import DataError
from dragoman.records import Origin, Value

VERSION = 2
"""Version of the layout of a store."""
META = "meta.json"
UINT8, UINT16, INT32, INT64, HALF, FLOAT = "|u1", "<u2", "<i4", "<i8", "<f2", "<f4"


class Entries(Protocol):
    """What batches are made of: encoded pairs by their number, from a store on the disk or from elsewhere.

    `source_lengths` and `target_lengths` count encoded steps, EOS included, of each entry's first variant;
    `corpus_sizes` has the entries of each corpus of `data.train`, which lie one after the other.
    """

    corpus_sizes: list[int]
    source_lengths: NDArray[np.int32]
    target_lengths: NDArray[np.int32]
    variants: int

    def __len__(self) -> int:
        """Count the entries."""
        ...

    def encoded(self, entry: int, variant: int = 0) -> tuple[Encoded, Encoded]:
        """Return the source, in one of its variants, and the target as their codecs encode them."""
        ...

    def values(self, entry: int) -> tuple[Value, Value]:
        """Return the raw source and target."""
        ...

    def links(self, entry: int) -> NDArray[np.int32] | None:
        """Return the links of an entry, target step and source step (L, 2); None where none are kept."""
        ...

    def lengths_of_sources(
        self, entries: NDArray[np.int64], variants: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Count the steps of sources in the given variants."""
        ...

    def id(self, entry: int) -> str:
        """Name an entry."""
        ...

    def digest(self) -> str:
        """Return a hash of all entries."""
        ...


class Store:
    """Encoded and raw (source, target) pairs, read from a memory map; open it with `open_store`.

    See `Entries`; lengths are those without sampling of the segmentation.
    """

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        """Map the arrays that `meta` lists."""
        self.folder = folder
        self.corpus_sizes: list[int] = list(meta["corpus_sizes"])
        self._files: list[str] = list(meta["files"])
        arrays = {name: _map(folder / name, array["dtype"]) for name, array in meta["arrays"].items()}
        self.variants: int = meta["sides"]["source"]["variants"]
        self._source = Side.of(arrays, "source", meta["sides"]["source"])
        self._target = Side.of(arrays, "target", meta["sides"]["target"])
        self.source_lengths = self._source.lengths[:: self.variants]
        self.target_lengths = self._target.lengths
        self._links = (arrays["links"].reshape(-1, 2), arrays["link_offsets"]) if "links" in arrays else None
        self._lines = arrays["lines"]
        self._file_numbers = arrays["file_numbers"]

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.source_lengths)

    def encoded(self, entry: int, variant: int = 0) -> tuple[Encoded, Encoded]:
        """Return copies of the source, in one of its variants, and of the target."""
        return self._source.encoded_of(entry, variant), self._target.encoded_of(entry, 0)

    def links(self, entry: int) -> NDArray[np.int32] | None:
        """Return a copy of the links of an entry, where a store has any: target step, source step."""
        if self._links is None:
            return None
        links, offsets = self._links
        return np.array(links[offsets[entry] : offsets[entry + 1]])

    def lengths_of_sources(
        self, entries: NDArray[np.int64], variants: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Count the steps of sources in the given variants."""
        lengths: NDArray[np.int32] = self._source.lengths[entries * self.variants + variants]
        return lengths

    def values(self, entry: int) -> tuple[str, str]:
        """Return the raw source and target as text."""
        return self._source.value_of(entry), self._target.value_of(entry)

    def origin(self, entry: int) -> Origin | None:
        """Return the file and line of an entry; None where its example came from no file."""
        line = int(self._lines[entry])
        return Origin(self._files[self._file_numbers[entry]], line) if line else None

    def id(self, entry: int) -> str:
        """Return `<name of the file>:<line>`, or the entry's number from 1 where it came from no file."""
        origin = self.origin(entry)
        return f"{Path(origin.file).name}:{origin.line}" if origin else str(range(len(self))[entry] + 1)

    def digest(self) -> str:
        """Return a hash of all arrays."""
        return fingerprint(sorted(path for path in self.folder.iterdir() if path.suffix != ".json"), [])


class Side(NamedTuple):
    """What is read of one side: ids where `width` is 0, else frames of that width."""

    steps: NDArray[Any]
    lengths: NDArray[np.int32]
    offsets: NDArray[np.int64]
    text: NDArray[np.uint8]
    text_offsets: NDArray[np.int64]
    width: int
    variants: int
    units: NDArray[np.float32] | None

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], side: str, meta: dict[str, Any]) -> Side:
        """Choose the arrays of a side."""
        steps, lengths, offsets, text, text_offsets = (
            arrays[f"{side}_{name}"] for name in ("steps", "lengths", "offsets", "text", "text_offsets")
        )
        width = int(meta["width"])
        units = arrays[f"{side}_units"].reshape(-1, width) if meta["has_units"] else None
        steps = steps.reshape(-1, width) if width else steps
        return cls(steps, lengths, offsets, text, text_offsets, width, int(meta["variants"]), units)

    def encoded_of(self, entry: int, variant: int) -> Encoded:
        """Return a copy of one variant of an entry."""
        place = entry * self.variants + variant
        steps = self.steps[self.offsets[place] : self.offsets[place + 1]]
        if not self.width:
            return steps.astype(np.int32)
        return Frames(steps.astype(np.float32), units=None if self.units is None else self.units[entry])

    def value_of(self, entry: int) -> str:
        """Return the raw text of an entry."""
        return self.text[self.text_offsets[entry] : self.text_offsets[entry + 1]].tobytes().decode("utf-8")


def open_store(folder: Path) -> Store:
    """Open a store; DataError where it is missing, of another version, or a file has not the size it had."""
    path = folder / META
    advice = "delete the folder and it will be written again"
    try:
        meta = json.loads(path.read_bytes())
        if meta["version"] != VERSION:
            raise DataError(f"{path}: a store of version {meta['version']}, not {VERSION}; {advice}")
        for name, array in meta["arrays"].items():
            expected, file = int(array["bytes"]), folder / name
            found = file.stat().st_size if file.is_file() else None
            if found != expected:
                raise DataError(f"{file}: damaged: {found} bytes, expected {expected}; {advice}")
        return Store(folder, meta)
    except OSError as error:
        raise DataError(f"{folder}: not a prepared store: {META} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error}); {advice}") from error


def _map(path: Path, dtype: str) -> NDArray[Any]:
    if dtype not in (UINT8, UINT16, INT32, INT64, HALF, FLOAT):
        raise ValueError(f"{path.name} of type {dtype!r}")
    if path.stat().st_size == 0:  # mmap refuses empty files
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))


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
