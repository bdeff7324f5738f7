import sys

import pytest

from dragoman.data.corpus import read_corpus
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError, MissingExtra
from dragoman.recipe.data import Table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def read(folder, rejects=None, **section):
    stream = read_corpus(Table(file="a.parquet", **section), folder, rejects or Rejects(strict=True))
    return [(example.id, example.source, *example.targets) for example in stream]


def test_named_numbered_and_nested_columns(tmp_path):
    table = pa.table(
        {
            "translation": [{"de": "eins", "in": {"en": "one"}}, {"de": "zwei", "in": {"en": "two"}}],
            "x.y": ["p", "q"],
            "kind": pa.array(["u", "u"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path, source="translation.de", target="translation.in.en") == [
        ("a.parquet:1", "eins", "one"),
        ("a.parquet:2", "zwei", "two"),
    ]
    assert read(tmp_path, source=1, target="kind")[1] == ("a.parquet:2", "q", "u")
    assert read(tmp_path, source="x.y", target=("kind", "x.y"))[0] == ("a.parquet:1", "p", "u", "p")


def test_rows_keep_their_numbers_over_row_groups_and_batches(tmp_path):
    texts = [f"{number}\u2028\n" for number in range(5000)]
    pq.write_table(pa.table({"s": texts, "t": texts}), tmp_path / "a.parquet", row_group_size=1500)
    assert read(tmp_path, source="s", target="t") == [
        (f"a.parquet:{row}", text, text) for row, text in enumerate(texts, start=1)
    ]


def test_bad_rows(tmp_path):
    good = b"\xc3\xa4"
    raw = pa.array([good, b"\xff", good, None, b"", b"\0", good], pa.binary())
    # A file may claim that bytes are text.
    text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    targets = pa.array([["t"], ["t"], ["t", "u"], ["t"], ["t"], ["t"], None], pa.list_(pa.string()))
    table = pa.table({"s": text, "raw": raw, "t": targets, "n": list(range(7))})
    pq.write_table(table, tmp_path / "a.parquet")
    counts = {"bad utf-8": 1, "empty source": 2, "NUL character": 1, "empty target": 1}
    for column in ("s", "raw"):
        accepted = read(tmp_path, rejects := Rejects(), source=column, target="t")
        assert accepted == [("a.parquet:1", "ä", "t"), ("a.parquet:3", "ä", "t", "u")]
        assert rejects.counts == counts
    assert read(tmp_path, rejects := Rejects(), source="n", target="t") == []
    assert rejects.counts == {"not text": 7}


def test_null_struct_is_empty(tmp_path):
    pq.write_table(
        pa.table({"t": [None, {"a": "x", "b": "y"}, {"a": None, "b": "y"}]}), tmp_path / "a.parquet"
    )
    assert read(tmp_path, rejects := Rejects(), source="t.a", target="t.b") == [("a.parquet:2", "x", "y")]
    assert rejects.counts == {"empty source": 2}


def test_missing_columns(tmp_path):
    pq.write_table(pa.table({"pair": [{"source": "a"}], "target": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'pair\.sorce' among .*; did you mean 'pair\.source'"):
        read(tmp_path, source="pair.sorce", target="target")
    with pytest.raises(DataError, match="no column 2; there are 2"):
        read(tmp_path, source=2, target="target")


def test_damaged_and_empty_files(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"s": ["a"] * 1000, "t": ["b"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    for content in (path.read_bytes(), b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.parquet: not a complete Parquet file"):
            read(tmp_path, source="s", target="t")
    pq.write_table(pa.table({"s": pa.array([], pa.string()), "t": pa.array([], pa.string())}), path)
    with pytest.raises(DataError, match="no rows"):
        read(tmp_path, source="s", target="t")


def test_without_pyarrow_the_message_installs_it(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dragoman\[data\]'"):
        read(tmp_path)
