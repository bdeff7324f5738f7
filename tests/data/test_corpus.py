import bz2
import csv
import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dragoman.data.corpus import read_corpus
from dragoman.data.lines import LONGEST_LINE
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.data import Parallel, Table
from dragoman.records import Origin

COMPRESSIONS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


def write(folder, **files):
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        (folder / name.replace("__", ".")).write_bytes(data)


def read(section, folder, rejects=None):
    return list(read_corpus(section, folder, rejects or Rejects(strict=True)))


def pairs(section, folder, rejects=None):
    return [(example.source, *example.targets) for example in read(section, folder, rejects)]


def rejected(section, folder):
    """Return the kinds of the rejected rows with their places, and what was accepted."""
    path = folder / "rejected.jsonl"
    path.unlink(missing_ok=True)
    rejects = Rejects(path=path)
    accepted = pairs(section, folder, rejects)
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] if path.exists() else []
    assert len(rows) == rejects.total
    return [(row["kind"], row["file"], row["line"]) for row in rows], accepted


PARALLEL = Parallel(source="a.de", target="a.en")


class TestParallel:
    def test_pairs_with_ids_and_origins(self, tmp_path):
        write(tmp_path, a__de="eins\nzwei\n", a__en="one\ntwo")
        first, second = read(PARALLEL, tmp_path)
        assert (first.source, first.targets) == ("eins", ("one",))
        assert (second.id, second.origin) == ("a.de:2", Origin("a.de", 2))

    def test_only_a_line_feed_ends_a_line(self, tmp_path):
        odd = "a\u2028b\x0bc\rd\x85e\x1cf\x0cg\u2029h"
        write(tmp_path, a__de=f"{odd}\nx\n", a__en=f"y\n{odd}\n")
        assert pairs(PARALLEL, tmp_path) == [(odd, "y"), ("x", odd)]

    def test_windows_line_ends_and_mark(self, tmp_path):
        write(tmp_path, a__de=b"\xef\xbb\xbfeins\r\nzwei\r\n", a__en="one\ntwo\n")
        assert pairs(PARALLEL, tmp_path) == [("eins", "one"), ("zwei", "two")]

    def test_a_mark_within_the_file_is_data(self, tmp_path):
        write(tmp_path, a__de="eins\n\ufeffzwei\n", a__en="one\ntwo\n")
        assert pairs(PARALLEL, tmp_path)[1] == ("\ufeffzwei", "two")

    def test_bad_rows_leave_the_others_in_step(self, tmp_path):
        long = "x" * LONGEST_LINE
        source = b"1\n\xff2\n\n4\n5\n6\x00\n" + long.encode() + b"\n" + long.encode() + b"x\n9\n"
        target = b"1\n2\n3\n   \n\xc3\n6\n7\n8\n9\n"
        write(tmp_path, a__de=source, a__en=target)
        rows, accepted = rejected(PARALLEL, tmp_path)
        assert rows == [
            ("bad utf-8", "a.de", 2),
            ("empty source", "a.de", 3),
            ("empty target", "a.de", 4),
            ("bad utf-8", "a.en", 5),
            ("NUL character", "a.de", 6),
            ("line too long", "a.de", 8),
        ]
        assert accepted == [("1", "1"), (long, "7"), ("9", "9")]

    def test_several_references(self, tmp_path):
        write(tmp_path, a="x\ny\nz\n", r1="1\n\n\n", r2="2\n2\n\n")
        rows, accepted = rejected(Parallel(source="a", target=("r1", "r2")), tmp_path)
        assert accepted == [("x", "1", "2"), ("y", "2")]
        assert rows == [("empty target", "a", 3)]

    def test_unequal_lengths_name_files_and_counts(self, tmp_path):
        write(tmp_path, a__de="1\n2\n3\n4\n", a__en="1\n2\n")
        with pytest.raises(DataError, match=r"4 in \S*a\.de and 2 in \S*a\.en.*mend"):
            read(PARALLEL, tmp_path)
        with pytest.raises(DataError, match=r"2 in \S*a\.en and 4 in \S*a\.de and 4 in"):
            read(Parallel(source="a.en", target=("a.de", "a.de")), tmp_path)

    def test_merge_keeps_the_order_of_first_appearance(self, tmp_path):
        write(tmp_path, a__de="b\na\nb\nb\n", a__en="1\n2\n3\n1\n")
        examples = read(PARALLEL.model_copy(update={"merge": True}), tmp_path)
        assert [(e.source, e.targets, e.id) for e in examples] == [
            ("b", ("1", "3"), "a.de:1"),
            ("a", ("2",), "a.de:2"),
        ]


class TestFiles:
    @pytest.mark.parametrize("ending", COMPRESSIONS)
    def test_compressed(self, tmp_path, ending):
        write(tmp_path, **{f"a__tsv{ending}": COMPRESSIONS[ending]("ä\tb\n".encode())})
        assert pairs(Table(file=f"a.tsv{ending}"), tmp_path) == [("ä", "b")]

    @pytest.mark.parametrize("ending", COMPRESSIONS)
    @pytest.mark.parametrize("damage", ["cut", "foreign"])
    def test_damaged(self, tmp_path, ending, damage):
        whole = COMPRESSIONS[ending]("".join(f"{n} {n * n * n}\tx\n" for n in range(20_000)).encode())
        write(tmp_path, **{f"a__tsv{ending}": whole[: len(whole) // 2] if damage == "cut" else b"a\tb\n"})
        with pytest.raises(DataError, match=r"a\.tsv\S* cannot be read.*is the file complete"):
            read(Table(file=f"a.tsv{ending}"), tmp_path)

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python has Zstandard")
    def test_zstandard_says_what_would_do(self, tmp_path):
        write(tmp_path, a__tsv__zst=b"x")
        with pytest.raises(DataError, match=r"Python 3\.14.*zstd -d"):
            read(Table(file="a.tsv.zst"), tmp_path)

    def test_missing(self, tmp_path):
        write(tmp_path, train__tsv="a\tb\n")
        with pytest.raises(DataError, match=r"trian\.tsv: not found; did you mean 'train\.tsv'\?"):
            read_corpus(Table(file="trian.tsv"), tmp_path, Rejects())
        with pytest.raises(DataError, match="there is no folder"):
            read_corpus(Table(file="nowhere/train.tsv"), tmp_path, Rejects())

    def test_folder(self, tmp_path):
        (tmp_path / "a.tsv").mkdir()
        with pytest.raises(DataError, match="is a folder"):
            read_corpus(Table(file="a.tsv"), tmp_path, Rejects())

    @pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
    def test_empty(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        rejects = Rejects()
        with pytest.raises(DataError, match=f"{name}: the file is empty"):
            read(Table(file=name, source="s", target="t"), tmp_path, rejects)

    def test_utf16(self, tmp_path):
        write(tmp_path, a__tsv="a\tb\n".encode("utf-16"))
        with pytest.raises(DataError, match="UTF-16.*iconv"):
            read(Table(file="a.tsv"), tmp_path)

    def test_unknown_format(self, tmp_path):
        write(tmp_path, a__train="a\tb\n")
        with pytest.raises(DataError, match=r"'\.train'.*format: tsv"):
            read(Table(file="a.train"), tmp_path)
        assert pairs(Table(file="a.train", format="tsv"), tmp_path) == [("a", "b")]

    def test_stopping_early_closes_the_files(self, tmp_path):
        # Warnings are errors: a file left open would fail this test.
        write(tmp_path, a__de="1\n2\n", a__en="1\n2\n")
        stream = read_corpus(PARALLEL, tmp_path, Rejects())
        assert next(stream).source == "1"
        del stream


class TestTsv:
    def test_numbered_columns_have_no_header(self, tmp_path):
        write(tmp_path, a__tsv="s\tt\tx\n1\t2\t3\n")
        assert pairs(Table(file="a.tsv", source=2, target=0), tmp_path) == [("x", "s"), ("3", "1")]

    def test_a_name_means_a_header(self, tmp_path):
        write(tmp_path, a__tsv="s\tt\tx\n1\t2\t3\n")
        examples = read(Table(file="a.tsv", source="x", target=0), tmp_path)
        assert [(e.source, e.targets, e.id) for e in examples] == [("3", ("1",), "a.tsv:2")]

    def test_several_columns(self, tmp_path):
        write(tmp_path, a__tsv="run\tran\tV;PST\tRAN\nrun\t\t\tx\n\t\t\tx\n")
        section = Table(file="a.tsv", source=(0, 2), target=(1, 3))
        rows, accepted = rejected(section, tmp_path)
        assert accepted == [("run\tV;PST", "ran", "RAN"), ("run\t", "x")]
        assert rows == [("empty source", "a.tsv", 3)]

    def test_bad_rows(self, tmp_path):
        write(tmp_path, a__tsv=b"1\t2\nonly\n\n\xff\t4\n5\t6\x00\n\t7\n8\t \n9\t9\t9\n")
        rows, accepted = rejected(Table(file="a.tsv"), tmp_path)
        kinds = ["wrong column count", "wrong column count", "bad utf-8", "NUL character"]
        kinds += ["empty source", "empty target"]
        assert rows == [(kind, "a.tsv", line) for line, kind in enumerate(kinds, start=2)]
        assert accepted == [("1", "2"), ("9", "9")]

    def test_quotes_are_characters(self, tmp_path):
        write(tmp_path, a__tsv='"a\t"b""\n')
        assert pairs(Table(file="a.tsv"), tmp_path) == [('"a', '"b""')]

    def test_missing_column_suggests(self, tmp_path):
        write(tmp_path, a__tsv="source\ttarget\n1\t2\n")
        with pytest.raises(DataError, match="'sorce' among 'source', 'target'; did you mean 'source'"):
            read(Table(file="a.tsv", source="sorce", target="target"), tmp_path)
        with pytest.raises(DataError, match="no column 2; the header has 2"):
            read(Table(file="a.tsv", source="source", target=2), tmp_path)

    def test_ambiguous_column(self, tmp_path):
        write(tmp_path, a__tsv="x\tx\n1\t2\n")
        with pytest.raises(DataError, match="2 columns are called 'x'"):
            read(Table(file="a.tsv", source="x"), tmp_path)

    def test_header_alone(self, tmp_path):
        write(tmp_path, a__tsv="s\tt\n")
        with pytest.raises(DataError, match="header and nothing below"):
            read(Table(file="a.tsv", source="s", target="t"), tmp_path)

    def test_bad_header(self, tmp_path):
        write(tmp_path, a__tsv=b"s\xff\tt\n1\t2\n")
        with pytest.raises(DataError, match=r"a\.tsv:1: the header.*bad utf-8"):
            read(Table(file="a.tsv", source="s", target="t"), tmp_path)


CSV = Table(file="a.csv")


class TestCsv:
    def test_quoting(self, tmp_path):
        write(tmp_path, a__csv='"a,""b""",c\r\n"one\r\ntwo\n","5"\r\n5" pipe,x\n"",y\nlast,""" "')
        examples = read(CSV, tmp_path, rejects := Rejects())
        assert [(e.source, *e.targets) for e in examples] == [
            ('a,"b"', "c"),
            ("one\r\ntwo\n", "5"),
            ('5" pipe', "x"),
            ("last", '" '),
        ]
        assert [e.origin.line for e in examples] == [1, 2, 5, 7]
        assert rejects.counts == {"empty source": 1}

    def test_lone_returns_are_data(self, tmp_path):
        write(tmp_path, a__csv="a\rb,c\n")
        assert pairs(CSV, tmp_path) == [("a\rb", "c")]

    def test_named_columns(self, tmp_path):
        write(tmp_path, a__csv='"the target",src\n1,2\n')
        assert pairs(Table(file="a.csv", source="src", target="the target"), tmp_path) == [("2", "1")]

    def test_a_stray_quote_swallows_no_other_row(self, tmp_path):
        write(tmp_path, a__csv='1,2\n"3,4\n5,6\n7,8\n')
        rows, accepted = rejected(CSV, tmp_path)
        assert rows == [("bad quoting", "a.csv", 2)]
        assert accepted == [("1", "2"), ("5", "6"), ("7", "8")]

    def test_a_stray_quote_in_a_long_file(self, tmp_path):
        body = "".join(f"{number},{'x' * 100}\n" for number in range(20_000))
        write(tmp_path, a__csv=f'"0,0\n{body}')
        rows, accepted = rejected(CSV, tmp_path)
        assert rows == [("bad quoting", "a.csv", 1)]
        assert [source for source, _ in accepted] == [str(number) for number in range(20_000)]

    def test_bad_rows(self, tmp_path):
        long = b"x" * (LONGEST_LINE + 1)
        rows = [
            b"1,2",
            b"only",
            b'"a"b,c',
            b'"\xff\nx",y',
            b"\xfe,y",
            long,
            b'"a\x00",b',
            b'"a\n' + long,
            b"z,z",
        ]
        write(tmp_path, a__csv=b"\n".join(rows) + b"\n")
        listed, accepted = rejected(CSV, tmp_path)
        assert listed == [
            ("wrong column count", "a.csv", 2),
            ("bad quoting", "a.csv", 3),
            ("bad utf-8", "a.csv", 4),
            ("bad utf-8", "a.csv", 6),
            ("line too long", "a.csv", 7),
            ("NUL character", "a.csv", 8),
            ("line too long", "a.csv", 9),
        ]
        assert accepted == [("1", "2"), ("z", "z")]


JSONL = Table(file="a.jsonl", source="s", target="t")


class TestJsonLines:
    def test_dotted_path_and_dotted_key(self, tmp_path):
        write(tmp_path, a__jsonl='{"t":{"de":"a","en":"b"}}\n{"t.de":"c","t":{"de":"x","en":"d"}}\n')
        section = Table(file="a.jsonl", source="t.de", target="t.en")
        assert pairs(section, tmp_path) == [("a", "b"), ("c", "d")]

    def test_a_list_is_several_references(self, tmp_path):
        write(tmp_path, a__jsonl='{"s":"a","t":["b","c"]}\n{"s":"a","t":[]}\n')
        rows, accepted = rejected(JSONL, tmp_path)
        assert accepted == [("a", "b", "c")]
        assert rows == [("empty target", "a.jsonl", 2)]

    def test_bad_rows(self, tmp_path):
        rows = {
            '{"s":"a","t":"b"': "bad json",
            "": "bad json",
            '["a","b"]': "bad json",
            "[" * 100_000: "bad json",
            '{"s":"a"}': "missing key",
            '{"s":"a","t":7}': "not text",
            '{"s":["a"],"t":"b"}': "not text",
            '{"s":"a","t":["b",true]}': "not text",
            '{"s":"a","t":{"u":"b"}}': "not text",
            '{"s":null,"t":"b"}': "empty source",
            '{"s":"a","t":null}': "empty target",
            '{"s":"a","t":""}': "empty target",
            '{"s":"a\\u0000","t":"b"}': "NUL character",
            '{"s":"\\ud800","t":"b"}': "bad utf-8",
            '{"s":"\udc80","t":"b"}': "bad utf-8",
        }
        write(tmp_path, a__jsonl="\n".join([*rows, '{"s":"a","t":"b","n":' + "1" * 9999 + "}"]))
        listed, accepted = rejected(JSONL, tmp_path)
        assert listed == [(kind, "a.jsonl", line) for line, kind in enumerate(rows.values(), start=1)]
        assert accepted == [("a", "b")]

    def test_missing_key_suggests(self, tmp_path):
        write(tmp_path, a__jsonl='{"source":"a","t":"b"}\n')
        with pytest.raises(
            DataError, match=r"a\.jsonl:1: missing key: found no 'sorce'; did you mean 'source'"
        ):
            read(Table(file="a.jsonl", source="sorce", target="t"), tmp_path)

    def test_numbers_are_refused(self, tmp_path):
        write(tmp_path, a__jsonl='{"s":"a","t":"b"}\n')
        with pytest.raises(DataError, match="named keys"):
            read(Table(file="a.jsonl"), tmp_path)


# Any text but what the house refuses: empty, NUL, half characters.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(str.strip)
LINE = TEXT.filter(lambda text: "\n" not in text and not text.endswith("\r"))
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5)
# A file's first character is not a byte order mark that we would drop.
LINES = st.lists(st.tuples(LINE, LINE), min_size=1, max_size=5)


class TestRoundTrip:
    @settings(deadline=None)
    @given(LINES)
    def test_parallel(self, tmp_path_factory, rows):
        folder = tmp_path_factory.mktemp("data", numbered=True)
        write(folder, a__de="\ufeff", a__en="\ufeff")
        for name, side in (("a.de", 0), ("a.en", 1)):
            with (folder / name).open("a", encoding="utf-8", newline="") as file:
                file.writelines(row[side] + "\n" for row in rows)
        assert pairs(PARALLEL, folder) == rows

    @settings(deadline=None)
    @given(LINES)
    def test_tsv(self, tmp_path_factory, rows):
        rows = [(s.replace("\t", "_"), t.replace("\t", "_")) for s, t in rows]
        rows = [row for row in rows if all(map(str.strip, row))] or [("a", "b")]
        folder = tmp_path_factory.mktemp("data", numbered=True)
        write(folder, a__tsv="\ufeff" + "".join(f"{s}\t{t}\n" for s, t in rows))
        assert pairs(Table(file="a.tsv"), folder) == rows

    @settings(deadline=None)
    @given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    def test_csv_as_python_writes_it(self, tmp_path_factory, rows, ending, quoting):
        path = tmp_path_factory.mktemp("data", numbered=True) / "a.csv"
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file, lineterminator=ending, quoting=quoting).writerows(rows)
        # A carriage return that nobody quoted, before a line feed, belongs to the line's end.
        assume(quoting == csv.QUOTE_ALL or not any(target.endswith("\r") for _, target in rows))
        assert pairs(CSV, path.parent) == rows

    @settings(deadline=None)
    @given(ROWS, st.booleans())
    def test_jsonl(self, tmp_path_factory, rows, ascii_only):
        folder = tmp_path_factory.mktemp("data", numbered=True)
        lines = [json.dumps({"s": s, "t": t}, ensure_ascii=ascii_only) + "\n" for s, t in rows]
        write(folder, a__jsonl="".join(lines))
        assert pairs(JSONL, folder) == rows


def test_the_stream_is_a_stream(tmp_path):
    """The first example comes before the damage at the end is met."""
    whole = gzip.compress("".join(f"{n} {n * n * n}\tx\n" for n in range(50_000)).encode())
    Path(tmp_path / "a.tsv.gz").write_bytes(whole[: len(whole) - 100])
    stream = read_corpus(Table(file="a.tsv.gz"), tmp_path, Rejects())
    assert next(stream).source == "0 0"
    with pytest.raises(DataError, match=r"after line 4\d,\d\d\d"):
        list(stream)


class TestAlignment:
    def test_links_come_beside_lines_and_in_columns(self, tmp_path):
        write(tmp_path, a__de="ein Hund\nja\n", a__en="a dog\nyes\n", a__talp="1-1 0-0 0?1\n\n")
        section = PARALLEL.model_copy(update={"alignment": "a.talp"})
        wanted = [((0, 0), (0, 1), (1, 1)), ()]
        assert [example.links for example in read(section, tmp_path)] == wanted
        assert [example.targets for example in read(section, tmp_path)] == [("a dog",), ("yes",)]
        write(tmp_path, a__tsv="ein Hund\t1-1 0-0 0?1\ta dog\nja\t\tyes\n")
        table = Table(file="a.tsv", target=2, alignment=1)
        assert [example.links for example in read(table, tmp_path)] == wanted
        assert [example.targets for example in read(table, tmp_path)] == [("a dog",), ("yes",)]

    def test_what_is_no_alignment_of_the_words_is_rejected(self, tmp_path):
        write(tmp_path, a__tsv="a b\tA B\t0-0\na b\tA B\t2-0\na b\tA B\t0-2\na b\tA B\t0:0\n")
        kinds, accepted = rejected(Table(file="a.tsv", alignment=2), tmp_path)
        assert kinds == [("bad alignment", "a.tsv", line) for line in (2, 3, 4)]
        assert accepted == [("a b", "A B")]

    def test_an_alignment_is_of_one_target(self, tmp_path):
        write(tmp_path, a__jsonl='{"source": "a", "target": ["A", "B"], "links": "0-0"}\n')
        table = Table(file="a.jsonl", source="source", target="target", alignment="links")
        assert rejected(table, tmp_path) == ([("bad alignment", "a.jsonl", 1)], [])

    def test_unequal_files_are_refused(self, tmp_path):
        write(tmp_path, a__de="a\nb\n", a__en="A\nB\n", a__talp="0-0\n")
        with pytest.raises(DataError, match="unequal line numbers"):
            read(PARALLEL.model_copy(update={"alignment": "a.talp"}), tmp_path)
