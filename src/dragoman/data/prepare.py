"""From raw files to codecs and a memory-mapped store; the same content is prepared only once.

A prepared folder `<cache>/<key>` holds codecs/source, codecs/target, store/, the rejected rows of the
training files and prepared.json, which is written last. It appears whole, under a key made of all that it
depends on.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dragoman.data.audio import parts_of
from dragoman.data.codec import Codec, Codecs, codec_digest, given_target, learn_codecs, load_codec
from dragoman.data.corpus import read_corpus
from dragoman.data.lines import find_file
from dragoman.data.manifests import manifest_files
from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import is_of_series, read_scored_windows, read_training_windows
from dragoman.data.splitting import side_of
from dragoman.data.store import Entries, Store, fingerprint, open_store
from dragoman.data.store_writing import write_store
from dragoman.data.subwords import LIBRARY_VERSION
from dragoman.data.text import TextCodec
from dragoman.errors import DataError
from dragoman.recipe.data import Corpus, Parallel, Table
from dragoman.recipe.objectives import CrossEntropy, Ctc
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import SeriesFiles, files_of
from dragoman.recipe.speech import Manifest
from dragoman.records import UNKNOWN, Example, Port, Value, text_of

REJECTED_FILE = "rejected.jsonl"
_FORMAT = 3
"""Part of the key: raise it when the same files would be prepared differently."""
_MARKER = "prepared.json"
_ABANDONED_SECONDS = 24 * 3600
"""Half-prepared folders this old were left by killed processes."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """What training needs of the data: codecs, the store of training pairs, and the examples to score on.

    `rejects` counts rejected rows by kind, those of all files together.
    """

    codecs: Codecs
    train: Entries
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    rejects: Mapping[str, int]


@dataclass(frozen=True)
class _Cached:
    """What a prepared folder holds; `notes` are the messages of its making."""

    codecs: Codecs
    store: Store
    rejects: dict[str, int]
    notes: tuple[str, ...]


def _silent(message: str) -> None:
    """Hear nothing."""


def prepare(recipe: Recipe, run: Path | None, say: Say = _silent) -> Prepared:
    """Read the recipe's files, learn codecs, write the store, or find all this in the cache.

    Rows that cannot be used are listed in rejected.jsonl of the run's folder, whether the cache had them or
    not. `say` hears sizes, rejects, vocabularies and unknowns. Raises DataError where nothing is left to
    train on or to score, and what reading the files raises.
    """
    if is_of_series(recipe):
        return _prepare_series(recipe, run, say)
    folder = cache_of(recipe) / _key(recipe)
    cached = _cached(recipe, folder, say)
    for note in cached.notes:
        say(note)
    rejects = Rejects(recipe.data.strict, _list_again(folder, run))
    rejects.counts.update(cached.rejects)
    dev = _usable(recipe, "dev", cached.codecs, rejects)
    test = _usable(recipe, "test", cached.codecs, rejects)
    say(f"train: {len(cached.store):,} pairs; {rejects.summary()}")
    say(_sizes(cached.codecs))
    say(_about("dev", dev, cached.codecs))
    if test:
        say(_about("test", test, cached.codecs))
    return Prepared(cached.codecs, cached.store, dev, test, rejects.counts)


def _prepare_series(recipe: Recipe, run: Path | None, say: Say) -> Prepared:
    """Read series and list their windows, which are encoded when they are asked for: nothing is stored."""
    rejects = Rejects(recipe.data.strict, None if run is None else run / REJECTED_FILE)
    codecs, train = read_training_windows(recipe, rejects, say)
    dev, test = (read_split(recipe, which, rejects) for which in ("dev", "test"))
    say(f"train: {len(train):,} windows; {rejects.summary()}")
    say(_sizes(codecs))
    say(f"dev: {len(dev):,} windows; test: {len(test):,}")
    return Prepared(codecs, train, dev, test, rejects.counts)


def read_split(recipe: Recipe, which: Literal["dev", "test"], rejects: Rejects) -> tuple[Example, ...]:
    """Read the examples to validate or to score on: from their file, or those held out of training files.

    Empty if the recipe has none. Bad rows of a file of its own go to `rejects`; those of the training files
    are the training side's. Raises DataError where the recipe asks for examples and there are none.
    """
    if is_of_series(recipe):
        return read_scored_windows(recipe, which, rejects)
    data = recipe.data
    section, share = (data.dev, data.held_out_dev) if which == "dev" else (data.test, data.held_out_test)
    if section is not None:
        assert not isinstance(section, SeriesFiles), "the recipe sees to it"
        examples = tuple(read_corpus(section, Path(data.folder), rejects))
    elif share:
        # Bad rows are counted where the training side is read.
        examples = tuple(example for _, example in _side(recipe, which, Rejects()))
    else:
        return ()
    return _some(recipe, which, examples, rejects)


def stream_training(recipe: Recipe) -> Iterator[Example]:
    """Stream what a recipe trains on, raw, in constant memory; bad rows are passed over.

    Raises DataError for files that are not there or damaged.
    """
    for _, example in _side(recipe, "train", Rejects()):
        yield example


def _some(
    recipe: Recipe, which: Literal["dev", "test"], examples: tuple[Example, ...], rejects: Rejects
) -> tuple[Example, ...]:
    if examples:
        return examples
    data = recipe.data
    section, share = (data.dev, data.held_out_dev) if which == "dev" else (data.test, data.held_out_test)
    if section is not None:
        raise DataError(f"data.{which}: no example is left ({rejects.summary()}); give a file that has some")
    raise DataError(
        f"data.held_out_{which}: {share} holds out not one example of these training files; "
        f"a larger share would do, or a file of its own as `data.{which}`"
    )


def _side(
    recipe: Recipe, side: Literal["train", "dev", "test"], rejects: Rejects
) -> Iterator[tuple[int, Example]]:
    """Stream the examples of one side of all training corpora, each with the number of its corpus."""
    data = recipe.data
    for number, section in enumerate(data.train):
        assert not isinstance(section, SeriesFiles), "their windows are read elsewhere"
        for example in read_corpus(section, Path(data.folder), rejects):
            if side_of(text_of(example.source), data.held_out_dev, data.held_out_test) == side:
                yield number, example


def _usable(
    recipe: Recipe, which: Literal["dev", "test"], codecs: Codecs, rejects: Rejects
) -> tuple[Example, ...]:
    """Read a split and leave out what the codecs cannot take."""
    examples = read_split(recipe, which, rejects)
    kept = tuple(example for example in examples if _encodes(example, codecs, rejects))
    return _some(recipe, which, kept, rejects) if examples else ()


def _encodes(example: Example, codecs: Codecs, rejects: Rejects) -> bool:
    sides: list[tuple[str, Codec, Value, Value | None]]
    sides = [("source", codecs.source, example.source, None)]
    sides += [("target", codecs.target, target, example.source) for target in example.targets]
    for side, codec, value, source in sides:
        try:
            codec.encode(value, source=source)
        except DataError as error:
            rejects.add(f"{side} cannot be encoded", example.origin, f"{value!r}: {error}")
            return False
    return True


def _cached(recipe: Recipe, folder: Path, say: Say) -> _Cached:
    if folder.is_dir():
        try:
            cached = _open(recipe, folder)
            say(f"prepared data found in {folder}")
            return cached
        except DataError as error:
            say(f"prepared data in {folder} is damaged and made again: {error}")
            shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    try:
        _build(recipe, folder)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: prepared data cannot be written: {error.strerror}; "
            "`data.cache` names another folder"
        ) from error
    say(f"data prepared in {time.monotonic() - started:.1f} seconds, kept in {folder}")
    return _open(recipe, folder)


def _build(recipe: Recipe, folder: Path) -> None:
    """Prepare in a folder of its own and give it its name at the end; the first of two processes wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir()
        _write(recipe, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / _MARKER).is_file():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(recipe: Recipe, folder: Path) -> None:
    notes: list[str] = []
    codecs = learn_codecs(recipe, lambda: _training_examples(recipe), notes.append)
    codecs.source.save(folder / "codecs" / "source")
    codecs.target.save(folder / "codecs" / "target")
    rejects = Rejects(recipe.data.strict, folder / REJECTED_FILE)
    write_store(folder / "store", _side(recipe, "train", rejects), codecs, recipe, rejects)
    marker = json.dumps({"format": _FORMAT, "rejects": rejects.counts, "notes": notes}, ensure_ascii=False)
    (folder / _MARKER).write_text(marker, encoding="utf-8")


def _training_examples(recipe: Recipe) -> Iterator[Example]:
    """Stream what codecs are learnt from; DataError if there is nothing."""
    rejects = Rejects(recipe.data.strict)
    is_empty = True
    for _, example in _side(recipe, "train", rejects):
        is_empty = False
        yield example
    if is_empty:
        first = f"; the first, {rejects.first}" if rejects.first else ""
        raise DataError(
            f"data.train: no training example is left ({rejects.summary()}{first}); give files that have "
            "some, or hold out less"
        )


def _open(recipe: Recipe, folder: Path) -> _Cached:
    """Open a prepared folder; DataError if anything about it is wrong."""
    marker = folder / _MARKER
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        rejects, notes = dict(content["rejects"]), tuple(content["notes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{marker}: cannot be read: {error}") from error
    source = load_codec(folder / "codecs" / "source")
    target = source if recipe.joint_vocabulary else load_codec(folder / "codecs" / "target")
    return _Cached(Codecs(source, target), open_store(folder / "store"), rejects, notes)


def _sweep(cache: Path) -> None:
    """Delete what killed processes left."""
    for partial in cache.glob("*.partial"):
        try:
            age_seconds = time.time() - partial.stat().st_mtime
        except FileNotFoundError:
            continue
        if age_seconds > _ABANDONED_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)


def _list_again(folder: Path, run: Path | None) -> Path | None:
    """Put the list of rejected training rows into the run's folder; returns where further ones belong."""
    if run is None:
        return None
    run.mkdir(parents=True, exist_ok=True)
    listed = run / REJECTED_FILE
    listed.unlink(missing_ok=True)
    if (folder / REJECTED_FILE).is_file():
        shutil.copyfile(folder / REJECTED_FILE, listed)
    return listed


def cache_of(recipe: Recipe) -> Path:
    """Return the folder of prepared data."""
    if recipe.data.cache is not None:
        return Path(recipe.data.cache)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "dragoman"


def _key(recipe: Recipe) -> str:
    """Return the name of the prepared folder: a hash of all that its content depends on."""
    data = recipe.data
    corpora = [corpus.model_dump(mode="json", exclude={"weight", "alignment"}) for corpus in data.train]
    asked: dict[str, object] = {
        "format": _FORMAT,
        "train": corpora,
        "held_out": [data.held_out_dev, data.held_out_test],
        "longest": [data.max_source_length, data.max_target_length],
        "strict": data.strict,
        "source": recipe.source.model_dump(mode="json"),
        "target": recipe.target.model_dump(mode="json"),
        "joint": recipe.joint_vocabulary,
        "ctc": _ctc(recipe),
        "libraries": [LIBRARY_VERSION, unicodedata.unidata_version],
    }
    if isinstance(objective := recipe.training.objective, CrossEntropy) and objective.guided_alignment:
        named = [corpus.alignment if isinstance(corpus, Parallel | Table) else None for corpus in data.train]
        asked["alignment"] = named
    if (given := given_target(recipe)) is not None:
        asked["target_vocabulary"] = codec_digest(given)
    folder = Path(data.folder)
    files = [file for corpus in data.train for file in _files(corpus, folder)]
    return fingerprint(files, [json.dumps(asked, sort_keys=True), *_recordings(recipe, folder)])[:32]


def _ctc(recipe: Recipe) -> list[object]:
    """Return what decides whether CTC can write a target."""
    objective, frontend = recipe.training.objective, recipe.model.frontend
    weight = objective.ctc_weight if isinstance(objective, CrossEntropy) else isinstance(objective, Ctc)
    return [weight > 0, frontend.shortening if frontend and weight else 1]


def _files(corpus: Corpus, folder: Path) -> list[Path]:
    match corpus:
        case Table():
            return [find_file(folder, corpus.file)]
        case Parallel():
            targets = (corpus.target,) if isinstance(corpus.target, str) else corpus.target
            aligned = [] if corpus.alignment is None else [corpus.alignment]
            return [find_file(folder, name) for name in (corpus.source, *targets, *aligned)]
        case Manifest():
            return manifest_files(corpus, folder)
        case SeriesFiles():
            return [find_file(folder, name) for name in files_of(corpus.series)]


def _recordings(recipe: Recipe, folder: Path) -> Iterator[str]:
    """Say of each sound file what shows that it has changed: hours of audio are not read for their hash."""
    for corpus in recipe.data.train:
        if isinstance(corpus, Manifest):
            paths = {
                parts_of(text_of(one.source)).path: None for one in read_corpus(corpus, folder, Rejects())
            }
            for path in map(Path, paths):
                status = path.stat()
                yield f"{path} {status.st_size} {status.st_mtime_ns}"


def _sizes(codecs: Codecs) -> str:
    if codecs.source is codecs.target:
        return f"vocabulary: {codecs.source.port.size:,} symbols, joint"
    return f"source: {_size(codecs.source.port)}; target: {_size(codecs.target.port)}"


def _size(port: Port) -> str:
    return f"{port.size:,} symbols" if port.kind == "tokens" else f"frames of {port.size:,} numbers"


def _about(which: str, examples: Sequence[Example], codecs: Codecs) -> str:
    found = {
        "source": _unknowns(codecs.source, (example.source for example in examples)),
        "target": _unknowns(codecs.target, (target for example in examples for target in example.targets)),
    }
    unknown = ", ".join(f"{side} {share}" for side, share in found.items() if share)
    return f"{which}: {len(examples):,} examples" + (f"; unknown: {unknown}" if unknown else "")


def _unknowns(codec: Codec, values: Iterable[Value]) -> str:
    """Say how many symbols of text are unknown; nothing of other values."""
    if not isinstance(codec, TextCodec):
        return ""
    unknown = total = 0
    for value in values:
        tokens = codec.encode(value)
        unknown += int((tokens == UNKNOWN).sum())
        total += len(tokens)
    return f"{unknown / max(total, 1):.2%} ({unknown:,} of {total:,})"
