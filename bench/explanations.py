"""Explanations where the truth is known: tasks that say which source place each target step is from.

    python bench/explanations.py WORK [--tasks copy ...] [--models lstm ...] [--write docs/explanations.md]

Trains small models of several kinds on pairs that are made here, and asks every method about 40 held-out
pairs that the model answers right. `copy`, `reverse` and `sort` have letters of which no two are equal, so
each step of the answer is from one place. In `add`, two numbers of two digits, a digit of the sum is from
the digits above it, and perhaps, by what is carried, from those to their right. What is found is kept in
WORK, a file for each task and model, and not computed again. `--write` puts the table between the marks of
a page.

Pointing is the share of target steps whose most important place is true. The alignment error rate links each
step to as many places as are surely true, those most important. Deletion and insertion are areas from random
order in nats a token, each target step by its own order. The last column is the correlation with what the
method says of fresh weights. End symbols of the answer are left out of what is counted.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dragoman
from dragoman.data.pharaoh import Links
from dragoman.errors import UserError
from dragoman.evaluation.alignment import alignment_error_rate
from dragoman.evaluation.scored_set import read_examples
from dragoman.explanation.agreement import randomised
from dragoman.explanation.attribution import METHODS, Attribution, attribute
from dragoman.explanation.faithfulness import faithfulness
from dragoman.explanation.subject import Subject, subject_of
from dragoman.records import Example, text_of

LETTERS = "abcdefgh"
LONGEST, PAIRS, HELD_OUT, EXPLAINED = 5, 4000, 100, 40
ENOUGH = 98.0
"""Exact match in percent; a model below it is trained again, for longer."""
STEPS = (250, 1000, 2500)
TASKS = ("copy", "reverse", "sort", "add")
_LSTM = {"kind": "lstm", "width": 64, "dropout": 0.0}
_GRU = {"kind": "gru", "width": 64, "dropout": 0.0}
_TRANSFORMER = {
    "kind": "transformer",
    "width": 48,
    "layers": 2,
    "heads": 4,
    "feedforward_width": 96,
    "dropout": 0.0,
}
MODELS: dict[str, dict[str, Any]] = {
    "transformer": {"encoder": _TRANSFORMER, "decoder": _TRANSFORMER},
    "lstm": {"encoder": _LSTM, "decoder": {**_LSTM, "attention": {"kind": "general"}}},
    "lstm, no attention": {"encoder": _LSTM, "decoder": {**_LSTM, "attention": {"kind": "none"}}},
    "gru to transformer": {"encoder": _GRU, "decoder": _TRANSFORMER},
}
SIZES = " (sizes)"
"""Signed methods are looked at twice: where they are largest, and where they are largest of either sign."""


# --- tasks


def pair_of(task: str, draw: random.Random) -> tuple[str, str]:
    """Draw a source and its answer."""
    if task == "add":
        one, two = draw.randrange(100), draw.randrange(100)
        return f"{one:02}+{two:02}", f"{one + two:03}"
    text = "".join(draw.sample(LETTERS, draw.randint(3, LONGEST)))
    return text, {"copy": text, "reverse": text[::-1], "sort": "".join(sorted(text))}[task]


def truth_of(task: str, source: str, target: str) -> list[tuple[set[int], set[int]]]:
    """Return for each step of the answer the places that it is surely from, and possibly."""
    if task != "add":
        places = {
            "copy": range(len(source)),
            "reverse": reversed(range(len(source))),
            "sort": map(source.index, target),
        }
        return [({place}, {place}) for place in places[task]]
    # `ab+cd` is `xyz`: z is from b and d, y from a and c and what is carried, x from what is carried.
    units, tens = {1, 4}, {0, 3}
    return [(tens, tens | units), (tens, tens | units), (units, units)]


# --- models


def learnt(task: str, model: str, work: Path) -> tuple[dragoman.Bundle, float, int]:
    """Train until enough answers are right; return the bundle, exact match, and the steps that it took."""
    folder = work / f"{task}-{model.replace(', ', '-').replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    draw, pairs = random.Random(7), {}
    while len(pairs) < PAIRS + HELD_OUT:
        source, target = pair_of(task, draw)
        pairs[source] = target
    rows = [f"{source}\t{target}\n" for source, target in pairs.items()]
    (folder / "dev.tsv").write_text("".join(rows[:HELD_OUT]), "utf-8")
    (folder / "train.tsv").write_text("".join(rows[HELD_OUT:]), "utf-8")
    for steps in STEPS:
        bundle = dragoman.train(_recipe(folder, MODELS[model], steps))
        report = bundle.evaluate(read_examples(bundle.recipe, (), None, "dev"))
        if report.scores[0].value >= ENOUGH:
            break
    return bundle, report.scores[0].value, steps


def _recipe(folder: Path, model: dict[str, Any], steps: int) -> dragoman.Recipe:
    return dragoman.recipe_from(
        {
            "run": str(folder / f"run-{steps}"),
            "data": {
                "folder": str(folder),
                "cache": str(folder / "cache"),
                "train": [{"file": "train.tsv"}],
                "dev": {"file": "dev.tsv"},
            },
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": model,
            "training": {
                "objective": {"kind": "cross_entropy", "label_smoothing": 0.0},
                "optimizer": {"kind": "adam", "learning_rate": 0.005},
                "schedule": {"kind": "cosine", "warmup_steps": 20, "final_fraction": 0.05},
                "batch_tokens": 1024,
                "max_steps": steps,
                "validate_every": steps,
                "checkpoint_every": steps,
                "watch": "exact_match",
                "threads": 1,
                "precision": "fp32",
            },
            "decoding": {"method": "greedy", "max_length": 12},
            "evaluation": {"metrics": ["exact_match"], "bootstrap_samples": 100},
        },
        folder,
    )


# --- what methods say


def measured(task: str, bundle: dragoman.Bundle) -> dict[str, dict[str, float]]:
    """Return the measures of each method: means over explained pairs."""
    examples = read_examples(bundle.recipe, (), None, "dev")
    answers = bundle.predict([example.source for example in examples])
    right = [one for one, answer in zip(examples, answers, strict=True) if answer == one.targets[0]]
    found: dict[str, list[dict[str, Any]]] = {}
    for example in right[:EXPLAINED]:
        for name, row in _rows(task, bundle, example):
            found.setdefault(name, []).append(row)
    return {name: _summary(rows) for name, rows in found.items()}


def _rows(task: str, bundle: dragoman.Bundle, example: Example) -> Iterator[tuple[str, dict[str, Any]]]:
    source, target = text_of(example.source), text_of(example.targets[0])
    subject = subject_of(bundle, example, target)
    truth = truth_of(task, source, target)
    given = dict(_given(subject))
    curves = faithfulness(subject, list(given.values()), by_step=True).methods
    for (name, attribution), curve in zip(given.items(), curves, strict=True):
        links = _links(attribution, [len(sure) for sure, _ in truth])
        row: dict[str, Any] = {
            "pointing": [
                int(weights_S.argmax()) in possible
                for weights_S, (_, possible) in zip(attribution.weights_TS, truth, strict=False)
            ],
            "links": links,
            "truth": Links(
                frozenset((place, step) for step, (sure, _) in enumerate(truth) for place in sure),
                frozenset((place, step) for step, (_, all_of) in enumerate(truth) for place in all_of),
            ),
            "deletion": curve.deletion,
            "insertion": curve.insertion,
        }
        if not name.endswith(SIZES):
            row["randomised"] = randomised(subject, [attribution], seeds=[0])[attribution.method]
        yield name, row


def _given(subject: Subject) -> Iterator[tuple[str, Attribution]]:
    for method in METHODS:
        try:
            found = attribute(subject, method)
        except UserError:
            continue
        yield method, found
        if found.is_signed:
            yield method + SIZES, replace(found, weights_TS=np.abs(found.weights_TS))


def _links(attribution: Attribution, counts: Sequence[int]) -> list[tuple[int, int]]:
    """Link each step to the places that count most."""
    orders = np.argsort(-attribution.weights_TS, axis=1, kind="stable")
    return [(int(place), step) for step, count in enumerate(counts) for place in orders[step, :count]]


def _summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    error = alignment_error_rate([row["links"] for row in rows], [row["truth"] for row in rows])
    summary = {
        "pointing": float(np.mean([hit for row in rows for hit in row["pointing"]])),
        "error_rate": error.error_rate,
        "deletion": float(np.mean([row["deletion"] for row in rows])),
        "insertion": float(np.mean([row["insertion"] for row in rows])),
    }
    if "randomised" in rows[0]:
        summary["randomised"] = float(np.mean([row["randomised"] for row in rows]))
    return summary


# --- the table


def table_of(results: list[dict[str, Any]]) -> str:
    """Return Markdown: a row for each model and method, measures averaged over tasks."""
    tasks = [task for task in TASKS if any(one["task"] == task for one in results)]
    head = ["model", "method", *(f"pointing: {task}" for task in tasks)]
    head += ["error rate", "deletion", "insertion", "fresh weights"]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * (len(head) - 2)}"]
    for model in MODELS:
        cells = {one["task"]: one["methods"] for one in results if one["model"] == model}
        for name in [known + end for known in METHODS for end in ("", SIZES)]:
            found = {task: methods[name] for task, methods in cells.items() if name in methods}
            if not found:
                continue
            row = [model, name.replace("_", " ")]
            row += [f"{found[task]['pointing']:.0%}" if task in found else "" for task in tasks]
            row += [
                _mean(found, measure) for measure in ("error_rate", "deletion", "insertion", "randomised")
            ]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _mean(found: dict[str, dict[str, float]], measure: str) -> str:
    values = [one[measure] for one in found.values() if measure in one]
    if not values:
        return ""
    return f"{np.mean(values):.0%}" if measure == "error_rate" else f"{np.mean(values):.2f}"


def _trained(results: list[dict[str, Any]]) -> str:
    """Say what the models were worth."""
    said = [f"{one['model']} on {one['task']} {one['exact_match']:.0f}%" for one in results]
    return "Exact match on held-out pairs: " + ", ".join(said) + "."


def write_table(page: Path, results: list[dict[str, Any]]) -> None:
    """Put the table between the marks of a page."""
    begin, end = "<!-- bench/explanations.py -->\n", "<!-- end -->"
    before, _, rest = page.read_text("utf-8").partition(begin)
    _, _, after = rest.partition(end)
    assert rest and end in rest, f"{page}: no marks"
    page.write_text(f"{before}{begin}\n{table_of(results)}\n\n{_trained(results)}\n\n{end}{after}", "utf-8")


def main() -> None:
    """Fill WORK, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=TASKS)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for task in asked.tasks:
        for model in asked.models:
            path = asked.work / f"{task}-{model.replace(', ', '-').replace(' ', '-')}.json"
            if path.exists():
                continue
            begin = time.process_time()
            bundle, exact_match, steps = learnt(task, model, asked.work)
            trained = time.process_time()
            result = {
                "task": task,
                "model": model,
                "exact_match": exact_match,
                "steps": steps,
                "methods": measured(task, bundle),
                "seconds": {"training": trained - begin, "explaining": time.process_time() - trained},
            }
            path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    results = [
        found
        for path in sorted(asked.work.glob("*.json"))
        if (found := json.loads(path.read_text("utf-8")))["model"] in MODELS
    ]
    if asked.write is not None:
        write_table(asked.write, results)
    print(table_of(results))


if __name__ == "__main__":
    main()
