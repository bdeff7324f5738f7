"""Series: missing values, constant ones, times that cannot be, training that reaches into what is held out.

Shapes: S steps, V variables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import read_scored_windows, read_training_windows
from dragoman.data.series_files import read_series
from dragoman.doctor.findings import Finding
from dragoman.errors import DataError
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import Numbers, SeriesFiles, files_of
from dragoman.records import Series

_MANY_MISSING = 0.2


def series_findings(recipe: Recipe) -> Iterator[Finding]:
    """Look at all series of a recipe, which are read whole."""
    corpora = {f"data.train[{number}]": corpus for number, corpus in enumerate(recipe.data.train)}
    for name, corpus in corpora.items():
        assert isinstance(corpus, SeriesFiles), "a recipe of series has no other corpora"
        rejects = Rejects()
        try:
            found = read_series(corpus, Path(recipe.data.folder), rejects)
        except DataError as error:
            yield _fault(name, error)
            return
        named = f"{name} ({files_of(corpus.series)[0]})"
        for kind, count in rejects.counts.items():
            yield Finding(
                "data",
                "warning",
                f"{named}: {count} series cannot be used: {kind}",
                "one fault rejects the whole of a series, since a row less would move all that follow",
                "mend the rows that `rejected.jsonl` of a run lists",
            )
        yield from _values(named, found, recipe)
    yield from _windows(recipe)


def _fault(name: str, error: DataError) -> Finding:
    return Finding(
        "data",
        "fault",
        f"{name}: {error}",
        "the run stops before its first step",
        "mend what is named; times must rise, each once",
    )


def _values(name: str, found: list[Series], recipe: Recipe) -> Iterator[Finding]:
    total = sum(one.values.size for one in found)
    missing = sum(int(np.isnan(one.values).sum()) for one in found) / total
    refuses = isinstance(recipe.source, Numbers) and recipe.source.missing == "refuse"
    if missing:
        yield Finding(
            "data",
            "fault" if refuses else "warning" if missing > _MANY_MISSING else "note",
            f"{name}: {missing:.2%} of the values are missing",
            "a context with a gap stops the run" if refuses else "what stands for them is a guess",
            "source.missing=forward" if refuses else "fewer gaps, or a context that spans them",
        )
    still = [one.id or "the series" for one in found if (_spread(one) == 0).any()]
    if still:
        yield Finding(
            "data",
            "warning",
            f"{name}: {len(still)} series have a variable that never changes: {still[0]} first",
            "it is forecast perfectly by repeating it, and makes every mean score look better",
            "leave it out with `values`",
        )


def _spread(series: Series) -> NDArray[np.float64]:
    known = np.where(np.isnan(series.values), np.nanmean(series.values), series.values)
    spread: NDArray[np.float64] = np.ptp(known, axis=0)
    return spread


def _windows(recipe: Recipe) -> Iterator[Finding]:
    """Cut windows as a run does: this finds leaks and parts that hold nothing."""
    said: list[str] = []
    try:
        read_training_windows(recipe, Rejects(), said.append)
        for which in ("dev", "test"):
            read_scored_windows(recipe, "dev" if which == "dev" else "test", Rejects())
    except DataError as error:
        yield _fault("data", error)
        return
    for note in said:
        yield Finding("data", "note", note)
