"""Times: read strictly, regular or refused, gone on with."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dragoman.data.time_grid import BadTime, Step, fill, go_on, read_times, step_of


def dates(*texts):
    return np.array(texts, "datetime64[s]")


def test_iso_dates_in_their_several_spellings():
    spelt = [
        "2016-07-01",
        "2016-07-01 01",
        "2016-07-01T02:00",
        "2016-07-01 03:00:00.000",
        "2016-07-01T04:00Z",
    ]
    assert (np.diff(read_times(spelt)) == np.timedelta64(3600, "s")).all()
    assert read_times(["2016-07", "2016-08"])[1] == np.datetime64("2016-08-01")
    assert read_times(["1", " 2.0", "-3"]).tolist() == [1, 2, -3]


@pytest.mark.parametrize(
    ("cells", "row", "found"),
    [
        (["2016-07-01", "01/07/2016"], 1, "expected an ISO date .*, found '01/07/2016'"),
        (["2016-07-01T00:00+02:00"], 0, "expected an ISO date"),
        (["2016-07-01", ""], 1, "found ''"),
        (["2016-02-30"], 0, "no such date"),
        (["1", "2016-07-01"], 1, "expected a whole number"),
        (["today"], 0, "expected an ISO date"),
        (np.array(["2016", "NaT"], "datetime64[ns]"), 1, "found nothing"),
        (np.array(["2016-01-01T00:00:00.5"], "datetime64[ms]"), 0, "whole seconds"),
    ],
)
def test_other_times_are_refused_with_their_row(cells, row, found):
    with pytest.raises(BadTime) as caught:
        read_times(cells)
    assert caught.value.row == row
    assert caught.match(found.replace("(", r"\("))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    first=st.datetimes(),
    unit=st.sampled_from(["seconds", "days", "months", "month ends", "years"]),
    count=st.integers(1, 7),
    rows=st.lists(st.booleans(), min_size=1, max_size=30),
)
def test_what_a_regular_grid_leaves_out_comes_back(first, unit, count, rows):
    start = np.datetime64(first.replace(year=2000, day=min(first.day, 28), microsecond=0), "s")
    if unit == "month ends":
        start = (start.astype("M8[M]") + 1).astype("M8[s]") - np.timedelta64(1, "D")
    step = {
        "seconds": Step(3600 * count),
        "days": Step(86_400 * count),
        "months": Step(count, is_months=True),
        "month ends": Step(count, is_months=True, shift=86_400),
        "years": Step(12 * count, is_months=True),
    }[unit]
    grid = np.concatenate(([start], go_on(np.array([start]), step, len(rows) + 5)))
    kept = np.unique([0, 1, 2, 3, *(4 + np.flatnonzero(rows[:-1])), len(grid) - 2, len(grid) - 1])
    assume((np.diff(kept) == 1).sum() * 2 > len(kept) - 1 and len(grid) <= 4 * len(kept))
    filled, places = fill(grid[kept])
    assert (filled == grid).all()
    assert (places == kept).all()
    assert (go_on(grid[:-3], step_of(grid), 3) == grid[-3:]).all()


@pytest.mark.parametrize(
    ("times", "kind", "row"),
    [
        (dates("2020-01-01", "2020-01-02", "2020-01-02"), "duplicate time", 2),
        (dates("2020-01-02", "2020-01-01", "2020-01-03"), "unsorted times", 1),
        (dates("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-03T07"), "irregular times", 3),
        (np.array([1, 2, 3, 4, 400]), "irregular times", 4),
    ],
)
def test_times_that_make_no_grid_are_refused_with_their_row(times, kind, row):
    with pytest.raises(BadTime) as caught:
        fill(times)
    assert (caught.value.kind, caught.value.row) == (kind, row)


def test_one_time_is_a_grid_without_a_step():
    grid, rows = fill(dates("2020-01-01"))
    assert (len(grid), rows.tolist(), step_of(grid)) == (1, [0], None)
    assert step_of(np.array([1, 2, 3, 10, 10 + 3])) == Step(1)
    assert step_of(np.array([2, 4, 6, 7])) is None
