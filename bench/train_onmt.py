"""Train the benchmark's LSTM with OpenNMT-py, and print how fast that went.

    python bench/train_onmt.py WORK {0,1} UPDATES

Runs `onmt_train` of this Python's environment in float32, all it knows on a CPU, on the text of `corpus.py`,
without (0) or with (1) input feeding, its default. Prints a line of JSON as `train_eole.py` does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from train_eole import BATCH, REPORT_EVERY, figures, write_vocabulary


def main(work: Path, input_feed: int, updates: int) -> None:
    """Train and print the figures."""
    folder = work / "onmt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_vocabulary(work, folder)
    (folder / "config.json").write_text(json.dumps(_config(work, folder, input_feed, updates)))
    print(json.dumps(figures("onmt_train", ["-config", folder / "config.json"], updates, dict(os.environ))))


def _config(work: Path, folder: Path, input_feed: int, updates: int) -> dict[str, object]:
    """Return options; their file is YAML, of which JSON is a part."""
    return {
        "seed": 1,
        "report_every": REPORT_EVERY,
        "data": {"corpus": {"path_src": str(work / "train.en"), "path_tgt": str(work / "train.de")}},
        "src_vocab": str(folder / "vocabulary"),
        "tgt_vocab": str(folder / "vocabulary"),
        "share_vocab": True,
        "vocab_size_multiple": 8,
        "save_model": str(folder / "model"),
        "train_steps": updates,
        "valid_steps": 10**6,
        "save_checkpoint_steps": 10**6,
        "batch_type": "tokens",
        "normalization": "tokens",
        "batch_size": BATCH,
        "bucket_size": 262144,
        "num_workers": 0,
        "optim": "adam",
        "learning_rate": 3e-4,
        "max_grad_norm": 1.0,
        "label_smoothing": 0.1,
        "dropout": [0.1],
        "encoder_type": "brnn",
        "decoder_type": "rnn",
        "rnn_type": "LSTM",
        "layers": 1,
        "hidden_size": 512,
        "word_vec_size": 512,
        "global_attention": "general",
        "input_feed": input_feed,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
