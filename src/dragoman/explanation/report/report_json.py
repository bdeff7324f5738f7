"""The numbers of a report, for a program."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from dragoman.evaluation.by_group import GroupScores
from dragoman.evaluation.data_facts import TrainingFacts
from dragoman.evaluation.evaluate import summary
from dragoman.evaluation.overlap import NotKnown
from dragoman.evaluation.text_quality import TextQuality
from dragoman.evaluation.word_frequency import FrequencyBucket
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.forecast_quality import ForecastQuality, Window
from dragoman.explanation.trust import Trust, trust_json


def as_json(found: Findings) -> dict[str, Any]:
    """Return what the page says, without its charts, as JSON takes it; what is not finite becomes null."""
    folder = found.bundle.folder
    content: dict[str, Any] = {
        "run": None if folder is None else str(folder),
        "split": found.split,
        "is_kept": found.is_kept,
        "parameters": found.parameters,
        "speed": {**asdict(found.speed), "answers_per_second": found.speed.per_second},
        "evaluation": summary(found.report),
        "data": _data(found),
        "training": None if found.log is None else asdict(found.log),
    }
    if found.text is not None:
        content["text"] = _text(found.text)
    if found.numbers is not None:
        content["forecasts"] = _forecasts(found.numbers)
    match found.trust:
        case Trust():
            content["trust"] = {**trust_json(found.trust), "left_out": found.trust.left_out}
        case NotKnown():
            content["trust"] = {"not_known": found.trust.reason}
    cleaned: dict[str, Any] = _clean(content)
    return cleaned


def _data(found: Findings) -> dict[str, Any]:
    trained = found.training
    counts: dict[str, Any] = {}
    if isinstance(trained, TrainingFacts):
        counts = {
            "training_examples": trained.examples,
            "repeated_pairs": trained.repeated_pairs,
            "repeated_sources": trained.repeated_sources,
        }
    elif trained is not None:
        counts = {"training_data": trained.reason}
    sides = {"source": found.source_coverage, "target": found.target_coverage}
    lengths = {"source": found.source_lengths, "target": found.target_lengths}
    return {
        **counts,
        "rejected": found.rejected,
        "coverage": {side: asdict(one) for side, one in sides.items() if one is not None},
        "median_lengths": {side: float(np.median(many)) for side, many in lengths.items() if many},
    }


def _text(text: TextQuality) -> dict[str, Any]:
    return {
        "by_length": _groups(text.by_length),
        "by_rarity": _groups(text.by_rarity),
        "by_confidence": _groups(text.by_confidence),
        "words_by_frequency": [_bucket(one) for one in text.frequencies],
        "copies": [{**asdict(one), "recall": one.recall} for one in text.copies],
        "repetition": asdict(text.repetition),
        "suspects": [asdict(one) for one in text.suspects],
        "calibration": None if text.calibration is None else asdict(text.calibration),
        "confidence_correlation": text.confidence_tells,
        "confusions": [asdict(one) for one in text.confusions],
    }


def _groups(groups: tuple[GroupScores, ...]) -> list[dict[str, Any]]:
    return [asdict(one) for one in groups]


def _bucket(one: FrequencyBucket) -> dict[str, Any]:
    return {**asdict(one), "precision": one.precision, "recall": one.recall, "f1": one.f1}


def _forecasts(given: ForecastQuality) -> dict[str, Any]:
    return {
        "error_by_step": given.by_step.tolist(),
        "error_by_series": [asdict(one) for one in given.by_series],
        "coverage": [asdict(one) for one in given.coverage],
        "worst_windows": [_window(one) for one in given.worst],
        "best_windows": [_window(one) for one in given.best],
    }


def _window(one: Window) -> dict[str, Any]:
    return {"id": one.name, "error": one.error}


def _clean(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _clean(one) for key, one in value.items()}
        case list() | tuple():
            return [_clean(one) for one in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
