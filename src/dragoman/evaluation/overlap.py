"""Was a model trained on what it is tested on? Examples to score looked up in the training data."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dragoman.data.audio import Clip, parts_of
from dragoman.data.prepare import stream_training
from dragoman.data.series_entries import is_of_series
from dragoman.errors import DataError, MissingExtra
from dragoman.evaluation.metrics import Score
from dragoman.recipe.sections import Recipe
from dragoman.records import Example, Value


@dataclass(frozen=True)
class Overlap:
    """How many of the `examples` to score are among the `trained` training examples.

    `sources` and `pairs` (with a reference too) are the same to the letter; `near_sources` and `near_pairs`
    count these and those that differ in case, spaces and punctuation only. Recordings are the same where they
    share a part of a file. `seen` has the numbers, from 0, of all that are near. `scores` are of the others.
    """

    examples: int
    trained: int
    sources: int
    pairs: int
    near_sources: int
    near_pairs: int
    seen: frozenset[int]
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Why nobody can say how test and training data overlap."""

    reason: str


def find_overlap(recipe: Recipe, examples: Sequence[Example]) -> Overlap | NotKnown | None:
    """Look examples up in the training data of a recipe, which are streamed once; only examples are held.

    Of series there is nothing to find (None): windows that reach into a held-out part are refused already.
    NotKnown where the training data are not at hand.
    """
    if is_of_series(recipe):
        return None
    try:
        training = stream_training(recipe)
        return _heard(training, examples) if recipe.source.kind == "speech" else _read(training, examples)
    except (DataError, MissingExtra) as fault:
        return NotKnown(str(fault).splitlines()[0])


def _read(training: Iterable[Example], examples: Sequence[Example]) -> Overlap:
    """Look text up."""
    places: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        places.setdefault(plain(str(example.source)), []).append(number)
    sources, pairs, near_sources, near_pairs = set(), set(), set(), set()
    trained = 0
    for given in training:
        trained += 1
        source = str(given.source)
        for number in places.get(plain(source), ()):
            example = examples[number]
            near_sources.add(number)
            if _share(given.targets, example.targets, near=True):
                near_pairs.add(number)
            if source == example.source:
                sources.add(number)
                if _share(given.targets, example.targets, near=False):
                    pairs.add(number)
    return Overlap(
        len(examples),
        trained,
        len(sources),
        len(pairs),
        len(near_sources),
        len(near_pairs),
        frozenset(near_sources),
    )


def _share(targets: Iterable[Value], references: Iterable[Value], *, near: bool) -> bool:
    ours, theirs = (
        ({plain(str(value)) if near else value for value in side}) for side in (targets, references)
    )
    return not ours.isdisjoint(theirs)


class _Kept(dict[int, str]):
    """What becomes of each character, by its code: punctuation, control characters and spaces are a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = " " if unicodedata.category(character)[0] in "PZC" else character
        self[code] = kept
        return kept


_KEPT = _Kept()


def plain(text: str) -> str:
    """Level case, spaces and punctuation; of what has no letters, such as sums and dates, spaces only."""
    if not any(map(str.isalpha, text)):
        return " ".join(text.split())
    return " ".join(text.casefold().translate(_KEPT).split())


def _heard(training: Iterable[Example], examples: Sequence[Example]) -> Overlap:
    """Look recordings up by the file that they are in, and by their part of it."""
    places: dict[str, list[tuple[int, Clip]]] = {}
    for number, clip in _clips(examples):
        places.setdefault(clip.path, []).append((number, clip))
    sources, pairs, trained = set(), set(), 0
    for given in training:
        trained += 1
        for _, clip in _clips([given]):
            for number, other in places.get(clip.path, ()):
                if _touch(clip, other):
                    sources.add(number)
                    if _share(given.targets, examples[number].targets, near=False):
                        pairs.add(number)
    heard, told = len(sources), len(pairs)
    return Overlap(len(examples), trained, heard, told, heard, told, frozenset(sources))


def _clips(examples: Iterable[Example]) -> Iterator[tuple[int, Clip]]:
    for number, example in enumerate(examples):
        if isinstance(example.source, str):
            yield number, parts_of(example.source)


def _touch(one: Clip, other: Clip) -> bool:
    """Tell whether two parts of one file share sound."""
    return (one.end is None or other.begin < one.end) and (other.end is None or one.begin < other.end)


def overlap_summary(found: Overlap | NotKnown) -> dict[str, object]:
    """Return the counts as JSON takes them; `seen` is in the lines of predictions."""
    if isinstance(found, NotKnown):
        return {"is_known": False, "reason": found.reason}
    return {
        "is_known": True,
        "training_examples": found.trained,
        "sources": found.sources,
        "pairs": found.pairs,
        "near_sources": found.near_sources,
        "near_pairs": found.near_pairs,
    }


def format_overlap(found: Overlap | NotKnown) -> str:
    """Write for the console what was found."""
    if isinstance(found, NotKnown):
        return f"overlap with the training data is not known: {found.reason}"
    looked = f"the {found.trained:,} training examples"
    if not found.near_sources:
        return f"overlap: none of the {found.examples:,} sources is among {looked}"
    near = found.near_sources - found.sources
    more = f" and {near:,} more but for case, spaces and punctuation" if near else ""
    share, verb = found.sources / found.examples, "is" if found.sources == 1 else "are"
    return (
        f"OVERLAP: of the {found.examples:,} sources {found.sources:,} ({share:.1%}) {verb} among "
        f"{looked}{more}; {found.near_pairs:,} with a reference as target"
    )
