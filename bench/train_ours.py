"""Train the benchmark's model with dragoman, and print how fast that went.

    python bench/train_ours.py WORK {fp32,bf16} UPDATES [KEY=VALUE]...

Runs `dragoman train` with `transformer.yaml`, or with the recipe `recipe=FILE`, on the text of `corpus.py`.
Prints a line of JSON as `train_others.py` does; the rate is over all steps of `log.jsonl` but the first
quarter.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

UNCOUNTED_SHARE = 4
"""One step in so many, the first ones, does not count."""


def main(work: Path, precision: str, updates: int, overrides: list[str]) -> None:
    """Train and print the figures."""
    shutil.rmtree(work / "ours", ignore_errors=True)
    recipes = [Path(text.removeprefix("recipe=")) for text in overrides if text.startswith("recipe=")]
    command = [
        Path(sys.executable).with_name("dragoman"),
        "train",
        recipes[0] if recipes else Path(__file__).with_name("transformer.yaml"),
        f"data.folder={work}",
        f"run={work / 'ours'}",
        f"training.precision={precision}",
        f"training.max_steps={updates}",
        f"training.validate_every={updates}",
        f"training.checkpoint_every={updates}",
        "training.log_every=1",
        *(text for text in overrides if not text.startswith("recipe=")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"dragoman failed:\n{done.stderr[-4000:]}")
    lines = [json.loads(line) for line in (work / "ours" / "log.jsonl").open(encoding="utf-8")]
    trained = [line for line in lines if line["kind"] == "train"]
    uncounted = max(1, updates // UNCOUNTED_SHARE)
    before, counted = trained[uncounted - 1], trained[uncounted:]
    tokens = counted[-1]["tokens_seen"] - before["tokens_seen"]
    print(
        json.dumps(
            {
                "tokens_per_second": tokens / (counted[-1]["seconds"] - before["seconds"]),
                "updates": updates,
                "tokens_per_update": tokens / (counted[-1]["step"] - before["step"]),
                "loss": counted[-1]["loss"],
                "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
