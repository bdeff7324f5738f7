"""What tests of explanations share: figures as they are drawn, and tiny fresh models of all kinds."""

import json

import numpy as np
import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs, ports_of
from dragoman.model.build import build_model
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example, Recording, Series


@pytest.fixture
def drawn(monkeypatch):
    """The figures saved in a test, in order; the files are written too."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig

    def keep(figure, *arguments, **options):
        save(figure, *arguments, **options)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.fixture
def log(tmp_path):
    """The log of a short run."""
    rows = [
        {"kind": "start", "step": 0},
        {"kind": "train", "step": 10, "loss": 3.0},
        {"kind": "train", "step": 20, "loss": 2.0},
        {"kind": "validation", "step": 20, "loss": 2.5, "metrics": {"bleu": 11.0}, "is_best": True},
        {"kind": "train", "step": 30, "loss": 1.0},
        {"kind": "validation", "step": 30, "loss": 2.7, "metrics": {"bleu": 10.0}, "is_best": False},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


WORDS = ["ein", "kleiner", "Hund", "sieht", "die", "Katze", "und", "läuft"]
TEXTS = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 5)) for i in range(1, 30)]


@pytest.fixture(scope="session")
def made():
    """Make a bundle with a fresh float64 model: characters to characters with GRUs, or what sections say."""

    def make(examples=None, double=True, **sections):
        examples = examples or [Example(text, (text.upper(),)) for text in TEXTS]
        small = {"kind": "gru", "width": 8}
        recipe = recipe_from(
            {
                "run": "run",
                "data": {"train": [{"file": "made.tsv"}], "held_out_dev": 0.1},
                "source": {"kind": "characters"},
                "target": {"kind": "characters"},
                "model": {"encoder": small, "decoder": small},
                "training": {"max_steps": 1, **sections.pop("training", {})},
                "decoding": {"method": "greedy", "max_length": 5},
                "evaluation": {"metrics": ["exact_match"]},
                **sections,
            }
        )
        codecs = learn_codecs(recipe, lambda: examples)
        torch.manual_seed(1)
        model = build_model(recipe.model, *ports_of(recipe, codecs), recipe.training.objective).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.5)  # so that it depends on its source
        return Bundle(recipe, codecs, model.double() if double else model)

    return make


@pytest.fixture(scope="session")
def series_made(made):
    """Make a bundle of hourly numbers, and an example of it; `model` and `source` may say more."""

    def make(model=None, source=None, context=6, horizon=4, variables=2):
        draw = np.random.default_rng(0)
        times = np.datetime64("2021-05-01T00", "m") + 60 * np.arange(context + horizon)
        names = tuple(f"v{number}" for number in range(variables))
        past, coming = draw.normal(3, 2, (context, variables)), draw.normal(3, 2, (horizon, variables))
        example = Example(Series(past, names, "shop", times), (Series(coming, names, "shop"),))
        lstm = {"kind": "lstm", "width": 8}
        bundle = made(
            [example],
            data={
                "train": [{"series": "made.csv", "part": [None, -10]}],
                "dev": {"series": "made.csv", "part": [-10, None]},
                "windows": {"context": context, "horizon": horizon},
            },
            source={"kind": "numbers", "scale": "window", **(source or {})},
            target={"kind": "numbers", "scale": "window"},
            model={"encoder": lstm, "decoder": lstm, **(model or {})},
            training={"objective": {"kind": "gaussian"}},
            decoding={"method": "forecast"},
            evaluation={"metrics": ["mse"]},
        )
        return bundle, example

    return make


@pytest.fixture(scope="session")
def speech_made(made):
    """Make a bundle of speech to words, and an example of it; `decoder` None is CTC alone."""

    def make(decoder, **source):
        draw = np.random.default_rng(0)
        samples = (0.1 * draw.standard_normal(4000)).astype(np.float32)
        examples = [Example(Recording(samples, 8000), (text,)) for text in ("one two", "two", "two two")]
        transformer = {"kind": "transformer", "width": 8, "layers": 1, "heads": 2}
        method = "ctc_beam" if decoder is None else "greedy"
        bundle = made(
            examples,
            data={"train": [{"manifest": "made.tsv"}], "held_out_dev": 0.1},
            source={"kind": "speech", "sample_rate_hz": 8000, "mel_bins": 12, **source},
            target={"kind": "words"},
            model={"encoder": transformer, "decoder": decoder or {"kind": "none"}, "frontend": {}},
            training={"objective": {"kind": "ctc" if decoder is None else "cross_entropy"}},
            decoding={"method": method} | ({} if decoder is None else {"max_length": 5}),
            double=False,
        )
        return bundle, examples[0]

    return make
