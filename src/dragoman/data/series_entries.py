"""Windows of series as training entries and as examples to score, encoded when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dragoman.data.codec import Codecs, learn_codec
from dragoman.data.frames import Encoded
from dragoman.data.rejects import Rejects
from dragoman.data.series_files import read_series
from dragoman.data.windows import (
    WindowIndex,
    context_of,
    end_of,
    index_windows,
    leaks,
    shared_targets,
    training_rows,
    window_at,
)
from dragoman.errors import DataError
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import SeriesFiles, Windows
from dragoman.records import Example, Series

Say = Callable[[str], None]
Read = tuple[SeriesFiles, Sequence[Series]]
"""Files of a recipe, and the series in them."""


class SeriesEntries:
    """Training windows of one corpus after the other; see `store.Entries`."""

    variants = 1

    def __init__(
        self, corpora: Sequence[tuple[Sequence[Series], WindowIndex]], codecs: Codecs, windows: Windows
    ) -> None:
        """Take series and which windows of them are learnt from."""
        self._series = [one for series, _ in corpora for one in series]
        firsts = np.cumsum([0, *(len(series) for series, _ in corpora)])
        self._numbers = np.concatenate(
            [index.series_N + first for (_, index), first in zip(corpora, firsts[:-1], strict=True)]
        )
        self._starts = np.concatenate([index.start_N for _, index in corpora])
        self._codecs = codecs
        self._windows = windows
        self.corpus_sizes = [len(index) for _, index in corpora]
        self.source_lengths = np.full(len(self._starts), windows.context, dtype=np.int32)
        self.target_lengths = np.full(len(self._starts), windows.horizon, dtype=np.int32)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._starts)

    def encoded(self, entry: int, variant: int = 0) -> tuple[Encoded, Encoded]:
        """Return the context and the target of a window as their codecs encode them."""
        source, target = self.values(entry)
        return self._codecs.source.encode(source), self._codecs.target.encode(target, source=source)

    def values(self, entry: int) -> tuple[Series, Series]:
        """Return the context and the target of a window."""
        series, start = self._series[self._numbers[entry]], int(self._starts[entry])
        return window_at(series, start, self._windows.context, self._windows.horizon)

    def links(self, entry: int) -> None:
        """Return nothing: numbers are not aligned."""

    def lengths_of_sources(
        self, entries: NDArray[np.int64], variants: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Count the steps of contexts: all have the same."""
        return self.source_lengths[entries]

    def id(self, entry: int) -> str:
        """Name the series and the first row of the target."""
        return _id(self._series[self._numbers[entry]], int(self._starts[entry]))

    def digest(self) -> str:
        """Return a hash of all windows."""
        whole = hashlib.sha256()
        for series in self._series:
            whole.update(digest_of(series))
        whole.update(self._numbers.tobytes() + self._starts.tobytes())
        return whole.hexdigest()


def digest_of(series: Series) -> bytes:
    """Return a hash of what a series holds."""
    whole = hashlib.sha256(repr((series.id, series.names, series.known_names, series.values.shape)).encode())
    for array in (series.values, series.times, series.known_values):
        whole.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return whole.digest()


def read_training_windows(recipe: Recipe, rejects: Rejects, say: Say) -> tuple[Codecs, SeriesEntries]:
    """Read the training series of a recipe, learn scales from their training rows, and list their windows.

    Raises DataError as `refuse_leaks` does, and where no window is left.
    """
    windows = windows_of(recipe)
    read = _training_series(recipe, rejects)
    _refuse_leaks(recipe, read, rejects)
    seen = [training_rows(one, section.part, windows.context) for section, series in read for one in series]
    codecs = Codecs(
        learn_codec(recipe.source, seen, "source", say), learn_codec(recipe.target, seen, "target", say)
    )
    corpora = [
        (series, index_windows(series, section.part, windows, windows.stride)) for section, series in read
    ]
    bare = [name for _, index in corpora for name in index.bare]
    if bare:
        say(f"{len(bare):,} series have no training window, too short or without values: {bare[0]!r} first")
    return codecs, SeriesEntries(corpora, codecs, windows)


def training_windows(recipe: Recipe) -> Iterator[tuple[Series, Series]]:
    """Read training series once more and give their windows, source and target, in order."""
    windows = windows_of(recipe)
    for section in recipe.data.train:
        assert isinstance(section, SeriesFiles), "a recipe of series has no other corpora"
        series = read_series(section, Path(recipe.data.folder), Rejects())
        index = index_windows(series, section.part, windows, windows.stride)
        for number, start in zip(index.series_N.tolist(), index.start_N.tolist(), strict=True):
            yield window_at(series[number], start, windows.context, windows.horizon)


def refuse_leaks(recipe: Recipe) -> None:
    """Raise DataError where training could have seen a target of `dev` or `test`, or these two share one.

    Contexts may reach back into any part: what is forecast counts, not what is seen. Parts of `train` may
    share targets, which are then learnt more often.
    """
    _refuse_leaks(recipe, _training_series(recipe, Rejects()), Rejects())


def _training_series(recipe: Recipe, rejects: Rejects) -> list[Read]:
    sections = [section for section in recipe.data.train if isinstance(section, SeriesFiles)]
    return [(section, read_series(section, Path(recipe.data.folder), rejects)) for section in sections]


def _refuse_leaks(recipe: Recipe, read: Sequence[Read], rejects: Rejects) -> None:
    held: dict[str, Read] = {}
    for name, section in (("dev", recipe.data.dev), ("test", recipe.data.test)):
        if isinstance(section, SeriesFiles):
            held[name] = (section, read_series(section, Path(recipe.data.folder), rejects))
    for name, ours in held.items():
        for number, training in enumerate(read):
            if complaint := leaks(*training, *ours):
                raise DataError(f"data.{name} and data.train[{number}]: {complaint}; `part` cuts them")
    if len(held) > 1 and (complaint := shared_targets(*held["dev"], *held["test"])):
        raise DataError(
            f"data.dev and data.test: {complaint}; what chooses a model cannot judge it: let one part end "
            "where the other begins, or leave `data.test` out"
        )


def read_scored_windows(
    recipe: Recipe, which: Literal["dev", "test"], rejects: Rejects
) -> tuple[Example, ...]:
    """Read the windows to validate or to score on, in their order; empty if the recipe has none."""
    section = recipe.data.dev if which == "dev" else recipe.data.test
    return examples_of(section, recipe, rejects) if isinstance(section, SeriesFiles) else ()


def examples_of(section: SeriesFiles, recipe: Recipe, rejects: Rejects) -> tuple[Example, ...]:
    """Read series and cut them into the windows that are scored."""
    windows = windows_of(recipe)
    series = read_series(section, Path(recipe.data.folder), rejects)
    index = index_windows(series, section.part, windows, windows.score_stride)
    return tuple(
        _example(series[number], start, windows)
        for number, start in zip(index.series_N.tolist(), index.start_N.tolist(), strict=True)
    )


def examples_to_come(recipe: Recipe, files: Sequence[str], horizon: int) -> tuple[Example, ...]:
    """Read series as the recipe's first corpus does, and take the end of each: what is to be forecast from.

    Paths are relative to the current directory. DataError where a series is shorter than a context.
    """
    windows = windows_of(recipe)
    first = next(section for section in recipe.data.train if isinstance(section, SeriesFiles))
    section = first.model_copy(update={"series": tuple(files), "part": (None, None)})
    series = read_series(section, Path.cwd(), Rejects(strict=True))
    try:
        return tuple(
            Example(context_of(one, end_of(one), windows.context, horizon), id=one.id or "series")
            for one in series
        )
    except DataError as error:
        raise DataError(f"{', '.join(files)}: {error}") from error


def windows_of(recipe: Recipe) -> Windows:
    """Return how a recipe of series cuts them."""
    assert recipe.data.windows is not None, "the recipe sees to it"
    return recipe.data.windows


def is_of_series(recipe: Recipe) -> bool:
    """Say whether a recipe learns from windows of series."""
    return any(isinstance(section, SeriesFiles) for section in recipe.data.train)


def _example(series: Series, start: int, windows: Windows) -> Example:
    source, target = window_at(series, start, windows.context, windows.horizon)
    return Example(source, (target,), _id(series, start))


def _id(series: Series, start: int) -> str:
    return f"{series.id}:{start}"
