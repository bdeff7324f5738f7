"""What the command line reads and prints of sound and of numbers."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

import dragoman
from dragoman.cli.program import app
from dragoman.errors import DataError, UserError
from dragoman.records import Example, Forecast, Hypothesis, Prediction, Recording, Series
from dragoman.terminal import inputs_of, print_forecasts, print_prediction, sounds_of


def program(*arguments, given=b""):
    """Run the program and return (exit code, output, messages)."""
    command = [sys.executable, "-m", "dragoman", *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """A file of two series, three steps longer than a context."""
    path = tmp_path_factory.mktemp("later") / "later.csv"
    times = np.datetime64("2022-01-01T00", "m") + 60 * np.arange(11)
    rows = [f"{name},{time},{50 + step}\n" for name in "ab" for step, time in enumerate(times)]
    path.write_text("name,time,load\n" + "".join(rows), "utf-8")
    return path


def sources(streams):
    return [example.source for stream in streams for example in stream]


class TestSounds:
    def test_sound_files_are_inputs(self):
        names = ["a.wav", "B.FLAC", "c.ogg#t=1,2"]
        assert sources(sounds_of(names)) == names
        ((first, *_),) = sounds_of(names)
        assert first.id == "a.wav"

    def test_another_file_names_sounds(self, tmp_path):
        path = tmp_path / "list.txt"
        path.write_text("a.wav\nb.wav#t=0,1\n", "utf-8")
        assert sources(sounds_of([str(path)])) == ["a.wav", "b.wav#t=0,1"]
        path = tmp_path / "list.jsonl"
        path.write_text('{"source": "a.wav"}\n', "utf-8")
        assert sources(sounds_of([str(path)])) == ["a.wav"]

    def test_sounds_and_lists_do_not_mix(self):
        with pytest.raises(UserError, match=r"expected one file, found a\.wav, list\.txt"):
            list(sounds_of(["a.wav", "list.txt"]))

    def test_the_program_hears_files_and_names(self, speech_run):
        paths = [str(speech_run.parent / "sounds" / f"{number}.wav") for number in (1, 5)]
        expected = dragoman.load(speech_run).predict(paths)
        code, out, said = program("predict", speech_run, *paths)
        assert code == 0, said
        assert out.splitlines() == expected
        code, out, said = program("predict", speech_run, "--json", given="\n".join(paths).encode())
        assert code == 0, said
        rows = [json.loads(line) for line in out.splitlines()]
        assert [row["answers"][0]["answer"] for row in rows] == expected
        assert [row["source"] for row in rows] == paths

    def test_the_program_names_what_is_no_sound(self, speech_run):
        code, out, said = program("predict", speech_run, speech_run.parent / "list.tsv")
        assert (code, out) == (2, "")
        assert "list.tsv:1" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize("option", [["--horizon", "3"], ["--chart", "a.png"]])
    def test_options_of_series_are_refused(self, speech_run, option):
        with pytest.raises(UserError, match="--horizon and --chart are for models of series"):
            app(["predict", str(speech_run), "a.wav", *option])


class TestSeries:
    def test_a_series_that_is_too_short_is_named_with_its_file(self, series_run, tmp_path):
        path = tmp_path / "short.csv"
        path.write_text("name,time,load\nnorth,2022-01-01T00,1\nnorth,2022-01-01T01,2\n", "utf-8")
        with pytest.raises(DataError, match=r"short\.csv: series 'north': a context of 8 steps does not fit"):
            app(["predict", str(series_run), str(path)])

    @pytest.mark.parametrize(("name", "said"), [("a.gif", "FILE.png or FILE.svg"), (".", "a folder")])
    def test_a_chart_goes_to_a_file(self, series_run, name, said):
        with pytest.raises(UserError, match=f"--chart: expected .*{said}"):
            app(["predict", str(series_run), "a.csv", "--chart", name])

    def test_the_program_writes_csv_and_draws(self, series_run, later, tmp_path):
        chart = tmp_path / "chart.svg"
        code, out, said = program("predict", series_run, later, "--horizon", 3, "--chart", chart)
        assert code == 0, said
        header, *rows = csv.reader(io.StringIO(out))
        assert header == ["id", "time", "load", "load@0.1", "load@0.9"]
        assert [row[0] for row in rows] == ["a"] * 3 + ["b"] * 3
        assert [row[1][:16] for row in rows[:3]] == [f"2022-01-01T{hour}:00" for hour in (11, 12, 13)]
        found = np.array([[float(cell) for cell in row[2:]] for row in rows])
        assert (found[:, 1] < found[:, 2]).all()
        points = [
            one.values[0].values[:, 0] for one in dragoman.load(series_run).forecast([str(later)], horizon=3)
        ]
        np.testing.assert_allclose(found[:, 0], np.concatenate(points), rtol=1e-5)
        drawn = chart.read_text("utf-8")
        assert drawn.lstrip().startswith("<?xml")
        assert [f"<!-- {name} -->" in drawn for name in "abc"] == [True, True, False]
        assert said.splitlines()[-1] == f"chart: {chart}"

    def test_the_chart_of_many_series_says_how_many_it_has(self, series_run, later, tmp_path, capsysbinary):
        header, *rows = later.read_text("utf-8").splitlines()
        many = [f"{name}{row[1:]}" for name in "abcdefghi" for row in rows if row[0] == "a"]
        (tmp_path / "many.csv").write_text("\n".join([header, *many, ""]), "utf-8")
        chart = str(tmp_path / "chart.png")
        print_forecasts(dragoman.load(series_run), [str(tmp_path / "many.csv")], [], 2, chart)
        assert capsysbinary.readouterr().err.decode() == f"chart: {chart}, the first 8 of 9 series\n"

    @pytest.mark.parametrize("option", [["--json"], ["--prefix", "1"], ["--workers", "2"]])
    def test_options_without_effect_are_refused(self, series_run, later, option):
        with pytest.raises(UserError, match="--json, --prefix, --workers and --terminology have no effect"):
            app(["predict", str(series_run), str(later), *option])

    def test_without_quantiles_there_are_points(self, series_run, later, capsysbinary):
        changes = ["decoding.samples=0", "decoding.quantiles=[]"]
        print_forecasts(dragoman.load(series_run), [str(later)], changes, None, None)
        lines = capsysbinary.readouterr().out.decode().splitlines()
        assert lines[0] == "id,time,load"
        assert len(lines) == 1 + 2 * 4

    def test_what_cannot_be_forecast(self, series_run, tmp_path):
        bundle = dragoman.load(series_run)
        with pytest.raises(UserError, match=r"dragoman predict RUN series\.csv"):
            print_forecasts(bundle, [], [], None, None)
        path = tmp_path / "short.csv"
        path.write_text("name,time,load\na,2022-01-01T00,1\na,2022-01-01T01,2\n", "utf-8")
        with pytest.raises(DataError, match="series 'a': a context of 8 steps does not fit"):
            print_forecasts(bundle, [str(path)], [], None, None)

    def test_the_program_scores_with_baselines(self, series_run, tmp_path):
        code, out, said = program("evaluate", series_run, "--json", "--out", tmp_path)
        assert code == 0, said
        content = json.loads(out)
        assert (
            content["scores"].keys() == content["baselines"]["last value"].keys() == {"mae", "mase", "crps"}
        )
        assert json.loads((tmp_path / "scores.json").read_text("utf-8")) == content


def answer(values, source="1 2"):
    series = Series(np.array(values, np.float64))
    return Prediction(Example(source, id="7"), (series,), forecast=Forecast(series.values.astype(np.float32)))


def printed(capsysbinary, prediction, as_json=False, several=False):
    print_prediction(prediction, as_json, several)
    return capsysbinary.readouterr().out.decode()


class TestPredictions:
    def test_numbers(self, capsysbinary):
        assert printed(capsysbinary, answer([[1.5], [np.nan]])) == "[1.5, null]\n"
        assert printed(capsysbinary, answer([[1, 2], [3, 4]])) == "[[1.0, 2.0], [3.0, 4.0]]\n"
        row = json.loads(printed(capsysbinary, answer([[1.5], [np.nan]]), as_json=True))
        assert row == {"id": "7", "answer": [1.5, None]}

    def test_text_of_sound(self, capsysbinary):
        hypothesis = Hypothesis((5, 3), (-0.25, -0.5), -0.75, True)
        heard = Recording(np.zeros(4000, np.float32), 8000)
        prediction = Prediction(Example(heard, id="1"), ("one\ntwo",), (hypothesis,))
        assert printed(capsysbinary, prediction) == "one two\n"
        assert printed(capsysbinary, prediction, several=True) == "-0.7500\tone two\n"
        row = json.loads(printed(capsysbinary, prediction, as_json=True))
        assert row["source"] == "recording of 0.50 seconds"
        assert row["answers"] == [
            {"answer": "one\ntwo", "score": -0.75, "is_finished": True, "log_probs": [-0.25, -0.5]}
        ]


def test_inputs_are_lines_or_json(tmp_path):
    for name, content in {
        "a.txt": "1 2\n[3, 4]\n",
        "a.jsonl": '{"source": "1 2"}\n{"source": "[3, 4]"}\n',
    }.items():
        (tmp_path / name).write_text(content, "utf-8")
        assert sources(inputs_of([str(tmp_path / name)])) == ["1 2", "[3, 4]"]
    (tmp_path / "bad.jsonl").write_text('{"source": 3}\n', "utf-8")
    with pytest.raises(DataError, match=r"bad\.jsonl:1: expected `source` to be a string, found 3"):
        sources(inputs_of([str(tmp_path / "bad.jsonl")]))
