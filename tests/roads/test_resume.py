"""Killed at any instant and started again, a run ends with the same bits as one that never stopped."""

import hashlib
import json
import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dragoman.recipe.loading import load_recipe
from dragoman.training.averaging import weights_of
from dragoman.training.progress import read_log
from dragoman.training.train import train

STEPS = 24
RECURRENT = {"width": 8, "dropout": 0.2}
TRANSFORMER = {
    "kind": "transformer",
    "width": 8,
    "layers": 1,
    "heads": 2,
    "feedforward_width": 16,
    "dropout": 0.2,
}
SUBWORDS = {"kind": "bpe", "size": 300, "sampling": 0.3}
CHARACTERS = {"kind": "characters"}
PAIRS = {
    "transformer-transformer": {
        "codec": SUBWORDS,
        "encoder": TRANSFORMER,
        "decoder": TRANSFORMER,
        "training": {"average": {"kind": "exponential", "decay": 0.9}},
    },
    "lstm-lstm": {
        "codec": CHARACTERS,
        "encoder": {"kind": "lstm", **RECURRENT},
        "decoder": {"kind": "lstm", **RECURRENT, "attention": {"kind": "general"}},
        "training": {
            "schedule": {"kind": "plateau", "patience": 0, "factor": 0.5},
            "optimizer": {"kind": "sgd", "learning_rate": 2.0, "momentum": 0.9},
            "validate_every": 3,
        },
    },
    "gru-transformer": {
        "codec": CHARACTERS,
        "encoder": {"kind": "gru", **RECURRENT},
        "decoder": {**TRANSFORMER, "attention_dropout": 0.1},
        "training": {"accumulate": 2, "average": {"kind": "checkpoints", "count": 2}, "precision": "auto"},
    },
    "transformer-rnn": {
        "codec": CHARACTERS,
        "encoder": TRANSFORMER,
        "decoder": {"kind": "rnn", **RECURRENT, "attention": {"kind": "location"}, "input_feeding": True},
        "training": {"optimizer": {"kind": "adafactor"}},
    },
    "objective": {
        "codec": CHARACTERS,
        "encoder": {"kind": "gru", **RECURRENT},
        "decoder": {"kind": "gru", **RECURRENT},
        "training": {
            "accumulate": 2,
            "objective": {
                "kind": "cross_entropy",
                "r_drop": 1.0,
                "scheduled_sampling": 0.5,
                "sampling_warmup_steps": 20,
                "minimum_risk": {"samples": 2},
            },
        },
    },
}
SPEECH = {
    "kind": "speech",
    "sample_rate_hz": 4000,
    "mel_bins": 8,
    "window_seconds": 0.032,
    "speeds": [0.9, 1.0, 1.1],
    "frequency_masks": 1,
    "frequency_mask_bins": 3,
    "time_masks": 1,
}
NUMBERS = {"kind": "numbers", "scale": "window"}
WAVES = {"series": "waves.csv", "id": "name"}
PAIRS |= {
    "speech": {
        "codec": SPEECH,
        "target": CHARACTERS,
        "data": {"train": [{"manifest": "sounds.tsv"}], "held_out_dev": 0.1, "cache": "cache"},
        "encoder": {"kind": "conformer", "layers": 1, "heads": 2, "feedforward_width": 16, "kernel_width": 5}
        | RECURRENT,
        "decoder": {"kind": "gru", **RECURRENT, "attention": {"kind": "additive"}},
        "training": {"objective": {"kind": "cross_entropy", "ctc_weight": 0.3}, "batch_tokens": 240},
    },
    "series": {
        "codec": NUMBERS,
        "target": NUMBERS,
        "data": {
            "train": [{**WAVES, "part": [None, 50]}],
            "dev": {**WAVES, "part": [50, None]},
            "windows": {"context": 12, "horizon": 4},
        },
        "encoder": {"kind": "lstm", **RECURRENT},
        "decoder": TRANSFORMER,
        "training": {"objective": {"kind": "gaussian", "scheduled_sampling": 0.5}},
        "decoding": {"method": "forecast", "samples": 2},
    },
}
KILLED_INSIDE_A_STEP_OR_A_SAVE = """
import os, signal, sys
from dragoman.recipe.loading import load_recipe
from dragoman.training import train as page

recipe, steps, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
taken, real = [], page.take_step

def take_step(run):
    taken.append(1)
    if len(taken) == steps:
        left = [calls]
        def count(frame, event, argument):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(count)
    real(run)

page.take_step = take_step
page.train(load_recipe(recipe), say=print)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    numbers = random.Random(3)
    words = ("".join(numbers.choices("abcdef", k=numbers.randint(1, 7))) for _ in range(150))
    (folder / "pairs.tsv").write_text("".join(f"{word}\t{word[::-1]}\n" for word in words))
    write_sounds(folder)
    write_waves(folder)
    return folder


def write_sounds(folder):
    """Noise of several lengths and what it is called."""
    soundfile = pytest.importorskip("soundfile")
    draw = np.random.default_rng(3)
    rows = ["file\ttext\n"]
    for number in range(60):
        soundfile.write(folder / f"{number}.wav", 0.1 * draw.standard_normal(600 + 20 * number), 4000)
        rows.append(f"{number}.wav\t{'ab' * (1 + number % 3)}\n")
    (folder / "sounds.tsv").write_text("".join(rows))


def write_waves(folder):
    rows = [f"w{n},{math.sin(0.3 * n + step / (2 + n)):.4f}\n" for n in range(4) for step in range(60)]
    (folder / "waves.csv").write_text("name,value\n" + "".join(rows))


def write_recipe(folder, pair, run, **training):
    """Write the recipe file of a run of one of PAIRS, and return its path."""
    chosen = PAIRS[pair]
    recipe = {
        "run": f"runs/{pair}-{run}",
        "data": chosen.get("data", {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1, "cache": "cache"}),
        "source": chosen["codec"],
        "target": chosen.get("target", chosen["codec"]),
        "model": {"encoder": chosen["encoder"], "decoder": chosen["decoder"]},
        "decoding": chosen.get("decoding", {"method": "greedy", "max_extra": 5}),
        "training": {
            "batch_tokens": 96,
            "max_steps": STEPS,
            "validate_every": 5,
            "checkpoint_every": 4,
            "log_every": 3,
            "schedule": {"kind": "inverse_sqrt", "warmup_steps": 4},
            "device": "cpu",
            "precision": "fp32",
            "threads": 1,
            **chosen["training"],
            **training,
        },
    }
    path = folder / f"{pair}-{run}.yaml"
    path.write_text(json.dumps(recipe, indent=1))
    return path


def quiet(line):
    """Hear nothing."""


def fingerprint(bundle):
    digest = hashlib.sha256()
    for name, tensor in sorted(weights_of(bundle.model).items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def story(recipe):
    """The log without what a clock says."""
    kept = [
        line for line in read_log(Path(recipe.run) / "log.jsonl") if line["kind"] in ("train", "validation")
    ]
    return [{name: value for name, value in line.items() if "second" not in name} for line in kept]


@pytest.mark.parametrize("pair", PAIRS)
def test_killed_twice_it_ends_with_the_same_bits(folder, pair):
    straight = load_recipe(write_recipe(folder, pair, "straight"))
    expected = fingerprint(train(straight, say=quiet))

    path = write_recipe(folder, pair, "killed")
    killed = load_recipe(path)
    instants = random.Random(pair)
    for steps in (instants.randint(5, 9), instants.randint(2, 9)):
        command = [sys.executable, "-c", KILLED_INSIDE_A_STEP_OR_A_SAVE, str(path), str(steps)]
        done = subprocess.run(
            [*command, str(instants.randint(1, 6000))], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert list((Path(killed.run) / "checkpoints").glob("step-*[0-9]"))

    lines = []
    assert fingerprint(train(killed, say=lines.append)) == expected
    assert any("going on from the checkpoint of step" in line for line in lines)
    assert story(killed) == story(straight)
    assert len([1 for line in read_log(Path(killed.run) / "log.jsonl") if line["kind"] == "start"]) == 1


def test_a_flipped_byte_costs_one_checkpoint_and_no_bit(folder):
    pair = "lstm-lstm"
    path = write_recipe(folder, pair, "flipped")
    straight = load_recipe(write_recipe(folder, pair, "unflipped"))
    expected = fingerprint(train(straight, say=quiet))
    command = [sys.executable, "-c", KILLED_INSIDE_A_STEP_OR_A_SAVE, str(path), "11", "50"]
    subprocess.run(command, capture_output=True, check=False)
    recipe = load_recipe(path)
    newest = Path(recipe.run) / "checkpoints" / "step-00000008" / "optimizer.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    lines = []
    assert fingerprint(train(recipe, say=lines.append)) == expected
    assert any("DAMAGED" in line and str(newest) in line for line in lines)
    assert any("going on from the checkpoint of step 4" in line for line in lines)


def test_terminated_it_saves_says_how_to_go_on_and_exits_with_4(folder):
    pair = "gru-transformer"
    path = write_recipe(folder, pair, "terminated", max_steps=100_000, log_every=1)
    recipe = load_recipe(path)
    log = Path(recipe.run) / "log.jsonl"
    command = [sys.executable, "-m", "dragoman", "train"]
    process = subprocess.Popen(
        [*command, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(line["kind"] == "train" for line in read_log(log)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    second = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert f"process {process.pid} trains in this folder already" in second.stderr
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 4
    written = Path(recipe.run) / "recipe.yaml"
    assert f"dragoman train {written}" in told

    stopped = read_log(log)[-1]
    assert (stopped["kind"], stopped["reason"]) == ("stop", "SIGTERM")
    steps = stopped["step"] + 3
    continued = train(load_recipe(written, [f"training.max_steps={steps}"]), say=quiet)
    straight = load_recipe(write_recipe(folder, pair, "never", max_steps=steps, log_every=1))
    assert fingerprint(continued) == fingerprint(train(straight, say=quiet))
    assert story(load_recipe(written)) == story(straight)
