"""Memory and the wait for the first batch, against the size of a corpus that is made up.

    python bench/memory.py [--text | --store] [--folder FOLDER] 100000 1000000

Each size runs in processes of its own. `--text` (the default) writes a raw file and prepares it as training
does. `--store` leaves the text out, whose reading and cutting would take most of an hour for ten million
pairs: the project's own writer puts pairs into a store whose sentences, 4,096 different ones in turns, were
encoded before. Then a fresh process opens what was written and draws batches. Prints a line of JSON a size:
pairs, MiB on the disk, seconds to write, seconds from an opened store to the first batch of an epoch, MiB of
memory resident at most while writing and while drawing 300 batches, what of the latter is no page of a file,
and what a process needs for its imports. Pages of mapped files that were touched count as resident too; the
system takes them back when it wants.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAIR_WORDS = 12
DRAWN_BATCHES = 300
DIFFERENT = 4096
VOCABULARY = 3000


class Remembering:
    """A codec that encodes each value once."""

    def __init__(self, codec: Any) -> None:
        self.port = codec.port
        self._codec = codec
        self._known: dict[str, Any] = {}

    def encode(self, value: str, seed: int | None = None) -> Any:
        """Return the ids of a value."""
        if value not in self._known:
            self._known[value] = self._codec.encode(value, seed)
        return self._known[value]


def write(folder: Path, pairs: int, road: str) -> dict[str, float]:
    """Prepare a corpus by one of the roads and return what that took."""
    from dragoman.data.prepare import prepare

    at_start = _peak_mib()
    is_text = road == "text"
    write_pairs(folder / "pairs.tsv", pairs if is_text else DIFFERENT)
    start = time.perf_counter()
    prepared = prepare(_recipe(folder), None)
    if not is_text:
        start = time.perf_counter()
        _write_store(folder, pairs, prepared.codecs)
    seconds = time.perf_counter() - start
    return {"write_seconds": seconds, "write_peak_mib": _peak_mib(), "imports_mib": at_start}


def _write_store(folder: Path, pairs: int, codecs: Any) -> None:
    from dragoman.data.codec import Codecs
    from dragoman.data.rejects import Rejects
    from dragoman.data.store_writing import write_store
    from dragoman.records import Example, Origin

    lines = (folder / "pairs.tsv").read_text("utf-8").splitlines()
    sentences = [tuple(line.split("\t")) for line in lines]

    def examples() -> Iterator[tuple[int, Example]]:
        for number in range(pairs):
            source, target = sentences[number % len(sentences)]
            yield 0, Example(source, (target,), "", Origin("pairs.tsv", number + 1))

    remembering: Any = Codecs(Remembering(codecs.source), Remembering(codecs.target))
    write_store(folder / "store", examples(), remembering, _recipe(folder), Rejects())


def draw(folder: Path, road: str) -> dict[str, float]:
    """Open what was written, draw batches, and return what that took."""
    from dragoman.data.batching import BatchStream
    from dragoman.data.prepare import prepare
    from dragoman.data.store import open_store

    recipe = _recipe(folder)
    prepared = prepare(recipe, None)
    store = prepared.train if road == "text" else open_store(folder / "store")
    size = sum(path.stat().st_size for path in store.folder.iterdir()) / 2**20
    stream = BatchStream(store, prepared.codecs, recipe, 4096, sampling=False)
    start = time.perf_counter()
    batches = stream.iterate()
    next(batches)
    first_after = time.perf_counter() - start
    for _ in range(DRAWN_BATCHES):
        next(batches)
    return {
        "store_mib": size,
        "first_batch_seconds": first_after,
        "draw_peak_mib": _peak_mib(),
        "draw_own_mib": _own_mib(),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _own_mib() -> float:
    """Return what is resident now without pages of files, where the system tells (Linux); else the peak."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("RssAnon:"):
            return float(line.split()[1]) / 1024
    return _peak_mib()


def _recipe(folder: Path) -> Any:
    from dragoman.recipe.loading import recipe_from

    return recipe_from(
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


def write_pairs(path: Path, pairs: int) -> None:
    """Write made-up pairs of a few thousand words."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(VOCABULARY)]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(pairs):
            text = rng.choices(words, k=rng.randint(2, 2 * PAIR_WORDS))
            file.write(f"{' '.join(text)}\t{' '.join(reversed(text))}\n")


def measure(pairs: int, road: str, folder: Path | None) -> dict[str, Any]:
    """Write and draw in a process each, in a folder that is deleted afterwards."""
    found: dict[str, Any] = {"pairs": pairs, "road": road}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for step in ("write", "draw"):
            command = [sys.executable, __file__, f"--{road}", "--step", step, "--folder", name, str(pairs)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.update(json.loads(done.stdout))
    return found


def main() -> None:
    """Read the arguments; measure, or be one of the processes that do."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", dest="road", action="store_const", const="text", default="text")
    parser.add_argument("--store", dest="road", action="store_const", const="store")
    parser.add_argument("--folder", type=lambda name: Path(name).resolve())
    parser.add_argument("--step", choices=["write", "draw"])
    parser.add_argument("pairs", type=int, nargs="*", default=[50_000, 500_000])
    given = parser.parse_args()
    if given.step == "write":
        print(json.dumps(write(given.folder, given.pairs[0], given.road)))
    elif given.step == "draw":
        print(json.dumps(draw(given.folder, given.road)))
    else:
        for pairs in given.pairs:
            print(json.dumps(measure(pairs, given.road, given.folder)), flush=True)


if __name__ == "__main__":
    main()
