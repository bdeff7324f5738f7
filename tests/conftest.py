"""Settings that every test shares: one thread, so that results repeat and two tests can run side by side."""

import os

# Tests start processes of their own; two jobs of two threads each would wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

import dragoman


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


SMALL = {"encoder": {"kind": "gru", "width": 8}, "decoder": {"kind": "gru", "width": 8}}
FEW_STEPS = {"max_steps": 2, "validate_every": 2, "checkpoint_every": 2, "threads": 1, "precision": "fp32"}


def train_few_steps(folder, **sections):
    """Train a small model for hardly any time, and return its run's folder."""
    recipe = {"run": str(folder / "run"), "model": SMALL, "training": FEW_STEPS, **sections}
    dragoman.train(dragoman.recipe_from(recipe, folder))
    return folder / "run"


@pytest.fixture(scope="session")
def speech_run(tmp_path_factory):
    """A run of speech to text; its sound files lie in `sounds` beside it."""
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("speech")
    (folder / "sounds").mkdir()
    rows = ["file\ttext\n"]
    for number in range(12):
        times = np.arange(2000 + 100 * number) / 8000
        samples = 0.3 * np.sin(2 * np.pi * (300 + 100 * number) * times)
        soundfile.write(folder / "sounds" / f"{number}.wav", samples, 8000)
        rows.append(f"sounds/{number}.wav\ttone {number % 3}\n")
    folder.joinpath("list.tsv").write_text("".join(rows), "utf-8")
    return train_few_steps(
        folder,
        data={"train": [{"manifest": "list.tsv"}], "dev": {"manifest": "list.tsv"}, "cache": "cache"},
        source={"kind": "speech", "sample_rate_hz": 8000, "mel_bins": 12},
        target={"kind": "words"},
        decoding={"method": "beam", "beam": 2, "max_length": 4},
    )


@pytest.fixture(scope="session")
def series_run(tmp_path_factory):
    """A run of two hourly series with a calendar; `hours.csv` lies beside it."""
    folder = tmp_path_factory.mktemp("series")
    draw = np.random.default_rng(5)
    times = np.datetime64("2021-05-01T00", "m") + 60 * np.arange(60)
    lines = ["name,time,load\n"]
    for name in ("north", "south"):
        values = 50 + 10 * draw.standard_normal(len(times))
        lines += [f"{name},{time},{value:.3f}\n" for time, value in zip(times, values, strict=True)]
    folder.joinpath("hours.csv").write_text("".join(lines), "utf-8")
    files = {"series": "hours.csv", "id": "name", "time": "time"}
    return train_few_steps(
        folder,
        data={
            "train": [{**files, "part": [None, 40]}],
            "dev": {**files, "part": [40, 50]},
            "test": {**files, "part": [50, None]},
            "windows": {"context": 8, "horizon": 4},
        },
        source={"kind": "numbers", "calendar": ["hour"]},
        target={"kind": "numbers", "season": 4},
        training=FEW_STEPS | {"objective": {"kind": "gaussian"}},
        decoding={"method": "forecast", "samples": 20, "quantiles": [0.1, 0.9]},
        evaluation={"metrics": ["mae", "mase", "crps"], "bootstrap_samples": 100},
    )
