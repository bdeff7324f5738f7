"""The log tells one story, and telling never stops a run."""

import json
import math
import sys

import pytest

from dragoman.training.progress import Log, duration, read_log, telling
from dragoman.training.state import Progress


def log_in(folder):
    lines = []
    return Log(folder, lines.append, None), lines


def test_lines_are_objects_with_kind_step_and_skips(tmp_path):
    log, _ = log_in(tmp_path)
    log.write("train", Progress(step=3, skipped=1), {"loss": 0.5, "text": "é"})
    assert read_log(tmp_path / "log.jsonl") == [
        {"kind": "train", "step": 3, "skipped": 1, "loss": 0.5, "text": "é"}
    ]


def test_half_a_line_is_taken_back(tmp_path):
    """The next line would else stand behind it, and be lost with it."""
    resource = pytest.importorskip("resource")
    log, lines = log_in(tmp_path)
    log.write("train", Progress(step=1), {})
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "log.jsonl").stat().st_size + 20, most))
    try:
        log.write("train", Progress(step=2), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    log.write("train", Progress(step=3), {})
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1, 3]
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 2
    assert log.lost == 1
    assert "cannot be written" in lines[0]


def test_numbers_that_are_not_finite_stay_json(tmp_path):
    log, _ = log_in(tmp_path)
    log.write("skip", Progress(), {"loss": math.nan, "gradient_norm": math.inf})
    text = (tmp_path / "log.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == "nan"


def test_what_is_later_than_the_checkpoint_goes(tmp_path):
    log, _ = log_in(tmp_path)
    log.write("train", Progress(step=4), {})
    log.write("skip", Progress(step=4, skipped=1), {})
    log.write("train", Progress(step=5, skipped=1), {})
    log.write("checkpoint", Progress(step=5, skipped=1), {})
    log.write("validation", Progress(step=5, skipped=1), {})
    log.write("skip", Progress(step=5, skipped=2), {})
    log.write("train", Progress(step=6, skipped=2), {})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # cut short by a crash
    log.rewind(Progress(step=5, skipped=1, validated=4))
    assert [(line["kind"], line["step"]) for line in read_log(tmp_path / "log.jsonl")] == [
        ("train", 4),
        ("skip", 4),
        ("train", 5),
        ("checkpoint", 5),
    ]


def test_half_a_line_does_not_swallow_the_next(tmp_path):
    log, _ = log_in(tmp_path)
    log.write("train", Progress(step=1), {})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    log.rewind(Progress(step=1))
    log.write("train", Progress(step=2), {})
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1, 2]


def test_a_log_that_cannot_be_written_is_said_once_and_counted(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    log, lines = log_in(tmp_path)
    for _ in range(3):
        log.write("train", Progress(), {})
    assert log.lost == 3
    assert len(lines) == 1
    assert "training goes on" in lines[0]


def test_without_a_listener_lines_go_to_standard_error(capsys):
    with telling(None) as teller:
        teller.say("a line")
        teller.show("not on a pipe")
    assert capsys.readouterr() == ("", "a line\n")


def test_on_a_terminal_one_line_lives(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with telling(None) as teller:
        teller.show("step 1 [not markup]")
        teller.say("[bold]said as it is[/bold]")
    assert "[bold]said as it is[/bold]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (42, "42s"), (200, "3m 20s"), (7500, "2h 05m"), (59.7, "1m 00s")]
)
def test_times_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text
