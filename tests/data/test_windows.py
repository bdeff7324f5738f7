"""Windows: which there are, what they hold, and that no target is another part's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.windows import (
    context_of,
    end_of,
    index_windows,
    leaks,
    rows_of,
    shared_targets,
    training_rows,
    window_at,
)
from dragoman.errors import DataError
from dragoman.recipe.series import SeriesFiles, Windows
from dragoman.records import Series


def line(length, name="s", times=True, known=False):
    """A series that counts its rows."""
    rows = np.arange(length, dtype=float)[:, None]
    start = np.datetime64("2020-01-01", "s")
    return Series(
        rows,
        ("v",),
        name,
        start + np.arange(length) * np.timedelta64(3600, "s") if times else None,
        10 * rows if known else None,
        ("k",) if known else (),
    )


def windows(context, horizon):
    return Windows(context=context, horizon=horizon)


parts = st.tuples(*2 * [st.none() | st.integers(-15, 15)])


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    lengths=st.lists(st.integers(15, 25), min_size=1, max_size=3),
    context=st.integers(1, 6),
    horizon=st.integers(1, 5),
    stride=st.integers(1, 4),
    part=parts,
)
def test_targets_lie_within_their_part_and_every_one_that_fits_is_there(
    lengths, context, horizon, stride, part
):
    series = [line(length, str(number)) for number, length in enumerate(lengths)]
    wanted = []
    for number, length in enumerate(lengths):
        begin, end = (
            otherwise if row is None else row % length if row < 0 else row
            for row, otherwise in zip(part, (0, length), strict=True)
        )
        fits = [s for s in range(max(begin, context), length) if s + horizon <= min(end, length)]
        wanted += [(number, start) for start in fits[::stride]]
    if not wanted:
        with pytest.raises(DataError, match="no window fits"):
            index_windows(series, part, windows(context, horizon), stride)
        return
    index = index_windows(series, part, windows(context, horizon), stride)
    assert list(zip(index.series_N, index.start_N, strict=True)) == wanted
    assert set(index.bare) == {one.id for one in series} - {str(number) for number, _ in wanted}
    for number, start in wanted:
        source, target = window_at(series[number], start, context, horizon)
        assert source.values[:, 0].tolist() == list(range(start - context, start))
        assert target.values[:, 0].tolist() == list(range(start, start + horizon))


def test_the_last_horizon_is_one_window_of_each_series():
    series = [line(20, "a", times=False), line(25, "b", times=False)]
    index = index_windows(series, (-5, None), windows(10, 5), 1)
    assert (index.series_N.tolist(), index.start_N.tolist()) == ([0, 1], [15, 20])


def test_parts_by_dates():
    series = line(72)
    assert rows_of(series, ("2020-01-02", "2020-01-02 12:00")) == (24, 36)
    assert rows_of(series, ("2019-01-01", "2021-01-01")) == (0, 72)
    with pytest.raises(DataError, match="`part` has the date 2020-01-02, but series 's' has no times"):
        rows_of(line(9, times=False), ("2020-01-02", None))


def test_a_part_beyond_every_series_is_refused():
    with pytest.raises(DataError, match=r"`part` \[null, 144000\] reaches beyond every series: .* 20 rows"):
        index_windows([line(20)], (None, 144_000), windows(2, 2), 1)


def test_windows_with_nothing_to_forecast_are_left_out():
    series = line(12)
    series.values[5:8] = np.nan
    index = index_windows([series], (None, None), windows(2, 2), 1)
    assert index.start_N.tolist() == [2, 3, 4, 7, 8, 9, 10]


def test_times_and_known_values_go_on_over_the_horizon():
    source, target = window_at(line(20, known=True), 10, 4, 3)
    assert (source.times == line(20).times[6:13]).all()
    assert source.known_values[:, 0].tolist() == [60, 70, 80, 90, 100, 110, 120]
    assert (target.times == line(20).times[10:13]).all()
    assert (target.known_values, target.known_names) == (None, ())


def test_a_context_at_the_end_goes_on_into_the_future():
    source = context_of(line(20), 20, 4, 3)
    assert (source.times == line(23).times[16:]).all()
    with pytest.raises(DataError, match="k must be known for 3 steps after row 20, found 0"):
        context_of(line(20, known=True), 20, 4, 3)
    with pytest.raises(DataError, match="a context of 30 steps does not fit before row 20"):
        context_of(line(20), 20, 30, 3)
    one = line(1)
    with pytest.raises(DataError, match="no regular step that could go on"):
        context_of(one, 1, 1, 1)


def test_the_future_begins_after_the_last_value():
    series = line(20, known=True)
    series.values[16:] = np.nan
    assert end_of(series) == 16
    assert len(context_of(series, end_of(series), 4, 4).known_values) == 8
    series.values[:] = np.nan
    assert end_of(series) == 0


def test_training_looks_at_its_part_and_the_contexts_before_it():
    heard = training_rows(line(20, known=True), (8, 15), 3)
    assert heard.values[:, 0].tolist() == list(range(5, 15))
    assert (len(heard.times), len(heard.known_values)) == (10, 10)


def leak(train, held, times=True, files=(("a",), ("a",)), lengths=(30, 30)):
    ours, theirs = (SeriesFiles(series=f, part=p) for f, p in zip(files, (train, held), strict=True))
    return leaks(ours, [line(lengths[0], times=times)], theirs, [line(lengths[1], times=times)])


@pytest.mark.parametrize("times", [True, False])
def test_training_ends_before_what_is_held_out_begins(times):
    assert leak((None, 20), (20, None), times) is None
    assert leak((None, -10), (20, None), times) is None
    assert leak((None, 21), (20, None), times).startswith("series 's' of a: training")
    assert leak((10, None), (None, 10), times) is not None  # the future is no training for the past
    assert leak((None, None), (None, None), times, (("a",), ("b",))) is None


def test_rows_of_longer_lists_of_files_are_told_apart():
    files = (("a",), ("a", "b"))
    assert leak((None, None), (-5, None), False, files, (25, 30)) is None
    assert leak((None, None), (-6, None), False, files, (25, 30)) is not None
    assert "begin both lists with the same files" in leak((None, 5), (9, None), False, (("a", "b"), ("b",)))
    assert leak((None, "2020-01-01 10:00"), ("2020-01-01 10:00", None), True, (("a", "b"), ("b",))) is None


def both(dev, test, times=True, files=(("a",), ("a",))):
    ours, theirs = (SeriesFiles(series=f, part=p) for f, p in zip(files, (dev, test), strict=True))
    return shared_targets(ours, [line(30, times=times)], theirs, [line(30, times=times)])


@pytest.mark.parametrize("times", [True, False])
def test_no_target_is_of_development_and_of_test(times):
    assert both((10, 20), (20, None), times) is None
    assert both((20, None), (10, 20), times) is None  # the one may lie on either side of the other
    assert both((-20, -10), (20, None), times) is None
    assert both((None, None), (None, None), times, (("a",), ("b",))) is None
    for dev, test in (((10, 22), (20, None)), ((-20, -8), (20, -5)), ((20, None), (10, 22))):
        shown = "2020-01-01T20:00:00 to 2020-01-01T21:00:00" if times else "rows 20 to 21"
        assert both(dev, test, times).endswith(f"both forecast {shown}")
    assert both((10, None), (10, None), times).startswith("series 's' of a: `part` [10, null] and [10, null]")


def test_development_and_test_in_dates_and_in_rows_are_told_apart():
    assert both((5, 10), ("2020-01-01 10:00", None)) is None
    assert "[5, 11]" in both((5, 11), ("2020-01-01 10:00", None))
    assert "begin both lists" in both((5, 9), (9, None), False, (("a", "b"), ("b",)))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    end=st.integers(-12, 14).filter(bool),
    begin=st.integers(-14, -4) | st.integers(0, 14),
    context=st.integers(1, 4),
    horizon=st.integers(1, 4),
    times=st.booleans(),
)
def test_where_nothing_leaks_no_held_out_target_is_seen_in_training(end, begin, context, horizon, times):
    series = line(20, times=times)
    sections = [SeriesFiles(series="a", part=part) for part in ((None, end), (begin, None))]
    is_leak = rows_of(series, (None, end))[1] > rows_of(series, (begin, None))[0]
    assert (leaks(sections[0], [series], sections[1], [series]) is not None) == is_leak
    if is_leak or end % 20 < context + horizon:
        return
    ours, theirs = (index_windows([series], one.part, windows(context, horizon), 1) for one in sections)
    seen = {row for start in ours.start_N for row in range(start - context, start + horizon)}
    assert not seen & {row for start in theirs.start_N for row in range(start, start + horizon)}
