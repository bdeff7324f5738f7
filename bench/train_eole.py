"""Train a model of the benchmark with eole, and print how fast that went.

    python bench/train_eole.py WORK {transformer,lstm} {fp32,bf16} UPDATES [LIBRARY]

Runs `eole train` of this Python's environment on the text of `corpus.py`; the batch size in eole's padded
tokens is set so that an update has about 4,096 real target tokens. `LIBRARY` is preloaded (tcmalloc). Prints
a line of JSON as `train_others.py` does; the rate is over all updates but the first quarter, from eole's own
report of each.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

REPORT_EVERY = 1
UNCOUNTED_SHARE = 4
"""One update in so many, the first ones, does not count."""
BATCH = 4400
REPORT = re.compile(r"xent: *([\d.]+).*bsz: *\d+/ *(\d+)/.*/ *(\d+) tok/s")


def main(work: Path, kind: str, precision: str, updates: int, library: str | None) -> None:
    """Train and print the figures."""
    folder = work / "eole"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = {
        **_places(work, folder),
        "training": _training(folder, precision, updates),
        "model": {"transformer": _transformer, "lstm": _lstm}[kind](),
    }
    (folder / "config.json").write_text(json.dumps(config))
    environment = {**os.environ, **({"LD_PRELOAD": library} if library else {})}
    print(json.dumps(figures("eole", ["train", "--config", folder / "config.json"], updates, environment)))


def figures(
    program: str, arguments: list[str | Path], updates: int, environment: dict[str, str]
) -> dict[str, float]:
    """Run a trainer of this environment and return what its reports say: real target tokens a second."""
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    reports = [
        (float(loss), float(tokens), float(rate))
        for loss, tokens, rate in (match.groups() for match in REPORT.finditer(said))
    ][max(1, updates // UNCOUNTED_SHARE) :]
    if done.returncode or not reports:
        sys.exit(f"{program} failed:\n{said[-4000:]}")
    tokens = sum(tokens for _, tokens, _ in reports)
    return {
        "tokens_per_second": tokens / sum(tokens / rate for _, tokens, rate in reports),
        "updates": updates,
        "tokens_per_update": tokens / len(reports),
        "loss": reports[-1][0],
        "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def write_vocabulary(work: Path, folder: Path) -> None:
    """Write the pieces with made-up counts that keep their order."""
    pieces = (work / "vocabulary").read_text("utf-8").splitlines()
    lines = "".join(f"{piece}\t{len(pieces) - rank}\n" for rank, piece in enumerate(pieces))
    (folder / "vocabulary").write_text(lines, encoding="utf-8")


def _places(work: Path, folder: Path) -> dict[str, object]:
    write_vocabulary(work, folder)
    return {
        "seed": 1,
        "overwrite": True,
        "report_every": REPORT_EVERY,
        "data": {"corpus": {"path_src": str(work / "train.en"), "path_tgt": str(work / "train.de")}},
        "transforms": [],
        "src_vocab": str(folder / "vocabulary"),
        "tgt_vocab": str(folder / "vocabulary"),
        "share_vocab": True,
        "vocab_size_multiple": 8,
    }


def _training(folder: Path, precision: str, updates: int) -> dict[str, object]:
    return {
        "model_path": str(folder / "model"),
        "train_steps": updates,
        "valid_steps": 10**6,
        "save_checkpoint_steps": 10**6,
        "batch_type": "tokens",
        "normalization": "tokens",
        "batch_size": BATCH,
        "bucket_size": 262144,
        "num_workers": 0,
        "compute_dtype": precision,
        "optim": "adamw",
        "learning_rate": 3e-4,
        "decay_method": "none",
        "max_grad_norm": 1.0,
        "label_smoothing": 0.1,
        "dropout": [0.1],
        "attention_dropout": [0.0],
        "world_size": 0,
        "gpu_ranks": [],
    }


def _transformer() -> dict[str, object]:
    return {
        "architecture": "transformer",
        "hidden_size": 256,
        "layers": 3,
        "transformer_ff": 1024,
        "heads": 4,
        "share_embeddings": True,
        "share_decoder_embeddings": True,
        "embeddings": {"word_vec_size": 256, "position_encoding_type": "SinusoidalInterleaved"},
    }


def _lstm() -> dict[str, object]:
    return {
        "architecture": "custom",  # its `rnn` knows no bidirectional encoder
        "hidden_size": 512,
        "layers": 1,
        "input_feed": 0,
        "encoder": {"encoder_type": "brnn", "rnn_type": "LSTM", "layers": 1, "hidden_size": 512},
        "decoder": {
            "decoder_type": "rnn",
            "rnn_type": "LSTM",
            "layers": 1,
            "hidden_size": 512,
            "global_attention": "general",
            "bidirectional_encoder": True,
        },
        "embeddings": {"word_vec_size": 512},
    }


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        sys.argv[2],
        sys.argv[3],
        int(sys.argv[4]),
        sys.argv[5] if len(sys.argv) > 5 else None,
    )
