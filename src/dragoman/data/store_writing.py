"""Prepared training examples written to the disk once, in constant memory; see `store` for the layout."""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragoman.data.codec import Codec, Codecs
from dragoman.data.frames import Encoded, Frames
from dragoman.data.rejects import Rejects
from dragoman.data.speech import SpeechCodec
from dragoman.data.store import FLOAT, HALF, INT32, INT64, META, UINT8, UINT16, VERSION, Store, open_store
from dragoman.data.text import TextCodec
from dragoman.data.word_places import words_of_tokens
from dragoman.errors import DataError
from dragoman.recipe.objectives import CrossEntropy, Ctc
from dragoman.recipe.sections import Recipe
from dragoman.records import Example, Origin, Value, text_of

_LARGEST_UINT16_VOCABULARY = 1 << 16
_BUFFER_BYTES = 1 << 20
_ABANDONED_SECONDS = 3600
"""A partial store that nobody wrote to for this long was left by a killed process."""


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
        has_links = _is_guided(recipe)
        with _Writer(partial, codecs, len(recipe.data.train), has_links) as writer:
            for entry in _entries(examples, codecs, recipe, rejects):
                writer.add(entry)
        if not sum(writer.corpus_sizes):
            raise DataError(f"no training example is left: {rejects.summary()}")
        (partial / META).write_text(json.dumps(writer.meta(), indent=1), "utf-8")
        _publish(partial, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: the store cannot be written: {error}; `data.cache` chooses its place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_store(folder)


class _Encoded(NamedTuple):
    """The variants of a value, the plain one first, and its raw text."""

    variants: Sequence[Encoded]
    text: bytes


class _Entry(NamedTuple):
    corpus: int
    origin: Origin | None
    source: _Encoded
    target: _Encoded
    links: NDArray[np.int32] | None


def _entries(
    examples: Iterator[tuple[int, Example]], codecs: Codecs, recipe: Recipe, rejects: Rejects
) -> Iterator[_Entry]:
    data, objective = recipe.data, recipe.training.objective
    has_ctc = isinstance(objective, Ctc) or (isinstance(objective, CrossEntropy) and objective.ctc_weight > 0)
    for corpus, example in examples:
        origin = example.origin
        if not example.targets:
            rejects.add("empty target", origin, f"none for {example.source!r}")
        source = _encode(
            codecs.source, example.source, None, "source", data.max_source_length, origin, rejects
        )
        if source is None:
            continue
        for value in example.targets:
            target = _encode(
                codecs.target, value, example.source, "target", data.max_target_length, origin, rejects
            )
            if target is None:
                continue
            if has_ctc and (found := _not_written(recipe, source, target)):
                rejects.add("target too long for ctc", origin, found)
                continue
            links = _token_links(codecs, example) if _is_guided(recipe) else None
            yield _Entry(corpus, origin, source, target, links)


def _is_guided(recipe: Recipe) -> bool:
    objective = recipe.training.objective
    return isinstance(objective, CrossEntropy) and objective.guided_alignment > 0


def _token_links(codecs: Codecs, example: Example) -> NDArray[np.int32]:
    """Link every token of a target word with every token of the source words that it belongs with (L, 2)."""
    source, target = codecs.source, codecs.target
    assert isinstance(source, TextCodec) and isinstance(target, TextCodec), "the recipe sees to it"
    source_words = words_of_tokens(source, example.source)
    target_words = words_of_tokens(target, example.targets[0])
    linked = set(example.links)
    pairs = [
        (step, place)
        for step, target_word in enumerate(target_words)
        for place, source_word in enumerate(source_words)
        if (source_word, target_word) in linked
    ]
    return np.array(pairs, INT32).reshape(-1, 2)


def _not_written(recipe: Recipe, source: _Encoded, target: _Encoded) -> str:
    """Say why no path of CTC writes a target: it needs a step a symbol, and a blank between equal ones."""
    frontend = recipe.model.frontend
    frames = min(map(len, source.variants))
    steps = frames if frontend is None else frontend.steps(frames)
    tokens = target.variants[0]
    assert not isinstance(tokens, Frames), "CTC writes symbols"
    symbols = tokens[:-1]  # EOS is not written
    needed = len(symbols) + int((symbols[1:] == symbols[:-1]).sum())
    return "" if needed <= steps else f"{needed:,} steps needed, the encoder has {steps:,}"


def _encode(
    codec: Codec,
    value: Value,
    source: Value | None,
    side: str,
    longest: int,
    origin: Origin | None,
    rejects: Rejects,
) -> _Encoded | None:
    try:
        encoded = _Encoded(_variants(codec, value, source), text_of(value).encode("utf-8"))
    except (DataError, UnicodeEncodeError) as error:
        rejects.add(f"{side} cannot be encoded", origin, f"{value!r}: {error}")
        return None
    if (steps := max(map(len, encoded.variants))) > longest:
        found = f"{steps:,} steps, `data.max_{side}_length` is {longest:,}: {value}"
        rejects.add(f"{side} too long", origin, found)
        return None
    return encoded


def _variants(codec: Codec, value: Value, source: Value | None) -> Sequence[Encoded]:
    if isinstance(codec, SpeechCodec):
        return codec.encode_variants(value)
    return [codec.encode(value, source=source)]


class _Writer:
    """Appends entries to array files in a folder; the files close when the block ends."""

    def __init__(self, folder: Path, codecs: Codecs, corpora: int, has_links: bool) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._dtypes: dict[str, str] = {}
        self._files: dict[str, int] = {}
        self._latest = 0
        self.corpus_sizes = [0] * corpora
        self._source = _SideWriter(self, "source", codecs.source)
        self._target = _SideWriter(self, "target", codecs.target)
        self._links = self.array("links", INT32) if has_links else None
        self._link_offsets = _Offsets(self.array("link_offsets", INT64)) if has_links else None
        self._lines = self.array("lines", INT64)
        self._file_numbers = self.array("file_numbers", INT32)

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
        if entry.links is not None and self._links is not None and self._link_offsets is not None:
            self._links.write(entry.links.tobytes())
            self._link_offsets.add(len(entry.links))
        file, line = (entry.origin.file, entry.origin.line) if entry.origin else ("", 0)
        self._lines.write(line.to_bytes(8, "little"))
        self._file_numbers.write(self._files.setdefault(file, len(self._files)).to_bytes(4, "little"))

    def meta(self) -> dict[str, object]:
        """Describe the closed files."""
        sizes = {name: (self._folder / name).stat().st_size for name in self._dtypes}
        arrays = {name: {"dtype": dtype, "bytes": sizes[name]} for name, dtype in self._dtypes.items()}
        return {
            "version": VERSION,
            "entries": sum(self.corpus_sizes),
            "sides": {"source": self._source.meta, "target": self._target.meta},
            "corpus_sizes": self.corpus_sizes,
            "files": list(self._files),
            "arrays": arrays,
        }


class _SideWriter:
    def __init__(self, writer: _Writer, side: str, codec: Codec) -> None:
        self._dtype = _dtype_of(codec)
        width = codec.port.size if codec.port.kind == "frames" else 0
        has_units = side == "target" and width > 0
        variants = codec.variants if isinstance(codec, SpeechCodec) else 1
        self.meta = {"width": width, "variants": variants, "has_units": has_units}
        self._steps = writer.array(f"{side}_steps", self._dtype)
        self._lengths = writer.array(f"{side}_lengths", INT32)
        self._text = writer.array(f"{side}_text", UINT8)
        self._offsets = _Offsets(writer.array(f"{side}_offsets", INT64))
        self._text_offsets = _Offsets(writer.array(f"{side}_text_offsets", INT64))
        self._units = writer.array(f"{side}_units", FLOAT) if has_units else None

    def add(self, encoded: _Encoded) -> None:
        for variant in encoded.variants:
            steps = variant.values if isinstance(variant, Frames) else variant
            self._steps.write(steps.astype(self._dtype).tobytes())
            self._lengths.write(len(steps).to_bytes(4, "little"))
            self._offsets.add(len(steps))
        if self._units is not None:
            self._units.write(_units_of(encoded.variants[0]).astype(FLOAT).tobytes())
        self._text.write(encoded.text)
        self._text_offsets.add(len(encoded.text))


def _dtype_of(codec: Codec) -> str:
    """Choose the smallest type that holds what a codec makes; features of audio need no more than half."""
    if isinstance(codec, SpeechCodec):
        return HALF
    if codec.port.kind == "frames":
        return FLOAT
    return UINT16 if codec.port.size <= _LARGEST_UINT16_VOCABULARY else INT32


def _units_of(encoded: Encoded) -> NDArray[np.float32]:
    assert isinstance(encoded, Frames)
    if encoded.units is not None:
        return encoded.units
    return np.ones(encoded.values.shape[1], dtype=np.float32)


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
