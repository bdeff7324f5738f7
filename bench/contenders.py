"""Who is measured, and how: the Python, program and arguments of each, by its name on the page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENTS = {
    "field": [["torch==2.13.0", "transformers==5.23.0", "ctranslate2==4.8.5", "sentencepiece"]],
    "eole": [["torch==2.13.0", "eole", "aiohttp"]],
    # OpenNMT-py asks for a torch before 2.3, but trains with this one; so it comes without what it asks for.
    "onmt": [
        ["torch==2.13.0"],
        ["--no-deps", "OpenNMT-py==3.5.1"],
        ["configargparse", "ctranslate2==4.8.5", "tensorboard", "flask", "waitress", "pyonmttok", "pyyaml"],
        ["sacrebleu", "rapidfuzz", "pyahocorasick", "fasttext-wheel", "spacy", "six"],
    ],
}
"""For each environment what its pip installs, in this order."""
TCMALLOC = Path("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4")
HERE = Path(__file__).parent
Contenders = dict[str, list[Any]]


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds in which contenders take turns, and updates or seconds a measurement."""

    rounds: int
    transformer_updates: dict[str, int]
    lstm_updates: dict[str, int]
    fed_updates: int
    """Of LSTMs with input feeding, which are slow."""
    seconds: int
    start_rounds: int
    sentences: int
    sizes: tuple[int, ...]
    """Pairs of the corpora whose memory is measured."""


WHOLE = Effort(
    rounds=3,
    transformer_updates={"bf16": 16, "fp32": 10},
    lstm_updates={"bf16": 8, "fp32": 6},
    fed_updates=3,
    seconds=12,
    start_rounds=3,
    sentences=1014,
    sizes=(100_000, 1_000_000, 10_000_000),
)
QUICK = Effort(
    rounds=1,
    transformer_updates={"bf16": 3, "fp32": 3},
    lstm_updates={"bf16": 3, "fp32": 3},
    fed_updates=2,
    seconds=2,
    start_rounds=1,
    sentences=24,
    sizes=(10_000, 20_000),
)


def python_of(work: Path, name: str) -> str:
    """Return the Python of an environment."""
    return str(work / name / "bin" / "python")


def training(work: Path, effort: Effort) -> Contenders:
    """Name those that train the Transformer."""
    corpus, field, eole = work / "corpus", python_of(work, "field"), python_of(work, "eole")
    contenders: Contenders = {}
    for precision, updates in effort.transformer_updates.items():
        contenders[f"dragoman, {precision}"] = [sys.executable, "train_ours.py", corpus, precision, updates]
        contenders[f"eole, {precision}"] = [eole, "train_eole.py", corpus, "transformer", precision, updates]
        for kind, name in (("huggingface", "Hugging Face, Marian type"), ("torch", "plain PyTorch")):
            contenders[f"{name}, {precision}"] = [
                field,
                "train_others.py",
                kind,
                corpus,
                precision,
                effort.seconds,
            ]
    if TCMALLOC.exists():
        updates = effort.transformer_updates["bf16"]
        contenders["eole with tcmalloc, bf16"] = [
            *(eole, "train_eole.py", corpus, "transformer", "bf16", updates),
            TCMALLOC,
        ]
    return contenders


def lstm(work: Path, effort: Effort) -> Contenders:
    """Name those that train the LSTM, without and with input feeding."""
    corpus, eole, onmt = work / "corpus", python_of(work, "eole"), python_of(work, "onmt")
    recipe, fed = f"recipe={HERE / 'lstm.yaml'}", "model.decoder.input_feeding=true"
    contenders: Contenders = {}
    for precision, updates in effort.lstm_updates.items():
        ours = [sys.executable, "train_ours.py", corpus, precision, updates, recipe]
        contenders[f"dragoman, {precision}"] = ours
        contenders[f"eole, {precision}"] = [eole, "train_eole.py", corpus, "lstm", precision, updates]
    contenders["OpenNMT-py, fp32"] = [onmt, "train_onmt.py", corpus, 0, effort.lstm_updates["fp32"]]
    contenders["dragoman, input feeding, fp32"] = [
        *(sys.executable, "train_ours.py", corpus, "fp32", effort.fed_updates, recipe),
        fed,
    ]
    contenders["OpenNMT-py, input feeding, fp32"] = [onmt, "train_onmt.py", corpus, 1, effort.fed_updates]
    return contenders


def decoding(work: Path, run: Path) -> Contenders:
    """Name those that decode."""
    folder, field = work / "decoding", python_of(work, "field")
    contenders: Contenders = {}
    for beam, way in ((5, "beam 5"), (1, "greedy")):
        for ours, theirs in (("int8", "int8"), ("fp32", "float32")):
            contenders[f"dragoman, {ours}, {way}"] = [
                *(sys.executable, "decode_ours.py", run, folder, ours, beam)
            ]
            contenders[f"CTranslate2, {ours}, {way}"] = [
                *(field, "decode_ctranslate2.py", folder, theirs, beam)
            ]
        contenders[f"Hugging Face generate, fp32, {way}"] = [field, "decode_huggingface.py", folder, beam]
    return contenders
