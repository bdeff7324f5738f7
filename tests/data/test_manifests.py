import gzip
import json

import numpy as np
import pytest

from dragoman.data.manifests import manifest_files, read_manifest
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.speech import Manifest
from dragoman.records import Origin

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def folder(tmp_path):
    """Three seconds of sound as `a.wav` and `b.flac`, in the folder itself and in `clips`."""
    for place in (tmp_path, tmp_path / "clips"):
        place.mkdir(exist_ok=True)
        for name in ("a.wav", "b.flac"):
            soundfile.write(place / name, np.zeros(24000), 8000)
    return tmp_path


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def json_lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read(folder, rejects=None, **section):
    return list(read_manifest(Manifest(**section), folder, rejects or Rejects(strict=True)))


def pairs(folder, rejects=None, **section):
    """Sources below the folder, with their targets."""
    examples = read(folder, rejects, **section)
    return [(example.source.removeprefix(f"{folder}/"), *example.targets) for example in examples]


def rejected(folder, **section):
    """The kinds of rejected rows with their lines, and what was accepted."""
    path = folder / "rejected.jsonl"
    accepted = pairs(folder, Rejects(path=path), **section)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [(row["kind"], row["file"], row["line"]) for row in rows], accepted


class TestTables:
    def test_parquet_by_names_and_with_parts_of_files(self, folder):
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = {
            "path": ["a.wav", "b.flac", "c.wav", "a.wav"],
            "sentence": ["x", "y", "z", None],
            "from": [0.5, None, 0.0, 0.0],
            "seconds": [1.0, None, 1.0, 1.0],
        }
        pq.write_table(pa.table(columns), folder / "clips.parquet")
        named = {"manifest": "clips.parquet", "audio": "path", "target": "sentence"}
        rows, accepted = rejected(folder, **named, begin="from", duration="seconds")
        assert accepted == [("a.wav#t=0.5,1.5", "x"), ("b.flac", "y")]
        assert rows == [("missing audio", "clips.parquet", 3), ("empty target", "clips.parquet", 4)]
        with pytest.raises(DataError, match=r"clips.parquet: no column 'file' among 'path', 'sentence'"):
            read(folder, manifest="clips.parquet")

    def test_tsv_by_default_names(self, folder):
        write(folder, train__tsv="file\tspeaker\ttext\nclips/a.wav\tx\tä b\nb.flac\ty\tc\n")
        first, second = read(folder, manifest="train.tsv")
        assert (first.source, first.targets) == (str(folder / "clips" / "a.wav"), ("ä b",))
        assert (second.id, second.origin) == ("train.tsv:3", Origin("train.tsv", 3))

    def test_columns_by_number_and_several_targets(self, folder):
        write(folder, a__csv='a.wav,"1, 2",one\nb.flac,3,\n')
        found = pairs(folder, manifest="a.csv", audio=0, target=(1, 2))
        assert found == [("a.wav", "1, 2", "one"), ("b.flac", "3")]

    def test_begin_and_duration(self, folder):
        write(folder, a__tsv="file\tfrom\tlong\ttext\na.wav\t0.5\t1.25\tx\na.wav\t\t\ty\nb.flac\t1\t\tz\n")
        found = pairs(folder, manifest="a.tsv", begin="from", duration="long")
        assert found == [("a.wav#t=0.5,1.75", "x"), ("a.wav", "y"), ("b.flac#t=1", "z")]
        assert pairs(folder, manifest="a.tsv", duration="long")[0] == ("a.wav#t=0,1.25", "x")
        assert pairs(folder, manifest="a.tsv", begin=1)[0] == ("a.wav#t=0.5", "x")

    def test_a_name_that_is_a_clip(self, folder):
        write(folder, a__tsv="file\ttext\na.wav#t=1,2\tx\na.wav#t=2,1\ty\n")
        rejects = Rejects()
        assert pairs(folder, rejects, manifest="a.tsv") == [("a.wav#t=1,2", "x")]
        assert rejects.counts == {"bad duration": 1}

    def test_json_lines_and_compression(self, folder):
        rows = json_lines(
            {"sound": {"path": "a.wav"}, "text": ["x", "y"]}, {"sound": {"path": "b.flac"}, "text": "z"}
        )
        write(folder, a__jsonl__gz=gzip.compress(rows.encode()))
        found = pairs(folder, manifest="a.jsonl.gz", audio="sound.path")
        assert found == [("a.wav", "x", "y"), ("b.flac", "z")]

    def test_another_folder_and_absolute_names(self, folder, tmp_path_factory):
        lists = tmp_path_factory.mktemp("lists")
        write(lists, a__tsv=f"file\ttext\na.wav\tx\n{folder}/b.flac\ty\n")
        found = pairs(folder, manifest=str(lists / "a.tsv"), audio_folder="clips")
        assert found == [("clips/a.wav", "x"), ("b.flac", "y")]

    def test_bad_rows(self, folder):
        write(
            folder,
            a__tsv=b"file\tfrom\tlong\ttext\n"
            b"a.wav\t0\t0\tx\na.wav\t0\t-1\tx\na.wav\t-1\t1\tx\na.wav\tone\t1\tx\na.wav\t0\tnan\tx\n"
            b"a.wav\t3\t1\tx\na.wav\t2\t1.2\tx\na.wav\t2.9\t0.15\tgood\n"
            b"a.wav\t0\t1\t \nc.wav\t0\t1\tx\n\t0\t1\tx\ntouch made |\t0\t1\tx\na.tsv\t0\t1\tx\n"
            b"a.wav\t0\na.wav\t0\t1\t\xff\nclips\t0\t1\tx\na.wav\t\t\tgood\n",
        )
        rows, accepted = rejected(folder, manifest="a.tsv", begin="from", duration="long")
        kinds = ["bad duration", "bad duration", "bad begin", "bad begin", "bad duration"]
        kinds += ["beyond the end", "beyond the end", "", "empty target", "missing audio", "empty source"]
        kinds += ["a command", "unreadable audio", "wrong column count", "bad utf-8", "missing audio"]
        assert rows == [(kind, "a.tsv", line) for line, kind in enumerate(kinds, start=2) if kind]
        assert accepted == [("a.wav#t=2.9,3.05", "good"), ("a.wav", "good")]
        assert not (folder / "made").exists()

    def test_values_of_json_that_are_no_text_and_no_seconds(self, folder):
        write(
            folder,
            a__jsonl=json_lines(
                {"file": 3, "from": 1, "text": "x"},
                {"file": "a.wav", "from": True, "text": "x"},
                {"file": "a.wav", "from": [1], "text": "x"},
                {"file": "a.wav", "text": "x"},
                {"file": "a.wav", "from": None, "text": "x"},
                {"file": "a\0.wav", "from": 1, "text": "x"},
                {"file": "a" * 5000, "from": 1, "text": "x"},
            ),
        )
        rows, accepted = rejected(folder, manifest="a.jsonl", begin="from")
        kinds = ["not text", "bad begin", "bad begin", "missing key", "", "NUL character", "missing audio"]
        assert [(kind, line) for kind, _, line in rows] == [(k, n) for n, k in enumerate(kinds, 1) if k]
        assert accepted == [("a.wav", "x")]

    def test_strict(self, folder):
        write(folder, a__tsv="file\ttext\naa.wav\tx\n")
        with pytest.raises(
            DataError, match=r"a\.tsv:2: missing audio: found .*aa\.wav; did you mean 'a\.wav'"
        ):
            read(folder, manifest="a.tsv")

    def test_when_all_are_missing_it_says_where_it_looked(self, folder):
        write(folder, a__tsv="file\ttext\nx/a.wav\tx\nx/b.wav\ty\n")
        message = rf"not one of its sound files is there.*{folder}/x/a\.wav; `audio_folder` says where"
        with pytest.raises(DataError, match=message):
            read(folder, Rejects(), manifest="a.tsv")

    def test_lists_that_are_not_there_or_not_lists(self, folder):
        write(folder, a__train="a.wav\tx\n", a__tsv="file\ttext\na.wav\tx\n", a__jsonl="{}\n")
        with pytest.raises(DataError, match=r"b\.tsv: not found; did you mean 'a\.tsv'"):
            read_manifest(Manifest(manifest="b.tsv"), folder, Rejects())
        with pytest.raises(DataError, match=r"'\.train'.*say `format: tsv`"):
            read_manifest(Manifest(manifest="a.train"), folder, Rejects())
        with pytest.raises(DataError, match=r"is a folder; name the file in it"):
            read_manifest(Manifest(manifest="clips", format="tsv"), folder, Rejects())
        with pytest.raises(DataError, match=r"no column 'txt' among 'file', 'text'; did you mean 'text'"):
            read(folder, manifest="a.tsv", target="txt")
        with pytest.raises(DataError, match="no numbered columns; name them all"):
            read(folder, manifest="a.jsonl", audio=0)
        assert pairs(folder, manifest="a.train", format="tsv", audio=0, target=1) == [("a.wav", "x")]

    def test_the_files_of_a_list(self, folder):
        write(folder, a__tsv="file\ttext\na.wav\tx\n")
        assert manifest_files(Manifest(manifest="a.tsv"), folder) == [folder / "a.tsv"]


class TestNemo:
    rows = json_lines(
        {"audio_filepath": "a.wav", "duration": 3.0, "text": "x"},
        {"audio_filepath": "b.flac", "offset": 1.5, "duration": 1, "text": "y", "answer": "z"},
        {"audio_filepath": "b.flac", "text": "w", "answer": "v"},
    )

    @pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
    def test_known_by_its_first_line(self, folder, name):
        (folder / name).write_text(self.rows)
        found = pairs(folder, manifest=name)
        assert found == [("a.wav#t=0,3", "x"), ("b.flac#t=1.5,2.5", "y"), ("b.flac", "w")]

    def test_another_target(self, folder):
        write(folder, a__txt=self.rows)
        rejects = Rejects()
        assert pairs(folder, rejects, manifest="a.txt", format="nemo", target="answer")[0][1] == "z"
        assert rejects.counts == {"missing key": 1}

    def test_own_columns_make_it_an_ordinary_list(self, folder):
        write(folder, a__json=self.rows)
        assert pairs(folder, manifest="a.json", audio="audio_filepath")[0] == ("a.wav", "x")

    def test_a_duration_that_is_not_the_files(self, folder):
        write(folder, a__json=json_lines({"audio_filepath": "a.wav", "duration": 5.0, "text": "x"}))
        rejects = Rejects()
        assert read(folder, rejects, manifest="a.json") == []
        assert rejects.counts == {"beyond the end": 1}


class TestCommonVoice:
    rows = (
        "client_id\tpath\tsentence\tlocale\ttranslation\n"
        "abc\ta.wav\tOne.\ten\tEins.\n"
        "abc\tc.mp3\tTwo.\ten\tZwei.\n"
    )

    def test_clips_beside_the_list(self, folder):
        write(folder, validated__tsv=self.rows)
        rejects = Rejects()
        assert pairs(folder, rejects, manifest="validated.tsv") == [("clips/a.wav", "One.")]
        assert rejects.counts == {"missing audio": 1}

    def test_another_folder_and_target(self, folder):
        write(folder, validated__tsv=self.rows)
        section = {"manifest": "validated.tsv", "format": "common_voice", "audio_folder": "."}
        assert pairs(folder, Rejects(), **section, target="translation") == [("a.wav", "Eins.")]


class TestKaldi:
    def test_whole_recordings_in_the_order_of_text(self, folder):
        scp = f"u1 ../a.wav\nu2  {folder}/b.flac\n"
        write(folder / "kaldi", wav__scp=scp, text="u2 y  z\nu1\tx\n")
        first, second = read(folder, manifest="kaldi")
        assert (first.source, first.targets) == (str(folder / "b.flac"), ("y  z",))
        assert (first.id, first.origin) == ("text:1", Origin("kaldi/text", 1))
        assert second.source == f"{folder}/kaldi/../a.wav"

    def test_segments(self, folder):
        segments = "u1 r 0.5 1.5\nu2 r 1.5 -1\n"
        write(folder / "kaldi", wav__scp="r a.wav\n", segments=segments, text="u1 x\nu2 y\n")
        found = pairs(folder, manifest="kaldi", audio_folder="clips", format="kaldi")
        assert found == [("clips/a.wav#t=0.5,1.5", "x"), ("clips/a.wav#t=1.5", "y")]
        names = [path.name for path in manifest_files(Manifest(manifest="kaldi"), folder)]
        assert names == ["wav.scp", "text", "segments"]

    def test_commands_are_never_run(self, folder):
        made = folder / "made"
        scp = f"u1 touch {made} |\nu2 touch {made}; cat a.wav |\nu3 ../a.wav\n"
        write(folder / "kaldi", wav__scp=scp, text="u1 x\nu2 y\nu3 z\n")
        rows, accepted = rejected(folder, manifest="kaldi")
        assert rows == [("a command", "kaldi/text", 1), ("a command", "kaldi/text", 2)]
        assert accepted == [("kaldi/../a.wav", "z")]
        assert not made.exists()

    def test_bad_lines(self, folder):
        write(
            folder / "kaldi",
            wav__scp="r ../a.wav\nr ../b.flac\n\ns ../c.wav\n",
            segments="u1 r 0 1\nu2 r 1 1\nu3 r 0\nu4 q 0 1\nu5 r 0 9\nu6 r x 1\n"
            "u7 s 0 1\nu8 r 0 1\nu9 r 0 1\n",
            text=b"u1 good\nu1 again\nu2 x\nu3 x\nu4 x\nu5 x\nu6 x\nu7 x\nu8\nu10 x\n\xff x\n",
        )
        rows, accepted = rejected(folder, manifest="kaldi")
        kinds = ["", "no audio", "bad duration", "bad segment", "no audio", "beyond the end", "bad begin"]
        kinds += ["missing audio", "empty target", "no audio", "bad utf-8"]
        expected = [("repeated id", "kaldi/wav.scp", 2), ("empty line", "kaldi/wav.scp", 3)]
        expected += [(kind, "kaldi/text", line) for line, kind in enumerate(kinds, start=1) if kind]
        assert rows == [*expected, ("no transcript", "kaldi/segments", 9)]
        assert accepted == [("kaldi/../a.wav#t=0,1", "good")]

    def test_folders_that_are_none_of_kaldi(self, folder):
        write(folder / "kaldi", wav__scp="u1 a.wav\n")
        write(folder, a__tsv="x\n")
        with pytest.raises(DataError, match=r"clips.wav\.scp: not found"):
            read(folder, manifest="clips")
        with pytest.raises(DataError, match=r"kaldi.text: not found"):
            read(folder, manifest="kaldi")
        with pytest.raises(DataError, match=r"a\.tsv: is a file; the format kaldi is a folder"):
            read(folder, manifest="a.tsv", format="kaldi")

    def test_columns_have_no_effect(self, folder):
        write(folder / "kaldi", wav__scp="u1 ../a.wav\n", text="u1 x\n")
        with pytest.raises(
            DataError, match=r"kaldi: `audio` has no effect with the format kaldi.*; `target` has"
        ):
            read(folder, manifest="kaldi", audio="x", target="y")
