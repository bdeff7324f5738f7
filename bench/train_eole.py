"""Train the benchmark's model with eole, and print how fast that went.

    python bench/train_eole.py WORK {fp32,bf16} UPDATES [LIBRARY]

Runs `eole train` of this Python's environment on the text of `corpus.py`; the batch size in eole's padded
tokens is set so that an update has about 4,096 real target tokens. `LIBRARY` is preloaded (tcmalloc). Prints
a line of JSON as `train_others.py` does; the rate is the median of eole's own reports after the first two.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

REPORT_EVERY = 5
REPORT = re.compile(r"xent: *([\d.]+).*bsz: *\d+/ *(\d+)/.*/ *(\d+) tok/s")


def main(work: Path, precision: str, updates: int, library: str | None) -> None:
    """Train and print the figures."""
    folder = work / "eole"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _write_vocabulary(work, folder)
    (folder / "config.json").write_text(json.dumps(_config(work, folder, precision, updates)))
    environment = dict(os.environ)
    if library:
        environment["LD_PRELOAD"] = library
    program = Path(sys.executable).with_name("eole")
    done = subprocess.run(
        [program, "train", "--config", folder / "config.json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    reports = [match.groups() for match in REPORT.finditer(done.stdout + done.stderr)][2:]
    if done.returncode or not reports:
        sys.exit(f"eole failed:\n{(done.stdout + done.stderr)[-4000:]}")
    print(
        json.dumps(
            {
                "tokens_per_second": statistics.median(float(rate) for _, _, rate in reports),
                "updates": updates,
                "tokens_per_update": statistics.mean(float(tokens) for _, tokens, _ in reports),
                "loss": float(reports[-1][0]),
                "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            }
        )
    )


def _write_vocabulary(work: Path, folder: Path) -> None:
    pieces = (work / "vocabulary").read_text("utf-8").splitlines()
    lines = "".join(f"{piece}\t{len(pieces) - rank}\n" for rank, piece in enumerate(pieces))
    (folder / "vocabulary").write_text(lines, encoding="utf-8")


def _config(work: Path, folder: Path, precision: str, updates: int) -> dict[str, object]:
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
        "training": {
            "model_path": str(folder / "model"),
            "train_steps": updates,
            "valid_steps": 10**6,
            "save_checkpoint_steps": 10**6,
            "batch_type": "tokens",
            "normalization": "tokens",
            "batch_size": 4400,
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
        },
        "model": {
            "architecture": "transformer",
            "hidden_size": 256,
            "layers": 3,
            "transformer_ff": 1024,
            "heads": 4,
            "share_embeddings": True,
            "share_decoder_embeddings": True,
            "embeddings": {"word_vec_size": 256, "position_encoding_type": "SinusoidalInterleaved"},
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
