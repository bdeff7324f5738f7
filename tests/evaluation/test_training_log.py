"""The course of a training, read from its log."""

import json

import pytest

from dragoman.errors import DataError
from dragoman.evaluation.training_log import read_training_log

ROWS = [
    {"kind": "start", "step": 0, "entries": 90, "device": "cpu", "precision": "bf16"},
    {"kind": "train", "step": 10, "loss": 3.0, "tokens_seen": 100, "tokens_per_second": 10.0, "seconds": 10},
    {"kind": "train", "step": 20, "loss": 9.0, "tokens_seen": 200, "tokens_per_second": 30.0, "seconds": 15},
    {"kind": "validation", "step": 20, "loss": 2.5, "metrics": {"bleu": 11.0}, "is_best": True},
    {"kind": "train", "step": 20, "loss": 2.0, "tokens_seen": 200, "tokens_per_second": 30.0, "seconds": 15},
    {"kind": "validation", "step": 30, "loss": None, "metrics": {"bleu": 10.0}, "is_best": False},
]
END = {"kind": "end", "step": 30, "reason": "max_steps 30", "best_step": 20, "seconds": 44.0}


def written(folder, rows):
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read_training_log(path)


def test_what_was_logged_last_of_a_step_counts(tmp_path):
    found = written(tmp_path, [*ROWS, END])
    assert (found.training.steps, found.training.values) == ((10, 20), (3.0, 2.0))
    assert (found.metrics["bleu"].steps, found.metrics["bleu"].values) == ((20, 30), (11.0, 10.0))
    assert str(found.validation.values) == "(2.5, nan)"
    assert (found.best_step, found.last_step, found.seconds) == (20, 30, 44.0)
    assert (found.entries, found.device, found.precision) == (90, "cpu", "bf16")
    assert found.reason == "max_steps 30"
    assert found.tokens == 200
    assert found.tokens_per_second == pytest.approx(15.0), "as many tokens at either speed"


def test_a_run_that_has_not_ended_tells_what_it_knows(tmp_path):
    found = written(tmp_path, ROWS)
    assert (found.best_step, found.seconds, found.reason) == (20, 15, None)


def test_without_steps_there_is_no_course(tmp_path):
    assert written(tmp_path, ROWS[:1]) is None
    assert read_training_log(tmp_path / "none.jsonl") is None


def test_what_is_no_log_is_refused_with_its_line(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"kind": "train", "step": 1, "loss": 1}\n[]\n', "utf-8")
    with pytest.raises(
        DataError, match=r"log.jsonl:2: expected an object with `kind` and `step`, found '\[\]'"
    ):
        read_training_log(tmp_path / "log.jsonl")
