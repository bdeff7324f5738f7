"""Answers that an evaluation wrote, read back as if they had just been given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from dragoman.bundle import Bundle
from dragoman.data.frames import Frames
from dragoman.data.lines import read_lines
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.data.portable import shown
from dragoman.data.text import TextCodec
from dragoman.errors import DataError
from dragoman.evaluation.evaluate import PREDICTIONS, SCORES, Report, report_of
from dragoman.evaluation.metrics import Score
from dragoman.recipe.decoding import Decoding, Forecasting
from dragoman.recipe.metrics import Evaluation
from dragoman.records import Example, Forecast, Hypothesis, Prediction, Series, Value

_DECODING: TypeAdapter[Decoding] = TypeAdapter(Decoding)
_CLOSE = 1e-4
"""Forecasts that are equal but for rounding and the order of sums."""


def read_kept(
    bundle: Bundle,
    folder: Path,
    examples: Sequence[Example],
    decoding: Decoding,
    evaluation: Evaluation,
) -> Report | None:
    """Read what `evaluate` wrote and score it anew; None where it is not there, or not of these examples.

    The way of decoding must be the same too. Tokens of answers are those that the codec makes of them, and
    empty where these are not as many as their probabilities. Baselines and loss are as they were written.
    Quantiles and samples were not written, so forecasts that have them are not read.
    """
    if isinstance(decoding, Forecasting) and (decoding.quantiles or decoding.samples):
        return None
    try:
        summary = json.loads((folder / SCORES).read_text("utf-8"))
        if _DECODING.validate_json(json.dumps(summary["decoding"])) != decoding:
            return None
        rows = [json.loads(line.text) for line in read_lines(folder / PREDICTIONS)]
        predictions = _predictions(bundle, rows, examples)
        if predictions is None:
            return None
        loss = None if summary["loss"] is None else float(summary["loss"])
        report = report_of(bundle, predictions, loss, int(summary["target_tokens"]), decoding, evaluation)
        return replace(report, baselines=_baselines(summary, report.scores))
    except (OSError, ValueError, KeyError, TypeError, IndexError, ValidationError, DataError):
        return None


def answers_agree(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> bool:
    """Tell whether a model gives the answers that were kept; forecasts may differ by rounding."""
    return all(_agree(one.values[0], other.values[0]) for one, other in zip(ours, theirs, strict=True))


def _agree(one: Value, other: Value) -> bool:
    if isinstance(one, Series) and isinstance(other, Series):
        scale = max(1.0, float(np.nanmax(np.abs(other.values), initial=0.0)))
        same_shape = one.values.shape == other.values.shape
        return same_shape and bool(np.allclose(one.values, other.values, atol=_CLOSE * scale, equal_nan=True))
    return one == other


def _predictions(
    bundle: Bundle, rows: Sequence[Mapping[str, Any]], examples: Sequence[Example]
) -> tuple[Prediction, ...] | None:
    """Give each example its answers; None where lines are of other examples."""
    if len(rows) != len(examples):
        return None
    found = []
    for row, example in zip(rows, examples, strict=True):
        if row["id"] != example.id or row["source"] != shown(example.source):
            return None
        if row["references"] != [shown(target) for target in example.targets] and _is_raw(bundle):
            return None
        found.append(_prediction(bundle, row, example))
    return tuple(found)


def _is_raw(bundle: Bundle) -> bool:
    return bundle.recipe.evaluation.references == "raw"


def _prediction(bundle: Bundle, row: Mapping[str, Any], example: Example) -> Prediction:
    codec = bundle.codecs.target
    if isinstance(codec, NumbersCodec):
        wanted = series_of(example.targets[0])
        values = np.array(row["answers"][0], np.float64).reshape(-1, wanted.values.shape[1])
        answer = Series(values, wanted.names, wanted.id, wanted.times)
        frames = codec.encode(answer, source=example.source)
        assert isinstance(frames, Frames), "numbers become frames"
        return Prediction(example, (answer,), forecast=Forecast(frames.values))
    values_of_row = tuple(map(str, row["answers"]))
    hypotheses = tuple(
        _hypothesis(bundle, answer, log_probs, score, is_finished)
        for answer, log_probs, score, is_finished in zip(
            values_of_row, row["log_probs"], row["scores"], row["finished"], strict=True
        )
    )
    return Prediction(example, values_of_row, hypotheses)


def _hypothesis(
    bundle: Bundle, answer: str, log_probs: Sequence[float | None], score: float | None, is_finished: bool
) -> Hypothesis:
    codec = bundle.codecs.target
    tokens = tuple(codec.encode(answer).tolist()) if isinstance(codec, TextCodec) else ()
    tokens = tokens if is_finished else tokens[:-1]
    nats = tuple(-np.inf if one is None else float(one) for one in log_probs)
    known = tokens if len(tokens) == len(nats) else ()
    return Hypothesis(known, nats, -np.inf if score is None else float(score), is_finished)


def _baselines(summary: Mapping[str, Any], own: Sequence[Score]) -> dict[str, tuple[Score, ...]]:
    """Read the scores of simple methods, for the metrics that are scored now."""
    labels = {score.label for score in own}
    return {
        str(name): tuple(
            Score(
                label,
                float(one["value"]),
                float(one["low"]),
                float(one["high"]),
                str(one["signature"]),
                bool(one["higher_is_better"]),
            )
            for label, one in scores.items()
            if label in labels
        )
        for name, scores in summary.get("baselines", {}).items()
    }
