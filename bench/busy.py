"""How much a step suffers where another program wants a core too, by how long threads wait awake.

    python bench/busy.py WORK [UPDATES]

Trains as `train_ours.py` does, in bf16, on the text of `corpus.py`: alone and beside a process that is always
busy, with the number of looks of GNU's OpenMP by default and with the one that `dragoman` sets. Prints target
tokens a second; two rounds in turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dragoman.__main__ import SPINS

BY_DEFAULT = "300000"
"""What GNU's OpenMP takes where there are as many cores as threads."""
ROUNDS = 2


def main(work: Path, updates: str) -> None:
    """Measure and print."""
    for _ in range(ROUNDS):
        for spins in (BY_DEFAULT, SPINS[1]):
            for is_busy in (False, True):
                rate = _beside_another(work, updates, spins) if is_busy else _trained(work, updates, spins)
                print(
                    f"{spins:>7} looks, {'busy' if is_busy else 'alone'}: {rate:,.0f} tokens a second",
                    flush=True,
                )


def _beside_another(work: Path, updates: str, spins: str) -> float:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        return _trained(work, updates, spins)
    finally:
        busy.kill()
        busy.wait()


def _trained(work: Path, updates: str, spins: str) -> float:
    script = Path(__file__).with_name("train_ours.py")
    done = subprocess.run(
        [sys.executable, script, work, "bf16", updates],
        env=os.environ | {SPINS[0]: spins},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout)["tokens_per_second"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "20")
