"""What evaluate wrote is read back as it was, or not at all."""

import json
from dataclasses import replace

import numpy as np
import pytest

import dragoman
from dragoman.evaluation.evaluate import write_report
from dragoman.evaluation.kept import answers_agree, read_kept
from dragoman.evaluation.scored_set import read_examples

TEXT = ["decoding.method=greedy"]
POINTS = ["decoding.samples=0", "decoding.quantiles=[]", "evaluation.metrics=[mae]"]


@pytest.fixture(scope="module", params=["speech_run", "series_run"])
def kept(request, tmp_path_factory):
    """A run, its section of the recipe, its examples, a report of them, and the folder it was written to."""
    run = request.getfixturevalue(request.param)
    changes = TEXT if request.param == "speech_run" else POINTS
    folder = tmp_path_factory.mktemp("kept")
    bundle = dragoman.load(run)
    examples = read_examples(bundle.recipe, changes, None, "dev")
    report = bundle.evaluate(examples, *changes)
    write_report(report, folder)
    return bundle, examples, report, folder


def read(kept, **more):
    bundle, examples, report, folder = kept
    given = {"examples": examples, "decoding": report.decoding, "evaluation": report.evaluation, **more}
    return read_kept(bundle, folder, given["examples"], given["decoding"], given["evaluation"])


def test_answers_scores_and_loss_come_back(kept):
    report, found = kept[2], read(kept)
    for ours, theirs in zip(found.scores, report.scores, strict=True):
        assert (ours.label, ours.signature) == (theirs.label, theirs.signature)
        ends = [(one.value, one.low, one.high) for one in (ours, theirs)]
        assert ends[0] == pytest.approx(ends[1], rel=1e-6), "forecasts are written with nine digits"
    assert (found.loss, found.tokens, found.examples) == (report.loss, report.tokens, report.examples)
    assert answers_agree(found.predictions, report.predictions)
    for ours, theirs in zip(found.predictions, report.predictions, strict=True):
        assert [one.tokens for one in ours.hypotheses] == [one.tokens for one in theirs.hypotheses]
        assert [one.log_probs for one in ours.hypotheses] == [one.log_probs for one in theirs.hypotheses]
        if theirs.forecast is not None:
            np.testing.assert_allclose(ours.forecast.values, theirs.forecast.values, rtol=1e-4, atol=1e-5)


def test_other_examples_or_another_way_of_decoding_are_not_these(kept):
    bundle, examples, report, folder = kept
    assert read(kept, examples=examples[::-1]) is None
    assert read(kept, examples=examples[1:]) is None
    assert read(kept, examples=(replace(examples[0], targets=examples[1].targets), *examples[1:])) is None
    assert read(kept, decoding=report.decoding.model_copy(update={"batch_tokens": 3})) is None
    assert read_kept(bundle, folder / "none", examples, report.decoding, report.evaluation) is None


def test_what_was_written_otherwise_is_passed_over(kept, tmp_path):
    bundle, examples, report, folder = kept
    for name in ("scores.json", "predictions.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    lines = (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()
    row = json.loads(lines[0]) | {"answers": []}
    (tmp_path / "predictions.jsonl").write_text("\n".join([json.dumps(row), *lines[1:]]), "utf-8")
    assert read_kept(bundle, tmp_path, examples, report.decoding, report.evaluation) is None


def test_quantiles_were_not_written(series_run, tmp_path):
    bundle = dragoman.load(series_run)
    examples = read_examples(bundle.recipe, (), None, "dev")
    report = bundle.evaluate(examples)
    write_report(report, tmp_path)
    assert read_kept(bundle, tmp_path, examples, report.decoding, report.evaluation) is None


def test_another_answer_is_no_agreement(kept):
    first, *others = kept[2].predictions
    value = first.values[0]
    other = value + "x" if isinstance(value, str) else replace(value, values=value.values + 1)
    assert not answers_agree([replace(first, values=(other,)), *others], kept[2].predictions)
