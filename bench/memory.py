"""Peak resident memory of preparing a corpus and drawing batches from it, against the size of the corpus.

    python bench/memory.py 50000 500000

Each size runs in a process of its own, on pairs that are made up as they are written. Prints one line a size:
pairs, size of the raw file, seconds to prepare, seconds to the first batch of an epoch, and the peak of
resident memory.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIR_WORDS = 12
DRAWN_BATCHES = 300


def measure(pairs: int) -> None:
    """Write a corpus, prepare it, draw batches, and print what that took."""
    from dragoman.data.batching import BatchStream
    from dragoman.data.prepare import prepare
    from dragoman.recipe.loading import recipe_from

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder / "pairs.tsv", pairs)
        recipe = recipe_from(
            {
                "run": str(folder / "run"),
                "data": {
                    "train": [{"file": "pairs.tsv"}],
                    "held_out_dev": 0.001,
                    "cache": str(folder / "cache"),
                },
                "source": {"kind": "words", "size": 4000},
                "target": {"kind": "words", "size": 4000},
                "training": {"max_steps": 1},
            },
            folder,
        )
        start = time.perf_counter()
        prepared = prepare(recipe, None)
        prepared_after = time.perf_counter() - start
        stream = BatchStream(prepared.train, prepared.codecs, recipe, 4096, sampling=False)
        start = time.perf_counter()
        batches = stream.iterate()
        next(batches)
        first_after = time.perf_counter() - start
        for _ in range(DRAWN_BATCHES):
            next(batches)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = (folder / "pairs.tsv").stat().st_size / 2**20
        print(
            f"{pairs:>10,} pairs  {size:7.1f} MiB  prepared in {prepared_after:6.1f} s  "
            f"first batch after {first_after:5.2f} s  peak {peak:6.0f} MiB",
            flush=True,
        )


def write_pairs(path: Path, pairs: int) -> None:
    """Write made-up pairs of a few thousand words."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(3000)]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(pairs):
            text = rng.choices(words, k=rng.randint(2, 2 * PAIR_WORDS))
            file.write(f"{' '.join(text)}\t{' '.join(reversed(text))}\n")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        measure(int(sys.argv[2]))
    else:
        for given in sys.argv[1:] or ["50000", "500000"]:
            subprocess.run([sys.executable, __file__, "--one", given], check=True)
