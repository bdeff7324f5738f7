"""What is drawn, as it is drawn: figures are kept when they are saved."""

import json

import pytest


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
