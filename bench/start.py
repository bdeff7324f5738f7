"""What it costs to start: the help, one answer, and the first step of a training, each in a fresh process.

    python bench/start.py MULTI30K RUN [ROUNDS]

Seconds from the command to the end of `dragoman --help`; to the end of `dragoman predict RUN` on one line;
and to the line of the first step in the log of `dragoman train recipes/multi30k-en-de.yaml` on the raw files,
preparing them included. What is kept between calls lies in a cache of its own (XDG_CACHE_HOME), emptied
before each round: `the very first time` finds nothing there; `empty cache` finds the kernels that were
compiled on this machine, but no prepared data; `prepared before` finds both. Prints a line of JSON: for each
the seconds on the wall and the seconds that the processors worked, a value a round, and the mark to stay
under, where there is one.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
SENTENCE = "A man in a blue shirt is standing on a ladder cleaning a window.\n"
MARKS = {
    "dragoman --help": 0.5,
    "predict, one line": 4.0,
    "first training step, empty cache": 10.0,
}
LONGEST_WAIT = 300
Figures = dict[str, list[float]]


def main(multi30k: Path, run: Path, rounds: int) -> None:
    """Measure everything in turns and print it."""
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache, recipe = folder / "cache", ROOT / "recipes" / "multi30k-en-de.yaml"

        def answer() -> None:
            _dragoman(cache, "predict", str(run), given=SENTENCE)

        def first_step() -> None:
            _until_first_step(cache, recipe, multi30k, folder / "run")

        _dragoman(cache, "--help")  # files that were never read come from the disk; that is not ours
        for _ in range(rounds):
            shutil.rmtree(cache, ignore_errors=True)
            _note(found, "dragoman --help", lambda: _dragoman(cache, "--help"))
            _note(found, "predict, one line, the very first time", answer)
            _note(found, "predict, one line", answer)
            shutil.rmtree(cache, ignore_errors=True)
            _note(found, "first training step, the very first time", first_step)
            _keep_kernels(cache)
            _note(found, "first training step, empty cache", first_step)
            _note(found, "first training step, prepared before", first_step)
    marked = {
        name: {**figures, **({"mark": MARKS[name]} if name in MARKS else {})}
        for name, figures in found.items()
    }
    print(json.dumps(marked))


def _note(found: dict[str, Figures], name: str, call: Callable[[], None]) -> None:
    """Add the seconds of a call, and those of the processors in its processes."""
    worked, start = _worked(), time.perf_counter()
    call()
    figures = found.setdefault(name, {"seconds": [], "processor_seconds": []})
    figures["seconds"].append(time.perf_counter() - start)
    figures["processor_seconds"].append(_worked() - worked)


def _worked() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("dragoman")), *arguments]


def _dragoman(cache: Path, *arguments: str, given: str = "") -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        _command(*arguments), input=given, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"dragoman {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")


def _until_first_step(cache: Path, recipe: Path, multi30k: Path, run: Path) -> None:
    """Train until the log has the first step, then end the process."""
    shutil.rmtree(run, ignore_errors=True)
    changes = [f"data.folder={multi30k}", f"run={run}", "training.log_every=1"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    said = run.with_name("said")
    with said.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            _command("train", str(recipe), *changes), env=environment, stdout=out, stderr=out
        )
    try:
        start = time.perf_counter()
        while not _has_stepped(run / "log.jsonl"):
            if process.poll() is not None or time.perf_counter() - start > LONGEST_WAIT:
                sys.exit(f"no first step:\n{said.read_text('utf-8')[-4000:]}")
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def _has_stepped(log: Path) -> bool:
    return log.exists() and '"kind": "train"' in log.read_text("utf-8")


def _keep_kernels(cache: Path) -> None:
    """Empty the cache of all but compiled kernels."""
    for path in (cache / "dragoman").glob("*"):
        if path.name != "native":
            shutil.rmtree(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
