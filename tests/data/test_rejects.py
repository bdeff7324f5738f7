import json

import pytest

from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.records import Origin


def test_counts_and_summary():
    rejects = Rejects()
    assert rejects.summary() == "no rows rejected"
    rejects.add("bad utf-8", Origin("a", 1), "x")
    assert rejects.summary() == "1 row rejected: 1 bad utf-8"
    rejects.add("empty target", Origin("a", 2), "x")
    rejects.add("empty target", None, "x")
    assert rejects.counts == {"bad utf-8": 1, "empty target": 2}
    assert rejects.total == 3
    assert rejects.summary() == "3 rows rejected: 2 empty target, 1 bad utf-8"


def test_rows_are_listed_at_once_and_appended(tmp_path):
    path = tmp_path / "run" / "rejected.jsonl"
    rejects = Rejects(path=path)
    rejects.add("empty source", Origin("train.de", 7), "  ")
    assert len(path.read_text().splitlines()) == 1
    rejects.add("bad utf-8", None, "half \ud800, line\u2028separator")
    rows = [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]
    assert rows == [
        {"kind": "empty source", "file": "train.de", "line": 7, "found": "  "},
        {"kind": "bad utf-8", "file": None, "line": None, "found": "half \ud800, line\u2028separator"},
    ]
    Rejects(path=path).add("bad json", None, "{")
    assert path.read_bytes().count(b"\n") == 3
    assert str(path) in rejects.summary()


def test_what_was_found_is_cut(tmp_path):
    rejects = Rejects(path=tmp_path / "rejected.jsonl")
    rejects.add("source too long", None, "x" * 1_000_000)
    assert (tmp_path / "rejected.jsonl").stat().st_size < 1000


def test_strict_stops_at_the_first(tmp_path):
    rejects = Rejects(strict=True, path=tmp_path / "rejected.jsonl")
    with pytest.raises(DataError, match=r"train\.de:7: empty target: found ''; .*strict: false"):
        rejects.add("empty target", Origin("train.de", 7), "''")
