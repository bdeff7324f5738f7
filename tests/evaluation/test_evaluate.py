"""Evaluation with a real, untrained bundle: what is counted, compared, written and refused."""

import json
import math
from dataclasses import replace

import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs
from dragoman.decoding.score import score
from dragoman.errors import DataError
from dragoman.evaluation.evaluate import (
    Report,
    evaluate,
    format_scores,
    perplexity,
    scores_by,
    summary,
    write_report,
)
from dragoman.evaluation.metrics import Score, measure
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Greedy
from dragoman.recipe.loading import recipe_from
from dragoman.recipe.metrics import Bleu, ErrorRate, Evaluation, ExactMatch
from dragoman.records import EOS, Example, Hypothesis, Origin, Prediction

EXAMPLES = (
    Example("abc", ("ABC", "AB"), "1"),
    Example("ca", ("CA",), "2"),
    Example("", ("B",), "3"),
    Example("bbbb", ("BB", "B"), "4"),
)
EVALUATION = Evaluation(
    metrics=(ErrorRate(name="cer"), ExactMatch(name="exact_match")), bootstrap_samples=100
)
GREEDY = Greedy(method="greedy", max_length=6)


@pytest.fixture(scope="module")
def bundle():
    small = {"kind": "gru", "width": 4}
    recipe = recipe_from(
        {
            "run": "unused",
            "data": {"train": [{"source": "a", "target": "b"}], "held_out_dev": 0.1},
            "source": {"kind": "characters"},
            "target": {"kind": "characters", "lowercase": True},
            "model": {"encoder": small, "decoder": small},
            "training": {"max_steps": 1},
            "decoding": {"method": "greedy", "max_length": 3},
            "evaluation": {"metrics": ["cer"], "bootstrap_samples": 100},
        }
    )
    codecs = learn_codecs(recipe, lambda: iter(EXAMPLES))
    torch.manual_seed(3)
    return Bundle(recipe, codecs, build_model(recipe.model, codecs.source.port, codecs.target.port))


def report_of(answers, references, evaluation=EVALUATION):
    hypothesis = Hypothesis((5, EOS), (-0.1, -0.2), -0.3, True)
    predictions = tuple(
        Prediction(Example(f"source {number}", given, str(number)), (answer,), (hypothesis,))
        for number, (answer, given) in enumerate(zip(answers, references, strict=True), 1)
    )
    scores = tuple(measure(metric, answers, references, evaluation) for metric in evaluation.metrics)
    return Report(scores, 1.25, len(answers), predictions, tuple(references), 40, GREEDY, evaluation)


def test_it_decodes_scores_and_keeps_the_order(bundle):
    report = evaluate(bundle, EXAMPLES, GREEDY, EVALUATION)
    assert report.examples == 4
    assert tuple(prediction.example for prediction in report.predictions) == EXAMPLES
    answers = [prediction.values[0] for prediction in report.predictions]
    references = [example.targets for example in EXAMPLES]
    assert report.scores == tuple(measure(m, answers, references, EVALUATION) for m in EVALUATION.metrics)
    assert (report.decoding, report.evaluation) == (GREEDY, EVALUATION)


def test_the_recipe_decides_where_nothing_is_given(bundle):
    report = evaluate(bundle, EXAMPLES)
    assert [score.label for score in report.scores] == ["cer"]
    assert report.decoding == bundle.recipe.decoding
    assert max(len(prediction.hypotheses[0].tokens) for prediction in report.predictions) <= 3


def test_the_loss_is_nats_a_token_of_first_references_however_batched(bundle):
    """One example at a time, and all together: the mean over tokens, the end of each target included."""
    nats, tokens = 0.0, 0
    for example in EXAMPLES:
        one = evaluate(bundle, [replace(example, targets=example.targets[:1])], GREEDY, EVALUATION)
        assert one.tokens == len(example.targets[0]) + 1
        nats, tokens = nats + one.loss * one.tokens, tokens + one.tokens
    for budget in (1, 8, 8192):
        together = evaluate(bundle, EXAMPLES, GREEDY.model_copy(update={"batch_tokens": budget}), EVALUATION)
        assert together.tokens == tokens
        assert together.loss == pytest.approx(nats / tokens, rel=1e-5)


def test_the_loss_is_what_scoring_says_of_first_references(bundle):
    scored = list(score(bundle, [replace(example, targets=example.targets[:1]) for example in EXAMPLES]))
    report = evaluate(bundle, EXAMPLES, GREEDY, EVALUATION)
    assert report.loss * report.tokens == pytest.approx(
        -sum(one.targets[0].total for one in scored), rel=1e-5
    )


def test_a_model_that_knows_nothing_has_the_loss_of_a_fair_die(bundle):
    blank = replace(bundle, model=build_model(bundle.recipe.model, *_ports(bundle)))
    with torch.no_grad():
        for parameter in blank.model.parameters():
            parameter.zero_()
    report = evaluate(blank, EXAMPLES, GREEDY, EVALUATION)
    assert report.loss == pytest.approx(math.log(bundle.codecs.target.port.size))
    assert perplexity(report) == pytest.approx(bundle.codecs.target.port.size)


def _ports(bundle):
    return bundle.codecs.source.port, bundle.codecs.target.port


def test_evaluation_leaves_the_model_as_it_was(bundle):
    for mode in (True, False):
        bundle.model.train(mode)
        evaluate(bundle, EXAMPLES[:1], GREEDY, EVALUATION)
        assert bundle.model.training == mode
    bundle.model.eval()


def test_references_are_normalised_only_when_asked(bundle):
    raw = evaluate(bundle, EXAMPLES, GREEDY, EVALUATION)
    normalised = evaluate(
        bundle, EXAMPLES, GREEDY, EVALUATION.model_copy(update={"references": "normalised"})
    )
    assert raw.references == tuple(example.targets for example in EXAMPLES)
    assert normalised.references[0] == ("abc", "ab")
    assert "references normalised by the target codec" in format_scores(normalised)
    assert "normalised" not in format_scores(raw)


def test_what_cannot_be_evaluated_is_refused(bundle):
    with pytest.raises(DataError, match="the set of examples is empty"):
        evaluate(bundle, [])
    bare = Example("a", origin=Origin("test.tsv", 7))
    with pytest.raises(DataError, match=r"^test\.tsv:7: expected a target .* 2 examples have none"):
        evaluate(bundle, [EXAMPLES[0], bare, Example("b")])
    with pytest.raises(DataError, match="^example 2: expected a target"):
        evaluate(bundle, [EXAMPLES[0], Example("b")])


def test_what_is_written_can_be_read_back(tmp_path):
    report = report_of(["ab\u2028", "c"], [("ab", "b"), ("d",)])
    write_report(report, tmp_path / "predictions")
    write_report(report, tmp_path / "predictions")  # over an older one
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        "predictions.jsonl",
        "scores.json",
    ]
    scores = json.loads((tmp_path / "predictions/scores.json").read_text("utf-8"))
    assert scores == summary(report)
    assert scores["examples"] == 2
    assert scores["loss"] == 1.25
    assert scores["perplexity"] == pytest.approx(math.exp(1.25))
    assert scores["decoding"]["method"] == "greedy"
    cer = scores["scores"]["cer"]
    assert cer["low"] <= cer["value"] <= cer["high"]
    assert cer["signature"].startswith("unit:characters")
    lines = (tmp_path / "predictions/predictions.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines][0] == {
        "id": "1",
        "source": "source 1",
        "references": ["ab", "b"],
        "answers": ["ab\u2028"],
        "scores": [-0.3],
        "log_probs": [[-0.1, -0.2]],
        "finished": [True],
    }
    assert len(lines) == 2


def test_numbers_that_are_not_finite_stay_out_of_json(tmp_path):
    report = replace(report_of(["a"], [("a",)]), loss=1e6)
    assert perplexity(report) == math.inf
    assert summary(report)["perplexity"] is None
    lost = Hypothesis((), (), -math.inf, False)
    report = replace(report, loss=math.nan, predictions=(replace(report.predictions[0], hypotheses=(lost,)),))
    write_report(report, tmp_path)
    assert "NaN" not in (tmp_path / "scores.json").read_text()
    assert json.loads((tmp_path / "predictions.jsonl").read_text())["scores"] == [None]


def test_scores_for_people():
    report = replace(
        report_of(["a"], [("a",)]),
        scores=(
            Score("bleu", 38.6249, 37.4, 39.8, "nrefs:1|tok:13a", True),
            Score("exact_match", 5.0, 4.0, 6.0, "refs:any", True),
        ),
        loss=1.0,
        examples=1234,
    )
    assert format_scores(report).splitlines() == [
        "1,234 examples, 40 target tokens; intervals of 95%",
        "bleu          38.62  [37.40, 39.80]  (nrefs:1|tok:13a)",
        "exact_match    5.00  [4.00, 6.00]    (refs:any)",
        "loss         1.0000                  (nats a target token; perplexity 2.72)",
    ]
    assert "loss" not in format_scores(replace(report, loss=None))


def test_a_breakdown_scores_every_group_by_itself():
    report = report_of(["ab", "b", "c", "cd"], [("ab",), ("x",), ("c",), ("cd",)])
    groups = scores_by(
        report, lambda prediction: prediction.example.targets[0][0], ExactMatch(name="exact_match")
    )
    assert [(name, group.examples, group.score.value) for name, group in groups.items()] == [
        ("a", 1, 100.0),
        ("c", 2, 100.0),
        ("x", 1, 0.0),
    ]


def test_a_group_has_the_score_of_its_examples_alone():
    answers, references = ["a b c d", "e f g h", "x"], [("a b c d",), ("e f g q",), ("x",)]
    report = report_of(answers, references)
    metric = Bleu(name="bleu")
    groups = scores_by(report, lambda p: "short" if len(p.values[0]) == 1 else "long", metric)
    assert groups["long"].score == measure(metric, answers[:2], references[:2], EVALUATION)
