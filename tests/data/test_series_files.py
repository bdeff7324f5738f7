"""Files of numbers: every layout, and what becomes of faults."""

import gzip
import sys

import numpy as np
import pytest

from dragoman.data.rejects import Rejects
from dragoman.data.series_files import read_series
from dragoman.data.series_text import series_csv
from dragoman.errors import DataError, MissingExtra
from dragoman.recipe.series import SeriesFiles
from dragoman.records import Series

WIDE = "date,a,b\n2020-01-01,1,2\n2020-01-02,3,\n2020-01-03,NaN,6\n"
LONG = "id,day,load,price\nx,1,10,1\ny,5,7,2\nx,2,11,3\ny,6,8,4\ny,7,9,5\n"
nan = np.nan


def read(folder, text=None, rejects=None, **section):
    section.setdefault("series", "a.csv")
    if text is not None:
        (folder / "a.csv").write_text(text, "utf-8")
    return read_series(SeriesFiles(**section), folder, rejects or Rejects(strict=True))


def test_a_wide_file_is_one_series_with_its_times(tmp_path):
    (series,) = read(tmp_path, WIDE, time="date")
    np.testing.assert_array_equal(series.values, [[1, 2], [3, nan], [nan, 6]])
    assert (series.names, series.id) == (("a", "b"), "")
    assert (series.times == np.arange("2020-01-01", "2020-01-04", dtype="M8[D]")).all()


def test_a_wide_file_may_lack_times_header_and_more(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"1,2\n3,4\n"))
    (series,) = read(tmp_path, series="a.txt.gz")
    assert (series.names, series.values.tolist(), series.times) == (("0", "1"), [[1, 2], [3, 4]], None)
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2\n")
    (series,) = read(tmp_path, series="a.tsv")
    assert (series.names, series.values.tolist()) == (("a", "b"), [[1, 2]])


def test_columns_are_chosen_by_name_or_number(tmp_path):
    text = "d,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n"
    (series,) = read(tmp_path, text, time=0, values=2, known="a")
    assert (series.names, series.known_names) == (("b",), ("a",))
    assert (series.values.tolist(), series.known_values.tolist()) == ([[2], [4]], [[1], [3]])


def test_apart_makes_each_variable_a_series(tmp_path):
    a, b = read(tmp_path, WIDE, time="date", apart=True)
    assert (a.id, b.id, a.names, a.values.shape) == ("a", "b", ("value",), (3, 1))
    found = read(tmp_path, LONG, id="id", time="day", apart=True)
    assert [one.id for one in found] == ["x/load", "x/price", "y/load", "y/price"]


def test_a_long_file_may_mix_its_series(tmp_path):
    x, y = read(tmp_path, LONG, id="id", time="day", known="price")
    assert (x.id, x.values.tolist(), x.known_values.tolist()) == ("x", [[10], [11]], [[1], [3]])
    assert (y.id, y.values.tolist(), y.names, y.times) == ("y", [[7], [8], [9]], ("load",), None)


def test_rows_are_padded_behind_and_missing_within(tmp_path):
    text = '"V1","V2","V3","V4"\n"H1","1","","3"\n"H2","5","",""\n'
    one, two = read(tmp_path, text, format="rows")
    np.testing.assert_array_equal(one.values[:, 0], [1, nan, 3])
    assert (two.id, two.values.tolist(), two.names) == ("H2", [[5]], ("value",))
    (bare,) = read(tmp_path, "1,7,8\n", format="rows", id=1)
    assert (bare.id, bare.values[:, 0].tolist()) == ("7", [1, 8])


def test_files_of_the_same_series_are_put_end_to_end(tmp_path):
    (tmp_path / "b.csv").write_text("id,v\nH2,4\nH1,3\n")
    h1, h2 = read(tmp_path, "id,v,w\nH1,1,2\nH2,5,\n", series=("a.csv", "b.csv"), format="rows")
    assert (h1.values[:, 0].tolist(), h2.values[:, 0].tolist()) == ([1, 2, 3], [5, 4])
    (tmp_path / "b.csv").write_text("id,v\nH2,4\n")
    with pytest.raises(DataError, match=r"a\.csv:2: incomplete series: found 'H1' is not in b\.csv"):
        read(tmp_path, series=("a.csv", "b.csv"), format="rows")


def test_files_with_times_may_hold_other_series_but_no_other_columns(tmp_path):
    (tmp_path / "b.csv").write_text("id,day,load,price\ny,8,1,1\nz,1,1,1\n")
    found = read(tmp_path, LONG, series=("a.csv", "b.csv"), id="id", time="day")
    assert [(one.id, len(one.values)) for one in found] == [("x", 2), ("y", 4), ("z", 1)]
    (tmp_path / "b.csv").write_text("id,day,lod,price\ny,8,1,1\n")
    with pytest.raises(DataError, match=r"b\.csv:2: other columns: found lod, price; a\.csv has load, price"):
        read(tmp_path, series=("a.csv", "b.csv"), id="id", time="day")


def test_steps_that_a_grid_leaves_out_are_missing(tmp_path):
    text = "t,v\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 03:00,4\n"
    (series,) = read(tmp_path, text, time="t")
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, nan, 4])
    assert series.times[2] == np.datetime64("2020-01-01T02:00")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,v\n2020-01-01,1\n2020-01-01,2\n", r"a\.csv:3: duplicate time: 2020-01-01"),
        ("t,v\n2020-01-02,1\n2020-01-01,2\n", r"a\.csv:3: unsorted times: 2020-01-01.* after 2020-01-02"),
        ("t,v\n2020-01-01,1\n2020-01-02,2\n2020-01-03,1\n2020-01-03T01:00,2\n", r"a\.csv:5: irregular times"),
        ("t,v\n2020-01-01,one\n", r"a\.csv:2: not a number: 'one' in column 'v'"),
        ("t,v\n2020-01-01,1\n2020-01-02,inf\n", r"a\.csv:3: not a number: 'inf' in column 'v'"),
        ("t,v\n2020-01-01,1_000\n", "not a number: '1_000'"),
        ("t,v\nsoon,1\n", r"a\.csv:2: bad time: expected an ISO date .*, found 'soon'"),
        ("t,v\n2020-01-01,1\n2020-01-02,1,3\n", r"a\.csv:3: expected 2 columns .*, found 3"),
        ("t,v\n", "a header and nothing below it"),
        ("t\n2020-01-01\n", "no column is left for values among 't'"),
    ],
)
def test_faults_of_a_wide_file_stop_with_their_place(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, time="t", rejects=Rejects())


def test_a_column_of_times_that_nobody_named_gets_advice(tmp_path):
    with pytest.raises(
        DataError, match="'2020-01-01' in column 'date'; a column of times is named with `time`"
    ):
        read(tmp_path, WIDE)


def test_a_first_line_of_names_and_numbers_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv:1: neither names nor numbers: found '1\.O' beside '2'"):
        read(tmp_path, "1.O,2\n3,4\n")


def test_a_known_covariate_must_be_known(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv:3: missing known value: nothing among b"):
        read(tmp_path, WIDE, time="date", values="a", known="b")
    gap = "t,v,k\n2020-01-01,1,1\n2020-01-02,1,1\n2020-01-04,1,1\n"
    with pytest.raises(DataError, match=r"a\.csv:4: missing known value: .*steps between them have no 'k'"):
        read(tmp_path, gap, time="t", known="k")


def test_a_column_cannot_be_two_things(tmp_path):
    with pytest.raises(DataError, match="a column is named twice"):
        read(tmp_path, WIDE, time="date", values=("a", "b"), known=2)


def test_a_fault_rejects_its_series_only_and_is_counted(tmp_path):
    rejects = Rejects(path=tmp_path / "rejected.jsonl")
    text = "id,t,v\nx,1,1\ny,1,one\nx,2,2\nz,2,1\nz,1,1\n"
    (series,) = read(tmp_path, text, rejects, id="id", time="t")
    assert (series.id, rejects.counts) == ("x", {"not a number": 1, "unsorted times": 1})
    assert '"line": 3' in rejects.path.read_text()
    (series,) = read(tmp_path, "a,1,2\nb,,\nc,1,x\n", rejects := Rejects(), format="rows", id=0)
    assert (series.id, rejects.counts) == ("a", {"empty series": 1, "not a number": 1})
    with pytest.raises(DataError, match="a.csv:3: duplicate id: found 'a' came before, in line 1"):
        read(tmp_path, "a,1\nb,1\na,2\n", format="rows")
    with pytest.raises(DataError, match="no series is left; 1 row rejected: 1 empty series"):
        read(tmp_path, "a,,\n", Rejects(), format="rows")


@pytest.mark.parametrize(
    "section", [{"format": "long", "id": "id", "time": "t"}, {"format": "rows", "id": "id"}]
)
def test_a_row_without_an_id_stops_with_its_place(tmp_path, section):
    with pytest.raises(DataError, match=r"a\.csv:3: expected the id of a series, found nothing"):
        read(tmp_path, "id,t,v\nx,1,1\n,2,2\n", **section)


def test_a_line_that_cannot_be_read_stops_with_its_place(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"v\n1\n\xff\n")
    with pytest.raises(DataError, match=r"a\.csv:3: bad utf-8"):
        read(tmp_path)


def test_arrays_and_archives_of_arrays(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(3, dtype=np.int32))
    np.savez(tmp_path / "many.npz", x=np.ones((4, 3)), y=np.zeros((2, 3)))
    (series,) = read(tmp_path, series="one.npy")
    assert (series.names, series.values[:, 0].tolist()) == (("value",), [0, 1, 2])
    x, y = read(tmp_path, series="many.npz", values=(0, 2))
    assert (x.id, y.id, x.names, x.values.shape, y.values.shape) == ("x", "y", ("0", "2"), (4, 2), (2, 2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 2)), "found float64 in the shape 2×2×2"),
        (np.array(["a"]), "expected numbers"),
        (np.array(5.0), "of a single value"),
        (np.array([1.0, np.inf]), r"a\.npy:2: not a number: found \[inf\]"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        read(tmp_path, series="a.npy")


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy: not a NumPy array of numbers"):
        read(tmp_path, series="a.npy")


def test_parquet_is_long_or_wide(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    days = np.arange("2020-01-01", "2020-01-04", dtype="M8[D]")
    table = {"id": ["x"] * 3, "day": days, "v": pa.array([1, None, 3]), "w": pa.array([1.5, 2, None])}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    (series,) = read(tmp_path, series="a.parquet", id="id", time="day")
    np.testing.assert_array_equal(series.values, [[1, 1.5], [nan, 2], [3, nan]])
    assert (series.id, series.names, series.times[2]) == ("x", ("v", "w"), np.datetime64("2020-01-03"))
    (series,) = read(tmp_path, series="a.parquet", time="day", values=2, format="parquet")
    assert (series.names, series.id) == (("v",), "")


def test_faults_of_parquet(tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"v": [1.0, np.inf]}), path)
    with pytest.raises(DataError, match=r"a\.parquet:2: not a number: inf"):
        read(tmp_path, series="a.parquet")
    pq.write_table(pa.table([pa.array([1]), pa.array([1])], names=["v", "v"]), path)
    with pytest.raises(DataError, match="2 columns are called 'v'"):
        read(tmp_path, series="a.parquet")
    zone = pa.array([1], pa.timestamp("s", "Europe/Berlin"))
    pq.write_table(pa.table({"t": zone, "v": [1]}), path)
    with pytest.raises(DataError, match="in the zone Europe/Berlin; convert to UTC"):
        read(tmp_path, series="a.parquet", time="t")
    pq.write_table(pa.table({"v": pa.array([], pa.float64())}), path)
    with pytest.raises(DataError, match="no rows"):
        read(tmp_path, series="a.parquet")
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a complete Parquet file"):
        read(tmp_path, series="a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dragoman\[data\]'"):
        read(tmp_path, series="a.parquet")


def test_forecasts_written_as_csv_can_be_read_again(tmp_path):
    times = np.arange("2020-01-01", "2020-01-03", dtype="M8[D]").astype("M8[s]")
    values = np.array([[1.5, nan], [1e-9, 1 / 3]])
    forecasts = [Series(values, ("a", "b"), name, times) for name in ("x", "y")]
    bands = [{0.1: one.values - 1, 0.9: one.values + 1} for one in forecasts]
    text = series_csv(forecasts, bands)
    assert text.splitlines()[0] == "id,time,a,b,a@0.1,b@0.1,a@0.9,b@0.9"
    for found, given, band in zip(read(tmp_path, text, id="id", time="time"), forecasts, bands, strict=True):
        assert (found.id, found.times.tolist()) == (given.id, times.tolist())
        wanted = np.concatenate([given.values, band[0.1], band[0.9]], axis=1)
        np.testing.assert_allclose(found.values, wanted, rtol=1e-8)
    assert series_csv([Series(np.array([[1.0], [2.0]]), id="x")]) == "id,step,0\nx,1,1.0\nx,2,2.0\n"
