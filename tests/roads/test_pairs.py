"""Every pair of kinds, {text, speech, numbers} to {text, numbers}, learns a small task from files.

Answers are scored on examples that the training never saw, against what a guess without the source would
reach; the bundle still says the same when it is checked.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

import dragoman
from dragoman.evaluation.scored_set import read_examples
from dragoman.records import Recording

soundfile = pytest.importorskip("soundfile")

RATE_HZ = 4000
TONES_HZ = {"low": 300, "middle": 560, "high": 980, "top": 1600}
SPEECH = {"kind": "speech", "sample_rate_hz": RATE_HZ, "mel_bins": 16, "window_seconds": 0.032}
SPEECH |= {"hop_seconds": 0.016}
NUMBERS = {"kind": "numbers"}
DEV = 40


def transformer(width: int = 32, layers: int = 1) -> dict:
    sizes = {"width": width, "layers": layers, "heads": 4, "feedforward_width": 2 * width}
    return {"kind": "transformer", **sizes, "dropout": 0.0}


def recurrent(kind: str, width: int = 48, **options: object) -> dict:
    return {"kind": kind, "width": width, "dropout": 0.0, **options}


def learnt(folder: Path, steps: int, metric: str, data: dict, **sections: dict) -> dragoman.api.Bundle:
    """Train on files of a folder, and return the bundle once it has passed its own check."""
    training = {
        "optimizer": {"kind": "adam", "learning_rate": 0.005},
        "schedule": {"kind": "cosine", "warmup_steps": 10, "final_fraction": 0.05},
        "batch_tokens": 1024,
        "max_steps": steps,
        "validate_every": steps,
        "checkpoint_every": steps,
        "threads": 1,
        "precision": "fp32",
    }
    recipe = {
        "run": str(folder / "run"),
        "data": {"folder": str(folder), "cache": str(folder / "cache"), **data},
        "evaluation": {"metrics": [metric], "bootstrap_samples": 100},
        **sections,
        "training": training | sections.get("training", {}),
    }
    bundle = dragoman.train(dragoman.recipe_from(recipe, folder))
    assert dragoman.check(folder / "run") == []
    return bundle


def score(bundle: dragoman.api.Bundle, *overrides: str) -> float:
    examples = read_examples(bundle.recipe, (), None, "dev")
    return bundle.evaluate(examples, *overrides).scores[0].value


def write_table(folder: Path, rows: list[tuple[str, str]]) -> dict:
    """Write rows as TSV files, the first of them as development set, and say where they are."""
    for name, part in {"dev": rows[:DEV], "train": rows[DEV:]}.items():
        text = "".join(f"{source}\t{target}\n" for source, target in part)
        folder.joinpath(f"{name}.tsv").write_text(text, "utf-8")
    return {"train": [{"file": "train.tsv"}], "dev": {"file": "dev.tsv"}}


def write_sounds(folder: Path, clips: list[tuple[np.ndarray, str]]) -> dict:
    """Write clips as WAV files with a manifest each for training and development."""
    for name, part in {"dev": clips[:DEV], "train": clips[DEV:]}.items():
        (folder / name).mkdir()
        rows = ["file\ttext\n"]
        for number, (samples, target) in enumerate(part):
            soundfile.write(folder / name / f"{number}.wav", samples, RATE_HZ)
            rows.append(f"{name}/{number}.wav\t{target}\n")
        folder.joinpath(f"{name}.tsv").write_text("".join(rows), "utf-8")
    return {"train": [{"manifest": "train.tsv"}], "dev": {"manifest": "dev.tsv"}}


def tones(pitches_hz: list[float], draw: np.random.Generator) -> np.ndarray:
    """Sound tones one after the other, each with a pause, as long and loud as it happens, in noise."""
    parts = []
    for pitch_hz in pitches_hz:
        times = np.arange(int(RATE_HZ * draw.uniform(0.10, 0.16))) / RATE_HZ
        parts += [draw.uniform(0.1, 0.4) * np.sin(2 * np.pi * pitch_hz * times), np.zeros(RATE_HZ // 20)]
    whole = np.concatenate(parts)
    return whole + 0.003 * draw.standard_normal(len(whole))


def spread(bundle: dragoman.api.Bundle) -> float:
    """Return the mean absolute error of always answering the mean of each step."""
    examples = read_examples(bundle.recipe, (), None, "dev")
    values = np.stack([bundle.codecs.target.normalise(one.targets[0]).values for one in examples])
    return float(np.abs(values - values.mean(axis=0)).mean())


@pytest.mark.parametrize("ctc", ["alone", "beside attention"])
def test_speech_to_text(tmp_path, ctc):
    draw = np.random.default_rng(1)
    said = [[str(name) for name in draw.choice(list(TONES_HZ), draw.integers(1, 4))] for _ in range(340)]
    clips = [(tones([TONES_HZ[name] for name in names], draw), " ".join(names)) for names in said]
    sections = {
        "alone": {
            "model": {
                "frontend": {"kernels": [3], "strides": [2]},
                "encoder": {"kind": "conformer", "width": 32, "layers": 1, "heads": 4}
                | {"feedforward_width": 64, "kernel_width": 7, "dropout": 0.0},
                "decoder": {"kind": "none"},
            },
            "training": {"objective": {"kind": "ctc"}},
            "decoding": {"method": "ctc_greedy"},
        },
        "beside attention": {
            "model": {
                "encoder": recurrent("gru"),
                "decoder": recurrent("lstm", attention={"kind": "location", "filters": 4, "kernel_width": 5}),
            },
            "training": {"objective": {"kind": "cross_entropy", "ctc_weight": 0.3}},
            "decoding": {"method": "beam", "beam": 2, "ctc_weight": 0.3, "max_length": 8},
        },
    }[ctc]
    bundle = learnt(
        tmp_path,
        150,
        "exact_match",
        write_sounds(tmp_path, clips),
        source=SPEECH,
        target={"kind": "words"},
        **sections,
    )
    assert score(bundle) >= 70
    heard = tones([TONES_HZ[name] for name in ("high", "low")], draw).astype(np.float32)
    assert bundle.predict([Recording(heard, RATE_HZ)]) == ["high low"]


def test_speech_to_numbers(tmp_path):
    draw = np.random.default_rng(2)
    pitches = [[float(draw.uniform(300, 1600)) for _ in range(2)] for _ in range(340)]
    clips = [(tones(pair, draw), " ".join(f"{pitch_hz:.1f}" for pitch_hz in pair)) for pair in pitches]
    bundle = learnt(
        tmp_path,
        150,
        "mae",
        write_sounds(tmp_path, clips),
        source=SPEECH,
        target=NUMBERS,
        model={
            "frontend": {"kernels": [3], "strides": [2]},
            "encoder": recurrent("lstm"),
            "decoder": recurrent("gru", attention={"kind": "additive"}),
        },
        training={"objective": {"kind": "huber"}},
        decoding={"method": "forecast", "horizon": 2},
    )
    assert score(bundle) < 0.4 * spread(bundle)


def test_numbers_to_text(tmp_path):
    """Levels that are held for some steps each: what every change of level is called."""
    draw = random.Random(3)
    rows = []
    for _ in range(640):
        level, values, names = draw.uniform(-5, 5), [], []
        for place in range(draw.randint(2, 4)):
            name = draw.choice(["up", "down"])
            level += 0.0 if place == 0 else (3.0 if name == "up" else -3.0)
            names += [name] if place else []
            values += [round(level + draw.gauss(0, 0.2), 2) for _ in range(draw.randint(3, 4))]
        rows.append((json.dumps(values), " ".join(names)))
    bundle = learnt(
        tmp_path,
        200,
        "exact_match",
        write_table(tmp_path, rows),
        source={"kind": "numbers", "scale": "window"},
        target={"kind": "words"},
        model={"encoder": transformer(), "decoder": recurrent("rnn", attention={"kind": "dot"})},
        training={"objective": {"kind": "cross_entropy", "label_smoothing": 0.0}},
        decoding={"method": "greedy", "max_length": 6},
    )
    assert score(bundle) >= 75
    assert bundle.predict(["1 1 1 1 4 4 4 4 7 7 7 7"]) == ["up up"]


DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_text_to_numbers(tmp_path):
    """Words of one to three digits: their values, and so targets of several lengths."""
    draw = random.Random(4)
    said = {tuple(draw.choices(range(10), k=draw.randint(1, 3))): None for _ in range(800)}
    rows = [(" ".join(DIGITS[digit] for digit in digits), " ".join(map(str, digits))) for digits in said]
    draw.shuffle(rows)
    bundle = learnt(
        tmp_path,
        250,
        "mae",
        write_table(tmp_path, rows),
        source={"kind": "words"},
        target=NUMBERS,
        model={
            "encoder": transformer(),
            "decoder": recurrent("lstm", attention={"kind": "scaled_dot", "heads": 2}),
        },
        training={"objective": {"kind": "squared"}, "batch_tokens": 256},
        decoding={"method": "forecast", "horizon": 3},
    )
    assert score(bundle) < 0.8
    (answer,) = bundle.predict(["seven zero five"])
    assert np.abs(answer.values[:, 0] - [7, 0, 5]).max() < 1.5


def test_numbers_to_numbers_of_a_table(tmp_path):
    """The running sum of two variables, as one, in as many steps as are read."""
    draw = np.random.default_rng(5)
    rows = []
    for _ in range(640):
        values = draw.uniform(-1, 1, (draw.integers(4, 9), 2)).round(3)
        rows.append((json.dumps(values.tolist()), json.dumps(values.sum(1).cumsum().round(3).tolist())))
    bundle = learnt(
        tmp_path,
        200,
        "mae",
        write_table(tmp_path, rows),
        source=NUMBERS,
        target=NUMBERS,
        model={
            "encoder": recurrent("gru", bidirectional=False),
            "decoder": recurrent("lstm", attention={"kind": "aligned"}),
            "rollout": {"kind": "whole"},
        },
        training={"objective": {"kind": "absolute"}},
        decoding={"method": "forecast"},
    )
    assert score(bundle) < 0.25
    (answer,) = bundle.predict(["[[0.5, 0.0], [0.5, 0.5], [-0.5, 0.0], [0.0, 0.0], [0.0, -1.0]]"])
    assert np.abs(answer.values[:, 0] - [0.5, 1.5, 1.0, 1.0, 0.0]).max() < 0.4


def test_numbers_to_numbers_of_series(tmp_path):
    """Waves of several amplitudes and lengths about a level: how they go on."""
    draw = np.random.default_rng(6)
    lines = ["name,value\n"]
    for name in range(12):
        length, size, level = draw.uniform(6, 12), draw.uniform(1, 20), draw.uniform(-50, 50)
        wave = level + size * np.sin(2 * np.pi * (np.arange(120) / length + draw.random()))
        lines += [f"s{name},{value:.3f}\n" for value in wave + 0.02 * size * draw.standard_normal(120)]
    tmp_path.joinpath("waves.csv").write_text("".join(lines), "utf-8")
    files = {"series": "waves.csv", "id": "name"}
    bundle = learnt(
        tmp_path,
        150,
        "mae",
        {
            "train": [{**files, "part": [None, 90]}],
            "dev": {**files, "part": [90, None]},
            "windows": {"context": 24, "horizon": 6},
        },
        source={"kind": "numbers", "scale": "window"},
        target={"kind": "numbers", "scale": "window"},
        model={"encoder": transformer(), "decoder": transformer(), "rollout": {"kind": "whole"}},
        training={"objective": {"kind": "squared"}, "batch_tokens": 2048},
        decoding={"method": "forecast"},
    )
    report = dragoman.evaluate(tmp_path / "run", split="dev")
    assert report.scores[0].value < 0.4 * report.baselines["last value"][0].value
    following = bundle.forecast([str(tmp_path / "waves.csv")])
    assert [one.values[0].values.shape for one in following] == [(6, 1)] * 12


def test_text_to_text(tmp_path):
    """Plurals of made-up words."""
    draw = random.Random(7)
    words = {
        "".join(draw.choice(["ba", "do", "fi", "sy", "tus", "xe"]) for _ in range(3)) for _ in range(400)
    }

    def plural(word: str) -> str:
        if word.endswith("y"):
            return word[:-1] + "ies"
        return word + ("es" if word.endswith("s") else "s")

    rows = [(word, plural(word)) for word in sorted(words)]
    draw.shuffle(rows)
    bundle = learnt(
        tmp_path,
        250,
        "exact_match",
        write_table(tmp_path, rows),
        source={"kind": "characters"},
        target={"kind": "characters"},
        model={"encoder": recurrent("lstm"), "decoder": recurrent("gru", attention={"kind": "general"})},
        decoding={"method": "beam", "beam": 2, "max_length": 14},
    )
    assert score(bundle) >= 80
