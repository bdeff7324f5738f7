"""A task that a tiny model trains on in a second: writing words backwards."""

import random

import pytest

from dragoman.recipe.loading import recipe_from


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A folder with pairs and, after the first run, their prepared store."""
    folder = tmp_path_factory.mktemp("words")
    numbers = random.Random(3)
    words = ("".join(numbers.choices("abcdef", k=numbers.randint(1, 7))) for _ in range(300))
    (folder / "pairs.tsv").write_text("".join(f"{word}\t{word[::-1]}\n" for word in words))
    return folder


@pytest.fixture
def recipe_of(words, tmp_path):
    """Make a recipe whose run lies in the test's own folder; what is given changes `training`."""

    def make(run="run", data=None, evaluation=None, seed=1, **training):
        part = {"kind": "gru", "width": 8, "dropout": 0.2}
        return recipe_from(
            {
                "run": str(tmp_path / run),
                "seed": seed,
                "data": {
                    "train": [{"file": "pairs.tsv"}],
                    "held_out_dev": 0.1,
                    "cache": "cache",
                    **(data or {}),
                },
                "source": {"kind": "characters"},
                "target": {"kind": "characters"},
                "model": {"encoder": part, "decoder": {**part, "attention": {"kind": "dot"}}},
                "evaluation": evaluation or {},
                "decoding": {"method": "greedy"},
                "training": {
                    "batch_tokens": 64,
                    "max_steps": 6,
                    "validate_every": 3,
                    "checkpoint_every": 2,
                    "log_every": 1,
                    "schedule": {"kind": "constant"},
                    "precision": "fp32",
                    "device": "cpu",
                    "threads": 1,
                    **training,
                },
            },
            folder=words,
        )

    return make
