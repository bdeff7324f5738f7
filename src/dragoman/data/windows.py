"""Windows of series: which there are, what each sees and what it forecasts; no target is another part's.

A window is named by its series and by the first row of its target.
Shapes: N windows, S steps of a context, H horizon, V variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dragoman.data.time_grid import go_on, step_of
from dragoman.errors import DataError
from dragoman.recipe.series import Moment, SeriesFiles, Windows, files_of
from dragoman.records import Series

Part = tuple[Moment | None, Moment | None]


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """The windows of some series: number of the series and first row of the target, both (N,) and in order.

    `bare` names the series that have no window: too short, or nothing to forecast in their part.
    """

    series_N: NDArray[np.int64]
    start_N: NDArray[np.int64]
    bare: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.start_N)


def index_windows(series: Sequence[Series], part: Part, windows: Windows, stride: int) -> WindowIndex:
    """List the windows whose context is whole and whose target lies wholly inside a part.

    A window whose target is missing from the first step to the last is left out. Raises DataError where
    there is no window, or where the part begins or ends behind every series.
    """
    _check_reach(series, part)
    numbers, starts, bare = [], [], []
    for number, one in enumerate(series):
        begin, end = rows_of(one, part)
        start_N = np.arange(max(begin, windows.context), end - windows.horizon + 1, stride, dtype=np.int64)
        present_S = ~np.isnan(one.values).all(axis=1)
        before_S = np.concatenate(([0], np.cumsum(present_S)))
        start_N = start_N[before_S[start_N + windows.horizon] > before_S[start_N]]
        if not len(start_N):
            bare.append(one.id)
        numbers.append(np.full(len(start_N), number, np.int64))
        starts.append(start_N)
    index = WindowIndex(np.concatenate(numbers), np.concatenate(starts), tuple(bare))
    if not len(index):
        longest = max(len(one.values) for one in series)
        raise DataError(
            f"no window fits: a context of {windows.context:,} and a horizon of {windows.horizon:,} steps, "
            f"targets in {_shown(part)}; the longest series has {longest:,} rows"
        )
    return index


def rows_of(series: Series, part: Part) -> tuple[int, int]:
    """Return the rows of a series that a part spans: the first, and the one after the last.

    DataError for a date where the series has no times.
    """
    rows = len(series.values)
    begin, end = part
    first, last = _row(series, begin, 0), _row(series, end, rows)
    return min(max(first, 0), rows), min(max(last, 0), rows)


def _row(series: Series, moment: Moment | None, otherwise: int) -> int:
    match moment:
        case None:
            return otherwise
        case int():
            return moment if moment >= 0 else moment + len(series.values)
        case str():
            if series.times is None:
                raise DataError(
                    f"`part` has the date {moment}, but {_named(series)} has no times; "
                    "give row numbers, or name the column of times"
                )
            times = series.times[: len(series.values)]
            return int(np.searchsorted(times, np.datetime64(moment.replace(" ", "T"), "s")))


def _check_reach(series: Sequence[Series], part: Part) -> None:
    """Refuse row numbers that no series has."""
    longest = max(len(one.values) for one in series)
    for moment in part:
        if isinstance(moment, int) and not -longest <= moment <= longest:
            raise DataError(
                f"`part` {_shown(part)} reaches beyond every series: the longest has {longest:,} rows; "
                "`null` stands for the first row, or for the end"
            )


def _shown(part: Part) -> str:
    return f"[{', '.join('null' if moment is None else str(moment) for moment in part)}]"


def _named(series: Series) -> str:
    """Name a series; one that is alone in its file needs no name."""
    return f"series {series.id!r}" if series.id else "the series"


def context_of(series: Series, start: int, context: int, horizon: int) -> Series:
    """Return what a model sees: values before `start`, times and known values over the horizon too.

    `start` may be the end of the series, and times then go on at its step. Raises DataError where there are
    too few rows before, where times have no regular step, and where known values end too early.
    """
    if not context <= start <= len(series.values):
        raise DataError(
            f"{_named(series)}: a context of {context:,} steps does not fit before row {start:,} "
            f"of {len(series.values):,}"
        )
    first, end = start - context, start + horizon
    known = series.known_values
    if known is not None and len(known) < end:
        raise DataError(
            f"{_named(series)}: {', '.join(series.known_names)} must be known for {horizon:,} steps "
            f"after row {start:,}, found {len(known) - start:,}"
        )
    return replace(
        series,
        values=series.values[first:start],
        times=None if series.times is None else _times(series, end)[first:end],
        known_values=None if known is None else known[first:end],
        before=series.values[:first],
    )


def _times(series: Series, end: int) -> NDArray[np.datetime64]:
    """Return the times of a series up to a row that may lie behind its last."""
    times = series.times
    assert times is not None
    if end <= len(times):
        return times
    step = step_of(times)
    if step is None:
        raise DataError(
            f"{_named(series)}: its times have no regular step that could go on; give those of the "
            "steps to be forecast"
        )
    return np.concatenate((times, go_on(times, step, end - len(times))))


def window_at(series: Series, start: int, context: int, horizon: int) -> tuple[Series, Series]:
    """Return the source and the target of a window."""
    target = replace(
        series,
        values=series.values[start : start + horizon],
        times=None if series.times is None else series.times[start : start + horizon],
        known_values=None,
        known_names=(),
    )
    return context_of(series, start, context, horizon), target


def end_of(series: Series) -> int:
    """Return the row after the last with a value: where the forecast of what is to come starts."""
    present_N = np.flatnonzero(~np.isnan(series.values).all(axis=1))
    return int(present_N.max(initial=-1)) + 1


def training_rows(series: Series, part: Part, context: int) -> Series:
    """Return the rows of a series that training may look at: those of its part and of contexts before it.

    Scales are learnt from these, each once, and from no others.
    """
    begin, end = rows_of(series, part)
    first = max(0, begin - context)
    return replace(
        series,
        values=series.values[first:end],
        times=None if series.times is None else series.times[first:end],
        known_values=None if series.known_values is None else series.known_values[first:end],
    )


def leaks(
    train: SeriesFiles, train_series: Sequence[Series], held: SeriesFiles, held_series: Sequence[Series]
) -> str | None:
    """Say how training could have seen targets that are held out, None where it could not.

    Of every series that both have, training must end before the held-out part begins: by dates, or by rows
    where both read the same files. Different files count as different series.
    """
    return _complaint(train, train_series, held, held_series, _overlap)


def shared_targets(
    dev: SeriesFiles, dev_series: Sequence[Series], test: SeriesFiles, test_series: Sequence[Series]
) -> str | None:
    """Say which targets are of development and of test, None where none is; see `leaks`.

    Development may lie on either side of the test, and contexts may reach back into it. One part as both is
    complained of too: what has chosen a model says nothing of how good it is.
    """
    return _complaint(dev, dev_series, test, test_series, _both)


def _complaint(
    section: SeriesFiles,
    series: Sequence[Series],
    other: SeriesFiles,
    others: Sequence[Series],
    compare: Callable[[Series, Part, Series, Part], str | None],
) -> str | None:
    """Compare the parts of every series that two sections have, and name the first that will not do."""
    shared = sorted(set(files_of(section.series)) & set(files_of(other.series)))
    if not shared:
        return None
    known = {one.id: one for one in series}
    for one in others:
        if one.id not in known:
            continue
        complaint = compare(known[one.id], section.part, one, other.part)
        if complaint is None and one.times is None and _first_files_differ(section, other):
            complaint = "rows cannot be told apart where files differ; begin both lists with the same files"
        if complaint:
            return f"{_named(one)} of {shared[0]}: {complaint}"
    return None


def _first_files_differ(section: SeriesFiles, other: SeriesFiles) -> bool:
    ours, theirs = files_of(section.series), files_of(other.series)
    shorter = min(len(ours), len(theirs))
    return ours[:shorter] != theirs[:shorter]


def _overlap(train: Series, train_part: Part, held: Series, held_part: Part) -> str | None:
    _, end = rows_of(train, train_part)
    begin, _ = rows_of(held, held_part)
    if train.times is not None and held.times is not None:
        if end == 0 or begin == len(held.values) or train.times[end - 1] < held.times[begin]:
            return None
        return f"training goes on to {train.times[end - 1]}, what is held out begins at {held.times[begin]}"
    if end <= begin:
        return None
    return f"training ends before row {end:,}, what is held out begins at row {begin:,}"


def _both(dev: Series, dev_part: Part, test: Series, test_part: Part) -> str | None:
    (begin, end), (other_begin, other_end) = rows_of(dev, dev_part), rows_of(test, test_part)
    parts = f"`part` {_shown(dev_part)} and {_shown(test_part)}"
    if dev.times is not None and test.times is not None:
        times = np.intersect1d(dev.times[begin:end], test.times[other_begin:other_end])
        return f"{parts} both forecast {times[0]} to {times[-1]}" if len(times) else None
    first, last = max(begin, other_begin), min(end, other_end) - 1
    return f"{parts} both forecast rows {first:,} to {last:,}" if first <= last else None
