"""Data of a recipe: every corpus by itself, development and test beside training, unknown symbols."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dragoman.data.codec import learn_codecs
from dragoman.data.corpus import read_corpus
from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import is_of_series
from dragoman.data.text import TextCodec
from dragoman.doctor.findings import Finding
from dragoman.doctor.series_checks import series_findings
from dragoman.doctor.speech_checks import speech_findings
from dragoman.doctor.text_checks import (
    MOST_ROWS,
    Text,
    is_sorted,
    rejected_findings,
    split_findings,
    text_findings,
)
from dragoman.errors import DataError
from dragoman.recipe.data import Parallel, Table
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import SeriesFiles
from dragoman.recipe.speech import Manifest
from dragoman.records import UNKNOWN, Example, Value

_LEARNT_FROM = 50_000
"""Training examples from which the vocabulary is learnt that development is held against."""
_SCORED = 5_000
_MANY_UNKNOWN = 0.005


def data_findings(recipe: Recipe) -> Iterator[Finding]:
    """Look at all data of a recipe: pairs up to a bound, a sample of recordings, series whole.

    What cannot be read at all is a fault.
    """
    try:
        if is_of_series(recipe):
            yield from series_findings(recipe)
            return
        yield from _text_findings(recipe)
        yield from speech_findings(recipe)
        yield from _unknown_findings(recipe)
    except DataError as error:
        yield Finding("data", "fault", str(error), "the run stops before its first step", "mend the file")


def _text_findings(recipe: Recipe) -> Iterator[Finding]:
    data = recipe.data
    trained = [(f"data.train[{number}]", section) for number, section in enumerate(data.train)]
    texts = []
    for name, section in trained:
        text, rejects = _read(name, section, Path(data.folder))
        yield from rejected_findings(name, rejects.counts, text.rows)
        yield from text_findings(text)
        if is_sorted(text.lengths):
            yield Finding("data", "note", f"{name}: sorted by length; every epoch has an order of its own")
        texts.append(text)
    for name, held in (("data.dev", data.dev), ("data.test", data.test)):
        if held is None:
            continue
        text, rejects = _read(name, held, Path(data.folder))
        yield from rejected_findings(name, rejects.counts, text.rows)
        yield from text_findings(text)
        for train in texts:
            yield from split_findings(train, text)


def _read(name: str, section: object, folder: Path) -> tuple[Text, Rejects]:
    """Read a corpus up to a bound, keeping little of each row; of sound only what is said has letters."""
    assert isinstance(section, Table | Parallel | Manifest)
    text, rejects = Text(f"{name} ({_named(section)})"), Rejects()
    plain = section.model_copy(update={"merge": False})
    for example in read_corpus(plain, folder, rejects):
        if text.rows == MOST_ROWS:
            text.is_whole = False
            break
        for target in example.targets[:1]:
            assert isinstance(example.source, str) and isinstance(target, str), "files hold text"
            text.add(example.source, target, str(example.origin))
    return text, rejects


def _named(section: Table | Parallel | Manifest) -> str:
    match section:
        case Table():
            return section.file
        case Parallel():
            return section.source
        case Manifest():
            return section.manifest


def training_examples(recipe: Recipe, most: int) -> list[Example]:
    """Return the first training examples; bad rows are passed over."""
    folder = Path(recipe.data.folder)
    found: list[Example] = []
    for section in recipe.data.train:
        assert not isinstance(section, SeriesFiles), "windows of series are no rows"
        found += islice(read_corpus(section, folder, Rejects()), most - len(found))
    return found


def _unknown_findings(recipe: Recipe) -> Iterator[Finding]:
    """Learn codecs from training as a run would, and count what of development they do not know."""
    dev = recipe.data.dev
    if dev is None or isinstance(dev, SeriesFiles):
        return
    learnt_from = training_examples(recipe, _LEARNT_FROM)
    if not learnt_from:
        raise DataError("data.train: not one row can be used; mend the files")
    codecs = learn_codecs(recipe, lambda: learnt_from)
    examples = list(islice(read_corpus(dev, Path(recipe.data.folder), Rejects()), _SCORED))
    values: dict[str, list[Value]] = {
        "source": [one.source for one in examples],
        "target": [target for one in examples for target in one.targets],
    }
    for side, codec in (("source", codecs.source), ("target", codecs.target)):
        if not isinstance(codec, TextCodec):
            continue
        tokens = [token for value in values[side] for token in codec.encode(value).tolist()]
        share = tokens.count(UNKNOWN) / max(1, len(tokens))
        if share > _MANY_UNKNOWN:
            yield Finding(
                "data",
                "warning",
                f"data.dev: {share:.1%} of the {side}'s units are unknown to what training knows",
                "what is unknown is not read" if side == "source" else "no answer can have these units",
                f"smaller units know all: {side}.kind=bpe, or bytes; or are the files of one language?",
            )
