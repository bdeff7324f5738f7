"""What a system answered to a set of examples: of a report that was just made, or of one that was written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dragoman.bundle import RECIPE
from dragoman.data.lines import read_lines
from dragoman.data.portable import shown
from dragoman.errors import DataError, RecipeError, UserError
from dragoman.evaluation.evaluate import PREDICTIONS, SCORES, Report
from dragoman.evaluation.forecasting import statistics_of_errors
from dragoman.evaluation.metrics import Statistics, statistics
from dragoman.recipe.loading import evaluation_from, load_recipe
from dragoman.recipe.metrics import Chrf, Evaluation, TextMetric
from dragoman.recipe.sections import Recipe
from dragoman.records import Example

_OF_EVALUATION = "evaluation."
"""What overrides begin with that change how answers are scored."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One example as results show it: source, references, and the answer of one system."""

    id: str
    source: object
    references: tuple[object, ...]
    answer: object


@dataclass(frozen=True, eq=False)
class System:
    """A system by its name, its answers, and what each metric knows of them, in the order of the metrics.

    `telling` are the statistics that tell single examples apart.
    """

    name: str
    rows: tuple[Answered, ...]
    statistics: tuple[Statistics, ...]
    telling: Statistics


def system_of(name: str, report: Report) -> System:
    """Take a system from the report of its evaluation; raises DataError where no metric was asked for."""
    rows = tuple(
        Answered(
            prediction.example.id,
            shown(prediction.example.source),
            tuple(map(shown, given)),
            shown(prediction.values[0]),
        )
        for prediction, given in zip(report.predictions, report.references, strict=True)
    )
    return _system(name, rows, report.statistics)


def read_system(path: Path, evaluation: Evaluation) -> System:
    """Read what `evaluate` wrote, a folder or its predictions.jsonl, and score it anew, without a model.

    Windows of numbers come with their errors, for the metrics that were counted then. Raises DataError for a
    line that is no answer, and for a metric of numbers whose errors are not there.
    """
    file = _file_of(path)
    found = [_answered(file, line.number, line.text) for line in read_lines(file)]
    rows = tuple(row for row, _ in found)
    if found[0][1] is None:
        return _system(str(path), rows, _of_text(file, rows, evaluation))
    return _system(str(path), rows, _of_windows(file, [errors or {} for _, errors in found], evaluation))


def _file_of(path: Path) -> Path:
    """Return the file of answers that a path stands for."""
    file = path / PREDICTIONS if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{path}: expected a run's folder, or predictions that evaluate wrote; found neither")
    return file


def is_run(path: Path) -> bool:
    """Tell the folder of a run from what `evaluate` wrote."""
    return path.is_dir() and (path / RECIPE).is_file()


def is_system(path: Path) -> bool:
    """Tell what can be compared from a file of examples: folders, and files of answers."""
    if not path.is_file():
        return True  # what is not there is missed by its name, as a system
    return path.name.endswith((".jsonl", ".ndjson")) and '"answers"' in next(read_lines(path)).text


def scoring_of(paths: Sequence[Path], runs: Mapping[Path, Recipe], overrides: Sequence[str]) -> Evaluation:
    """Return how to score: as the first system does that says so, changed by overrides.

    Raises DataError where none says so and no metrics are given, or where there is no such system.
    """
    for path in paths:
        if path not in runs:
            _file_of(path)
    changes = [text for text in overrides if text.startswith(_OF_EVALUATION)]
    for path in paths:
        if path in runs:
            return runs[path].evaluation
        if (kept := _kept_evaluation(path)) is not None:
            return evaluation_from(kept, changes)
    found = evaluation_from({}, changes)
    if not found.metrics:
        raise DataError(
            f"{paths[0]}: does not say how to score it; say it: 'evaluation.metrics=[bleu, chrf]'"
        )
    return found


def refuse_without_effect(overrides: Sequence[str], has_data: bool) -> None:
    """Raise UserError for what has no effect on answers that are there already."""
    wrong = [text for text in overrides if not text.startswith(_OF_EVALUATION)]
    if has_data:
        wrong.append("data to answer")
    if wrong:
        raise UserError(
            f"{', '.join(wrong)}: no effect, since all these answers are written already; "
            "compare folders of runs instead"
        )


def unanswered(examples: Sequence[Example]) -> tuple[Answered, ...]:
    """Show examples before anything has answered them."""
    return tuple(
        Answered(one.id, shown(one.source), tuple(map(shown, one.targets)), None) for one in examples
    )


def _kept_evaluation(path: Path) -> Mapping[str, Any] | None:
    """Return how answers were scored when they were written, or else as the run around them scores."""
    folder = _file_of(path).parent
    try:
        found = json.loads((folder / SCORES).read_text("utf-8"))["evaluation"]
        if "metrics" in found:
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        return load_recipe(folder.resolve().parents[1] / RECIPE).evaluation.model_dump(exclude_unset=True)
    except (OSError, IndexError, RecipeError):
        return None


def same_examples(systems: Sequence[tuple[str, Sequence[Answered]]]) -> None:
    """Raise UserError where systems did not answer the same sources or have other references."""
    (first, expected), *others = systems
    for name, found in others:
        for number, (ours, theirs) in enumerate(zip(expected, found, strict=False), 1):
            for part in ("source", "references"):
                here, there = _part(ours, part), _part(theirs, part)
                if here != there:
                    raise UserError(
                        f"example {number} of {first} and {name} has not the same {part}: "
                        f"{str(here)[:80]!r} and {str(there)[:80]!r}; compare answers to one set of examples"
                    )
        if len(expected) != len(found):
            raise UserError(
                f"{first} has {len(expected):,} examples and {name} {len(found):,}; "
                "compare answers to one set of examples"
            )


def _part(row: Answered, part: str) -> object:
    return row.source if part == "source" else row.references


def _system(name: str, rows: tuple[Answered, ...], found: tuple[Statistics, ...]) -> System:
    if not found:
        raise DataError(f"{name}: no metric to compare by; say one: 'evaluation.metrics=[chrf]'")
    return System(name, rows, found, _telling(rows, found))


def _telling(rows: Sequence[Answered], found: Sequence[Statistics]) -> Statistics:
    """Choose what tells single examples apart: the first metric that grades each of them, or else chrF."""
    grading = [one for one in found if one.grades_examples]
    return grading[0] if grading else statistics(Chrf(name="chrf"), *_texts(rows))


def _texts(rows: Sequence[Answered]) -> tuple[list[str], list[tuple[str, ...]]]:
    return [str(row.answer) for row in rows], [tuple(map(str, row.references)) for row in rows]


def _of_text(file: Path, rows: Sequence[Answered], evaluation: Evaluation) -> tuple[Statistics, ...]:
    answers, references = _texts(rows)
    found = []
    for metric in evaluation.metrics:
        if not isinstance(metric, TextMetric):
            raise DataError(f"{file}: `{metric.label}` scores numbers, and these answers are text")
        found.append(statistics(metric, answers, references))
    return tuple(found)


def _of_windows(
    file: Path, errors: Sequence[Mapping[str, Any]], evaluation: Evaluation
) -> tuple[Statistics, ...]:
    found = []
    together = _windows_together(file)
    for metric in evaluation.metrics:
        try:
            rows_NF = np.array([given[metric.label] for given in errors], np.float64).reshape(len(errors), 2)
        except (KeyError, TypeError, ValueError) as fault:
            raise DataError(
                f"{file}: holds no errors of windows for `{metric.label}`, only for "
                f"{', '.join(errors[0])}; evaluate again with it"
            ) from fault
        found.append(statistics_of_errors(metric.label, rows_NF, together, "read"))
    return tuple(found)


def _windows_together(file: Path) -> int:
    """Return how many neighbouring windows share steps, as scores.json beside the answers says."""
    path = file.parent / SCORES
    try:
        return int(json.loads(path.read_text("utf-8"))["windows_together"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(
            f"{path}: expected `windows_together`, how many windows overlap, as evaluate writes it beside "
            f"{file.name}; evaluate again"
        ) from fault


def _answered(file: Path, number: int, text: str) -> tuple[Answered, Mapping[str, Any] | None]:
    """Take a line apart: what was answered, and of a window its errors."""
    try:
        row = json.loads(text)
        references, answers, errors = row["references"], row["answers"], row.get("errors")
        if not isinstance(references, list) or not isinstance(answers, list) or not references:
            raise TypeError
        found = Answered(str(row.get("id", number)), row["source"], tuple(references), answers[0])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
        raise DataError(
            f"{file}:{number}: expected an object with `source`, `references` and `answers` as evaluate "
            f"writes it, found {text[:60]!r}"
        ) from fault
    return found, errors if isinstance(errors, dict) else None
