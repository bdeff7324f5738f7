"""Every pair of encoder and decoder, and every attention, learns a small task, from a file to scored answers.

The tasks need what these models are for: copy (order), reverse (order turned around), sort (the
whole source before the first letter), add (a carry from the end to the front). Answers are scored on sources
that the training never saw.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dragoman
from dragoman.evaluation.scored_set import read_examples

LETTERS = "abcdefgh"
PARTS = ("rnn", "gru", "lstm", "transformer")
TASKS = {"copy": 5, "reverse": 5, "sort": 5, "add": 2}
"""Longest source of each task, in letters, or in digits of a summand."""


def _pair(task: str, rng: random.Random) -> tuple[str, str]:
    if task == "add":
        one, two = rng.randrange(10 ** TASKS[task]), rng.randrange(10 ** TASKS[task])
        return f"{one}+{two}", str(one + two)
    text = "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, TASKS[task])))
    return text, {"copy": text, "reverse": text[::-1], "sort": "".join(sorted(text))}[task]


def _write_task(task: str, folder: Path) -> None:
    rng = random.Random(7)
    pairs = {}
    while len(pairs) < 4060:
        source, target = _pair(task, rng)
        pairs[source] = target
    rows = [f"{source}\t{target}\n" for source, target in pairs.items()]
    folder.joinpath("dev.tsv").write_text("".join(rows[:60]), "utf-8")
    folder.joinpath("train.tsv").write_text("".join(rows[60:]), "utf-8")


def _recipe(folder: Path, encoder: dict, decoder: dict, steps: int, option: dict) -> dragoman.Recipe:
    return dragoman.recipe_from(
        {
            "run": str(folder / "run"),
            "data": {
                "folder": str(folder),
                "cache": str(folder / "cache"),
                "train": [{"file": "train.tsv"}],
                "dev": {"file": "dev.tsv"},
            },
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": {"encoder": encoder, "decoder": decoder},
            "training": {
                "objective": {"kind": "cross_entropy", "label_smoothing": 0.0, **option},
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
            "decoding": {"method": "beam", "beam": 2, "max_length": 12},
            "evaluation": {"metrics": ["exact_match"], "bootstrap_samples": 100},
        },
        folder,
    )


def _part(kind: str) -> dict:
    if kind == "transformer":
        sizes = {"width": 32, "layers": 2, "heads": 4, "feedforward_width": 64}
        return {"kind": kind, **sizes, "dropout": 0.0}
    return {"kind": kind, "width": 64, "dropout": 0.0}


def _learns(
    folder: Path,
    task: str,
    encoder: dict,
    decoder: dict,
    steps: int,
    at_least: float,
    option: dict | None = None,
) -> None:
    _write_task(task, folder)
    bundle = dragoman.train(_recipe(folder, encoder, decoder, steps, option or {}))
    report = bundle.evaluate(read_examples(bundle.recipe, (), None, "dev"))
    assert report.scores[0].value >= at_least, f"{report.scores[0].value} of {at_least}"
    assert dragoman.check(folder / "run") == []


@pytest.mark.parametrize("decoder", PARTS)
@pytest.mark.parametrize("encoder", PARTS)
def test_every_pair_learns_to_reverse(tmp_path, encoder, decoder):
    _learns(tmp_path, "reverse", _part(encoder), _part(decoder), steps=400, at_least=80)


@pytest.mark.parametrize("task", ["copy", "sort", "add"])
@pytest.mark.parametrize(
    ("encoder", "decoder"), [("lstm", "lstm"), ("transformer", "transformer"), ("gru", "rnn")]
)
def test_every_task_is_learnt(tmp_path, task, encoder, decoder):
    steps, at_least = (1600, 70) if task == "add" else (400, 80)
    _learns(tmp_path, task, _part(encoder), _part(decoder), steps, at_least)


@pytest.mark.parametrize(
    "option",
    [
        {"r_drop": 1.0},
        {"scheduled_sampling": 0.25, "sampling_warmup_steps": 200},
        {"minimum_risk": {"cost": "cer", "samples": 4}},
    ],
    ids=lambda option: next(iter(option)),
)
def test_it_is_learnt_with_every_option_of_the_objective(tmp_path, option):
    parts = ({**_part("gru"), "dropout": 0.1}, {**_part("gru"), "dropout": 0.1})
    _learns(tmp_path, "copy", *parts, steps=400, at_least=80, option=option)


@pytest.mark.parametrize(
    "attention",
    [
        {"kind": "none"},
        {"kind": "dot"},
        {"kind": "general"},
        {"kind": "scaled_dot", "heads": 2},
        {"kind": "location", "filters": 4, "kernel_width": 5},
    ],
    ids=lambda attention: attention["kind"],
)
def test_every_attention_learns_to_copy(tmp_path, attention):
    _learns(tmp_path, "copy", _part("gru"), {**_part("gru"), "attention": attention}, steps=400, at_least=80)


def test_input_feeding_learns_to_copy(tmp_path):
    decoder = {**_part("lstm"), "input_feeding": True}
    _learns(tmp_path, "copy", _part("transformer"), decoder, steps=400, at_least=80)
