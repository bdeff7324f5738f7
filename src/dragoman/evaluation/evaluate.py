"""Decode examples with a bundle, score the answers, and report: for people, for scripts, by group."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch

from dragoman.bundle import Bundle, json_line
from dragoman.data.batching import batches_of
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.data.portable import shown
from dragoman.decoding.decode import decode
from dragoman.errors import DataError
from dragoman.evaluation.forecasts import MODEL, forecast_statistics
from dragoman.evaluation.metrics import Score, Statistics, scored, statistics
from dragoman.evaluation.overlap import NotKnown, Overlap, format_overlap, overlap_summary
from dragoman.model.kernels import compute
from dragoman.model.objectives import objective_loss, plain
from dragoman.recipe.decoding import Decoding, Forecasting
from dragoman.recipe.metrics import Evaluation, Metric, TextMetric
from dragoman.records import Example, Prediction, Series, Value, text_of

SCORES = "scores.json"
PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Report:
    """What an evaluation found, and all that is needed to repeat it.

    `loss` is in nats a target token, the end included, on the first reference of each example. Answers are
    compared with `references`: as given, or normalised by the target codec where the recipe says so.
    """

    scores: tuple[Score, ...]
    loss: float | None
    examples: int
    predictions: tuple[Prediction, ...]
    references: tuple[tuple[Value, ...], ...]
    tokens: int
    decoding: Decoding
    evaluation: Evaluation
    baselines: Mapping[str, tuple[Score, ...]] = field(default_factory=dict)
    """Of numbers: the same scores of simple methods on the same windows, by name."""
    statistics: tuple[Statistics, ...] = field(default=(), compare=False, repr=False)
    """What the scores were made of, example by example, in the order of the scores."""
    overlap: Overlap | NotKnown | None = None
    """What of the examples was trained on; None where nobody looked."""


class Group(NamedTuple):
    """How many examples of a report belong together, and their own score."""

    examples: int
    score: Score


def evaluate(
    bundle: Bundle,
    examples: Sequence[Example],
    decoding: Decoding | None = None,
    evaluation: Evaluation | None = None,
    *,
    workers: int = 1,
    training: Iterable[tuple[Series, Series]] = (),
    overlap: Overlap | NotKnown | None = None,
) -> Report:
    """Decode, score and compute the loss, with the bundle's own sections where none are given.

    `workers` are processes that decode; see `decode`. `training` are the training windows of series, for what
    simple methods forecast of the same windows. Where an `overlap` with training data was found, what is
    left without it is scored too. Raises DataError where there are no examples, one has
    no target, or one cannot be encoded.
    """
    decoding = decoding or bundle.recipe.decoding
    evaluation = evaluation or bundle.recipe.evaluation
    _refuse_bare(examples)
    loss, tokens = _loss(bundle, examples, decoding.batch_tokens)
    predictions = tuple(decode(bundle, examples, decoding, workers=workers))
    return report_of(
        bundle, predictions, loss, tokens, decoding, evaluation, training=training, overlap=overlap
    )


def report_of(
    bundle: Bundle,
    predictions: tuple[Prediction, ...],
    loss: float | None,
    tokens: int,
    decoding: Decoding,
    evaluation: Evaluation,
    *,
    training: Iterable[tuple[Series, Series]] = (),
    overlap: Overlap | NotKnown | None = None,
) -> Report:
    """Score answers that are there already; see `evaluate`."""
    references = tuple(_references(bundle, one.example, evaluation) for one in predictions)
    found = len(predictions), predictions, references, tokens, decoding, evaluation
    if isinstance(bundle.codecs.target, NumbersCodec):
        by_name = forecast_statistics(bundle, predictions, references, evaluation, training)
    else:
        by_name = {MODEL: tuple(_compared(metric, predictions, references) for metric in evaluation.metrics)}
    scores = {name: tuple(scored(one, evaluation) for one in given) for name, given in by_name.items()}
    own, known = by_name[MODEL], _with_scores(overlap, by_name[MODEL], evaluation)
    return Report(scores.pop(MODEL), loss, *found, baselines=scores, statistics=own, overlap=known)


def _with_scores(
    overlap: Overlap | NotKnown | None, found: Sequence[Statistics], evaluation: Evaluation
) -> Overlap | NotKnown | None:
    """Score what is left of the examples without those that were trained on, where there are both."""
    if not isinstance(overlap, Overlap) or not 0 < len(overlap.seen) < overlap.examples:
        return overlap
    others = [number for number in range(overlap.examples) if number not in overlap.seen]
    return replace(overlap, scores=tuple(scored(one.of(others), evaluation) for one in found))


def _refuse_bare(examples: Sequence[Example]) -> None:
    if not examples:
        raise DataError("nothing to evaluate: the set of examples is empty")
    bare = [example for example in examples if not example.targets]
    if bare:
        where = bare[0].origin or f"example {bare[0].id or examples.index(bare[0]) + 1}"
        raise DataError(
            f"{where}: expected a target to compare with, found none; {len(bare)} examples have none"
        )


def _compared(
    metric: Metric, predictions: Sequence[Prediction], references: Sequence[Sequence[Value]]
) -> Statistics:
    assert isinstance(metric, TextMetric), "the recipe sees to it"
    answers = [text_of(prediction.values[0]) for prediction in predictions]
    return statistics(metric, answers, [[text_of(each) for each in given] for given in references])


def _references(bundle: Bundle, example: Example, evaluation: Evaluation) -> tuple[Value, ...]:
    if evaluation.references == "raw":
        return example.targets
    return tuple(bundle.codecs.target.normalise(target) for target in example.targets)


def _loss(bundle: Bundle, examples: Sequence[Example], batch_tokens: int) -> tuple[float | None, int]:
    """Return nats a token of the first references in float32, and how many tokens they have.

    Forecasts that several models make together have no loss.
    """
    if bundle.others:
        return None, sum(len(series_of(example.targets[0]).values) for example in examples)
    objective = plain(bundle.recipe.training.objective)
    was_training = bundle.model.training
    nats, tokens = 0.0, 0
    bundle.model.eval()
    try:
        with torch.no_grad(), compute("fp32", bundle.device):
            for batch in batches_of(examples, bundle.codecs, batch_tokens):
                loss = objective_loss(bundle.model, batch.to(bundle.device), objective)
                nats += float(loss.nll)
                tokens += loss.tokens
    finally:
        bundle.model.train(was_training)
    return (nats / tokens if tokens else None), tokens


def summary(report: Report) -> dict[str, object]:
    """Return what a report says of the whole set, as JSON takes it; what is not finite becomes null."""
    baselines = {name: _by_label(scores) for name, scores in report.baselines.items()}
    return {
        "examples": report.examples,
        "target_tokens": report.tokens,
        "loss": _finite(report.loss),
        "perplexity": _finite(perplexity(report)),
        "scores": _by_label(report.scores),
        **({"baselines": baselines} if baselines else {}),
        **_overlap_summary(report.overlap),
        "decoding": report.decoding.model_dump(mode="json"),
        "evaluation": report.evaluation.model_dump(mode="json"),
        **({"windows_together": report.statistics[0].overlap} if _is_numeric(report) else {}),
    }


def _overlap_summary(overlap: Overlap | NotKnown | None) -> dict[str, object]:
    if overlap is None:
        return {}
    without = _by_label(overlap.scores) if isinstance(overlap, Overlap) and overlap.scores else {}
    more = {"scores_without": without} if without else {}
    return {"overlap": {**overlap_summary(overlap), **more}}


def _by_label(scores: Sequence[Score]) -> dict[str, object]:
    return {
        score.label: {
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "higher_is_better": score.higher_is_better,
            "signature": score.signature,
        }
        for score in scores
    }


def perplexity(report: Report) -> float | None:
    """Return e to the loss; infinite where that is more than a float holds."""
    if report.loss is None:
        return None
    try:
        return math.exp(report.loss)
    except OverflowError:
        return math.inf


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def write_report(report: Report, folder: Path) -> None:
    """Write scores.json and predictions.jsonl (a line an example, in order), replacing older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = (
        _row(prediction, given) | _errors(report, number) | _seen(report.overlap, number)
        for number, (prediction, given) in enumerate(zip(report.predictions, report.references, strict=True))
    )
    _write(folder / PREDICTIONS, "".join(map(json_line, rows)))
    _write(folder / SCORES, json.dumps(summary(report), indent=2, ensure_ascii=False) + "\n")


def _row(prediction: Prediction, references: tuple[Value, ...]) -> dict[str, object]:
    hypotheses = prediction.hypotheses
    return {
        "id": prediction.example.id,
        "source": shown(prediction.example.source),
        "references": [shown(reference) for reference in references],
        "answers": [shown(value) for value in prediction.values],
        "scores": [_finite(hypothesis.score) for hypothesis in hypotheses],
        "log_probs": [[_finite(nats) for nats in hypothesis.log_probs] for hypothesis in hypotheses],
        "finished": [hypothesis.is_finished for hypothesis in hypotheses],
    }


def _errors(report: Report, number: int) -> dict[str, object]:
    """Return the sum of a window's errors and of how many values it is, for each metric of numbers."""
    if not _is_numeric(report):
        return {}
    return {"errors": {one.label: one.rows_NF[number].tolist() for one in report.statistics}}


def _seen(overlap: Overlap | NotKnown | None, number: int) -> dict[str, object]:
    is_seen = isinstance(overlap, Overlap) and number in overlap.seen
    return {"seen_in_training": True} if is_seen else {}


def _is_numeric(report: Report) -> bool:
    return isinstance(report.decoding, Forecasting) and bool(report.statistics)


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def format_scores(report: Report) -> str:
    """Write a report for the console: a line a metric with its interval and signature, then the loss."""
    is_numeric = isinstance(report.decoding, Forecasting)
    rows = [_cells(score.label, score, is_numeric) + [f"({score.signature})"] for score in report.scores]
    rows += [
        [*_cells(score.label, score, is_numeric), f"{name}"]
        for name, scores in report.baselines.items()
        for score in scores
    ]
    if report.loss is not None:
        unit = "a step, in the units of the objective" if is_numeric else "nats a target token"
        more = "" if is_numeric else f"; perplexity {perplexity(report):,.2f}"
        rows.append(["loss", f"{report.loss:.4f}", "", f"({unit}{more})"])
    percent = f"{report.evaluation.confidence:.0%}"
    compared = (
        "references normalised by the target codec" if report.evaluation.references == "normalised" else ""
    )
    steps = "steps" if is_numeric else "tokens"
    heading = f"{_count(report.examples)}, {report.tokens:,} target {steps}; intervals of {percent}"
    found = [", ".join(filter(None, [heading, compared])), *_aligned(rows)]
    return "\n".join([*found, *_overlap_lines(report, is_numeric)])


def _overlap_lines(report: Report, is_numeric: bool) -> list[str]:
    if report.overlap is None:
        return []
    lines = [format_overlap(report.overlap)]
    if isinstance(report.overlap, Overlap) and report.overlap.scores:
        left = report.overlap.examples - len(report.overlap.seen)
        lines.append(f"the {_count(left)} without {'these' if len(report.overlap.seen) > 1 else 'this'}:")
        rows = [[*_cells(one.label, one, is_numeric), ""] for one in report.overlap.scores]
        lines += [f"  {line}" for line in _aligned(rows)]
    return lines


def scores_by(
    report: Report,
    key: Callable[[Prediction], str],
    metric: Metric,
    evaluation: Evaluation | None = None,
) -> dict[str, Group]:
    """Score each group of examples by itself, sorted by name; `key` names the group of a prediction.

    Intervals are made as in the report where no other section is given.
    """
    members: dict[str, list[int]] = {}
    for number, prediction in enumerate(report.predictions):
        members.setdefault(key(prediction), []).append(number)
    section = evaluation or report.evaluation
    if not members:
        return {}
    found = _compared(metric, report.predictions, report.references)
    return {
        name: Group(len(numbers), scored(found.of(numbers), section))
        for name, numbers in sorted(members.items())
    }


def _count(examples: int) -> str:
    return f"{examples:,} example{'' if examples == 1 else 's'}"


def _cells(name: str, score: Score, is_numeric: bool = False) -> list[str]:
    digits = 4 if is_numeric else 2
    return [name, f"{score.value:.{digits}f}", f"[{score.low:.{digits}f}, {score.high:.{digits}f}]"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align names to the left, numbers to the right, and leave the last column ragged."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, value, *middle, last in rows:
        cells = [name.ljust(widths[0]), value.rjust(widths[1])]
        cells += [cell.ljust(width) for cell, width in zip(middle, widths[2:], strict=False)]
        lines.append("  ".join([*cells, last]).rstrip())
    return lines
