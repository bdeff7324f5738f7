"""What a run's log.jsonl says of its training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragoman.data.lines import read_lines
from dragoman.errors import DataError


@dataclass(frozen=True, slots=True)
class Curve:
    """Values by training step."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class TrainingLog:
    """The course of a training: losses, validated metrics by label, and its end.

    Where a run went on from a checkpoint, what was logged last of a step counts. `tokens` are those seen,
    `tokens_per_second` their mean over the time of training, `entries` how many examples were trained on;
    `reason` says why it ended. What the log does not have is None.
    """

    training: Curve
    validation: Curve
    metrics: Mapping[str, Curve]
    best_step: int | None
    last_step: int
    seconds: float | None
    tokens: int | None
    tokens_per_second: float | None
    entries: int | None
    device: str | None
    precision: str | None
    reason: str | None


def read_training_log(path: Path) -> TrainingLog | None:
    """Read a log; None where there is none or it holds no step. DataError for a line that is no log's."""
    if not path.is_file():
        return None
    rows = [_row(path, line.number, line.text) for line in read_lines(path)]
    by_step = {(row["kind"], row["step"]): row for row in rows}
    trained = sorted((row for (kind, _), row in by_step.items() if kind == "train"), key=_step)
    validated = sorted((row for (kind, _), row in by_step.items() if kind == "validation"), key=_step)
    if not trained:
        return None
    starts = [row for row in rows if row["kind"] == "start"]
    ends = [row for row in rows if row["kind"] == "end"]
    labels = dict.fromkeys(label for row in validated for label in row.get("metrics", {}))
    best = [row["step"] for row in validated if row.get("is_best")]
    speeds = [row["tokens_per_second"] for row in trained if row.get("tokens_per_second")]
    first, last = (starts or [{}])[0], (ends or [{}])[-1]
    return TrainingLog(
        _curve(trained, [row["loss"] for row in trained]),
        _curve(validated, [row["loss"] for row in validated]),
        {label: _of_metric(validated, label) for label in labels},
        last.get("best_step", best[-1] if best else None),
        max(row["step"] for row in rows),
        last.get("seconds", trained[-1].get("seconds")),
        trained[-1].get("tokens_seen"),
        len(speeds) / sum(1 / speed for speed in speeds) if speeds else None,
        first.get("entries"),
        first.get("device"),
        first.get("precision"),
        last.get("reason"),
    )


def _row(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
        if isinstance(row["kind"], str) and isinstance(row["step"], int):
            return dict(row)
    except (ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{path}:{number}: expected an object with `kind` and `step`, found {text[:60]!r}")


def _step(row: Mapping[str, Any]) -> int:
    return int(row["step"])


def _curve(rows: list[dict[str, Any]], values: list[Any]) -> Curve:
    return Curve(
        tuple(map(_step, rows)), tuple(float("nan") if one is None else float(one) for one in values)
    )


def _of_metric(rows: list[dict[str, Any]], label: str) -> Curve:
    measured = [row for row in rows if label in row.get("metrics", {})]
    return _curve(measured, [row["metrics"][label] for row in measured])
