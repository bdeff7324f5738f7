"""Facts of series: how many, how long, their step, their season, what is missing.

Shapes: S steps, V variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.rejects import Rejects
from dragoman.data.series_files import read_series
from dragoman.recipe.facts import Corpus, Files, SeriesFacts
from dragoman.recipe.series import SeriesFiles
from dragoman.records import Series

_DAY = 86_400
_SEASONS = (  # longest step in seconds, seconds of the season, its name
    (6 * 3600, _DAY, "day"),
    (_DAY, 7 * _DAY, "week"),
    (7 * _DAY, 364 * _DAY, "year"),
    (31 * _DAY, 365.25 * _DAY, "year"),
    (92 * _DAY, 365.25 * _DAY, "year"),
)
_LAGS = (4, 7, 12, 24, 48, 52, 96, 144)
_LEAST_CORRELATION = 0.3
_MOST_SERIES = 50


def series_facts(files: Files) -> SeriesFacts:
    """Measure series; several variables of one table become series of their own, learnt by one model."""
    section = SeriesFiles.model_validate(dict(files.train))
    found = read_series(section, Path(files.folder), Rejects())
    variables = found[0].values.shape[1]
    if variables > 1:
        why = f"{variables} variables, each forecast from its own past by one model (Nie et al. 2023)."
        files = replace(files, train={**files.train, "apart": True}, notes=(*files.notes, why))
    lengths = sorted(len(one.values) for one in found)
    step = _step_seconds(found[0])
    season, why = _season(found, step)
    numbers = sum(one.values.size for one in found)
    return SeriesFacts(
        files,
        len(found),
        variables,
        lengths[len(lengths) // 2],
        lengths[0],
        step,
        season,
        why,
        sum(int(np.isnan(one.values).sum()) for one in found) / numbers,
        all(bool((np.nan_to_num(one.values, nan=1.0) > 0).all()) for one in found),
        _steps_of(files.dev, files),
        _steps_of(files.test, files),
    )


def _steps_of(corpus: Corpus | None, files: Files) -> int | None:
    """Count the steps of a file that goes on where another ends; of several series those of the shortest."""
    if corpus is None:
        return None
    held = read_series(SeriesFiles.model_validate(dict(corpus)), Path(files.folder), Rejects())
    return min(len(one.values) for one in held)


def _step_seconds(series: Series) -> float | None:
    if series.times is None or len(series.times) < 2:
        return None
    steps = np.diff(series.times.astype("datetime64[s]").astype(np.int64))
    return float(np.median(steps))


def _season(found: Sequence[Series], step: float | None) -> tuple[int | None, str]:
    if step is not None:
        for longest, seconds, name in _SEASONS:
            season = round(seconds / step)
            if step <= longest and season > 1:
                return season, f"{season} steps make a {name}."
        return None, "The step is too long for a season."
    rising = {lag: _correlation(found[:_MOST_SERIES], lag) for lag in _LAGS}
    lag = max(rising, key=lambda one: rising[one])
    if rising[lag] < _LEAST_CORRELATION:
        return None, "No times, and no season that shows in the values."
    return lag, f"No times; values move together with those {lag} steps before ({rising[lag]:.2f})."


def _correlation(found: Sequence[Series], lag: int) -> float:
    """Return the mean autocorrelation of changes at a lag."""
    values = [_autocorrelation(np.diff(one.values[:, 0]), lag) for one in found if len(one.values) > 3 * lag]
    return float(np.mean(values)) if values else 0.0


def _autocorrelation(changes_S: NDArray[np.float64], lag: int) -> float:
    known_S = np.nan_to_num(changes_S - np.nanmean(changes_S)) if np.isfinite(changes_S).any() else changes_S
    total = float(np.square(known_S).sum())
    return float((known_S[lag:] * known_S[:-lag]).sum()) / total if total else 0.0
