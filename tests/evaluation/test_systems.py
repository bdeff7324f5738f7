"""Answers that evaluate wrote, read back: the same statistics, and refusals that say which line."""

import json
import shutil

import numpy as np
import pytest

import dragoman
from dragoman.errors import DataError, RecipeError, UserError
from dragoman.evaluation.evaluate import write_report
from dragoman.evaluation.systems import is_system, read_system, system_of
from dragoman.recipe.metrics import Bleu, Chrf, Evaluation
from dragoman.recipe.series import ForecastError

ROWS = [("a b c", "x y z"), ("b c", "y z"), ("c a", "z x")]
TEXT = Evaluation(metrics=(Bleu(name="bleu"), Chrf(name="chrf")), bootstrap_samples=100)


def write(path, answers, rows=ROWS):
    lines = [
        json.dumps({"id": f"{n}", "source": source, "references": [target], "answers": [answer]})
        for n, ((source, target), answer) in enumerate(zip(rows, answers, strict=True), 1)
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_answers_of_any_program_can_be_compared(tmp_path):
    first = write(tmp_path / "first.jsonl", ["x y z", "y z", "z x"])
    second = write(tmp_path / "second.jsonl", ["x y", "y z", "z z"])
    comparison = dragoman.compare([first, second], "evaluation.metrics=[chrf, exact_match]")
    chrf, exact = comparison.pairs[0].metrics
    assert (chrf.label, chrf.baseline, exact.label, exact.baseline) == ("chrf", 100, "exact_match", 100)
    assert exact.value == pytest.approx(100 / 3)
    assert comparison.baseline == str(first)
    assert [contrast.baseline.id for contrast in comparison.pairs[0].most] == ["3", "1"]


def test_what_decides_scores_must_be_said_somewhere(tmp_path):
    both = [write(tmp_path / f"{name}.jsonl", ["x", "y", "z"]) for name in "ab"]
    with pytest.raises(DataError, match=r"a\.jsonl: does not say how to score it; say it: 'evaluation"):
        dragoman.compare(both)
    (tmp_path / "scores.json").write_text('{"evaluation": {"metrics": [{"name": "cer"}]}}', "utf-8")
    assert dragoman.compare(both).pairs[0].metrics[0].label == "cer"
    with pytest.raises(RecipeError, match="evaluation.metrics"):
        dragoman.compare(both, "evaluation.metrics=[beu]")
    with pytest.raises(DataError, match="`mae` scores numbers, and these answers are text"):
        dragoman.compare(both, "evaluation.metrics=[mae]")
    with pytest.raises(DataError, match=r"no metric to compare by; say one"):
        read_system(both[0], Evaluation())


def test_what_has_no_effect_on_written_answers_is_refused(tmp_path):
    both = [write(tmp_path / f"{name}.jsonl", ["x", "y", "z"]) for name in "ab"]
    with pytest.raises(UserError, match=r"decoding\.beam=3: no effect, since all these answers are written"):
        dragoman.compare(both, "evaluation.metrics=[chrf]", "decoding.beam=3")
    data = dragoman.recipe.data.Parallel(source="a", target="b")
    with pytest.raises(UserError, match="data to answer: no effect"):
        dragoman.compare(both, data=data)
    with pytest.raises(UserError, match="expected two systems or more"):
        dragoman.compare(both[:1])


def test_lines_that_are_no_answers_are_named(tmp_path):
    path = write(tmp_path / "a.jsonl", ["x", "y", "z"])
    lines = path.read_text("utf-8").splitlines()
    for wrong in (
        "no json",
        "[]",
        '{"source": "a", "references": [], "answers": ["b"]}',
        lines[0][:-9] + "[]}",
    ):
        path.write_text("\n".join([*lines[:1], wrong]) + "\n", "utf-8")
        with pytest.raises(DataError, match=r"a\.jsonl:2: expected an object with `source`, `references`"):
            read_system(path, TEXT)
    with pytest.raises(DataError, match="nowhere: expected a run's folder, or predictions that evaluate"):
        dragoman.compare([path, tmp_path / "nowhere"], "evaluation.metrics=[chrf]")
    with pytest.raises(DataError, match="expected a run's folder, or predictions that evaluate wrote"):
        read_system(tmp_path, TEXT)


def test_systems_are_told_from_data(tmp_path):
    assert is_system(write(tmp_path / "a.jsonl", ["x", "y", "z"]))
    assert is_system(tmp_path)
    assert is_system(tmp_path / "not there")
    (tmp_path / "data.jsonl").write_text('{"source": "a", "target": "b"}\n', "utf-8")
    (tmp_path / "data.tsv").write_text("a\tb\n", "utf-8")
    assert not is_system(tmp_path / "data.jsonl")
    assert not is_system(tmp_path / "data.tsv")


def test_windows_come_back_with_their_errors(series_run, tmp_path):
    report = dragoman.evaluate(series_run)
    write_report(report, tmp_path / "written")
    made, read = system_of("made", report), read_system(tmp_path / "written", report.evaluation)
    assert made.rows == read.rows
    assert [one.overlap for one in read.statistics] == [4, 4, 4]
    assert [one.block for one in read.statistics] == [one.block for one in made.statistics]
    for ours, theirs in zip(made.statistics, read.statistics, strict=True):
        assert ours.label == theirs.label
        np.testing.assert_array_equal(ours.rows_NF, theirs.rows_NF)
    mse = Evaluation(metrics=(ForecastError(name="mse"),))
    with pytest.raises(DataError, match="no errors of windows for `mse`, only for mae, mase, crps; evaluate"):
        read_system(tmp_path / "written", mse)
    (tmp_path / "written" / "scores.json").write_text("{}", "utf-8")
    with pytest.raises(DataError, match=r"scores\.json: expected `windows_together`, how many windows"):
        read_system(tmp_path / "written", report.evaluation)


def test_a_run_is_compared_with_what_it_wrote_before(series_run, speech_run, tmp_path):
    """Decoded now and read back they are one system: no difference at all."""
    for run, changes in ((series_run, []), (speech_run, ["evaluation.metrics=[wer, bleu]"])):
        written = tmp_path / run.parent.name
        split = "test" if run is series_run else "dev"
        write_report(dragoman.evaluate(run, *changes, split=split), written)
        found = dragoman.compare([run, written], *changes, split=split)
        for one in found.pairs[0].metrics:
            assert (one.difference.value, one.difference.p_randomisation, one.verdict) == (0, 1, "same")
        assert found.pairs[0].most == ()
        trained_on = [f"{run}: OVERLAP: of the 12 sources 12 (100.0%) are among the 12 training examples; 12"]
        assert [note[: len(trained_on[0])] for note in found.notes] == trained_on * (run is speech_run)


def test_runs_answer_the_same_examples_or_are_refused_before_they_answer(series_run, speech_run):
    with pytest.raises(UserError, match="example 1 of .* has not the same source"):
        dragoman.compare([series_run, speech_run], split="dev")


def test_an_evaluation_in_the_folder_of_its_run_is_scored_as_the_run_says(speech_run, tmp_path):
    run = tmp_path / "run"
    (run / "evaluation").mkdir(parents=True)
    shutil.copy(speech_run / "recipe.yaml", run)
    recipe = (run / "recipe.yaml").read_text("utf-8")
    assert "metrics: []" in recipe
    (run / "recipe.yaml").write_text(recipe.replace("metrics: []", "metrics: [cer]"), "utf-8")
    for name in ("one", "other"):
        (run / "evaluation" / name).mkdir()
        write(run / "evaluation" / name / "predictions.jsonl", ["x", "y", "z"])
    found = dragoman.compare([run / "evaluation" / "one", run / "evaluation" / "other"])
    assert found.evaluation.metrics[0].label == "cer"
