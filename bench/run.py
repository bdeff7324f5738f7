"""Measure dragoman, alone and beside other toolkits, and write docs/performance.md from it.

    make bench DATA=PATH/multi30k RUN=runs/multi30k-en-de [PARTS=training,start] [QUICK=1]
    python bench/run.py MULTI30K RUN [--parts training,start] [--quick]

Makes an environment for each contender under `.bench` (once), gives all the same text and, for decoding, the
same weights: those of RUN, a Transformer trained by `recipes/multi30k-en-de.yaml`. Contenders take turns, A B
C A B C, so that a machine that slows down slows all of them. The parts: `floor` (floor.py), `training`,
`decoding`, `lstm` (contenders.py), `start` (start.py), `growth` (growth.py, memory.py); before any of them
the peak of the machine's products (peak.py). What was measured goes into `.bench/measured.json` as soon as a
part is done, beside what stands there of other parts, and the page and its pictures are written from that.
Leave the
machine alone while it runs: about three quarters of an hour on two cores.

`--quick` tries every program in minutes, with figures that mean nothing: it writes
`.bench/quick/measured.json` and a page beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import contenders
import sacrebleu
from contenders import ENVIRONMENTS, QUICK, WHOLE, Contenders, Effort, python_of
from report import MARK, write_page

HERE = Path(__file__).parent
ROOT = HERE.parent
WORK = ROOT / ".bench"
PARTS = ("floor", "training", "decoding", "lstm", "start", "growth")
NEEDED = {"training": ["field", "eole"], "decoding": ["field"], "lstm": ["eole", "onmt"]}
"""The environments that a part needs."""


def main(data: Path, run: Path, parts: list[str], effort: Effort) -> None:
    """Measure some parts and write the page of all that was ever measured here."""
    for name in {name for part in parts for name in NEEDED.get(part, [])}:
        _make_environment(name)
    _python(sys.executable, "corpus.py", data, WORK / "corpus")
    folder, page = _places(effort)
    path = folder / "measured.json"
    measured: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    measured["peak"] = _measured(sys.executable, "peak.py")
    for part in parts:
        start = time.monotonic()
        match part:
            case "floor":
                measured[part] = _measured(sys.executable, "floor.py")
            case "training":
                measured[part] = _in_turns(contenders.training(WORK, effort), effort)
            case "lstm":
                measured[part] = _in_turns(contenders.lstm(WORK, effort), effort)
            case "decoding":
                measured[part] = _decoding(data, run, effort)
            case "start":
                measured[part] = _measured(sys.executable, "start.py", data, run, effort.start_rounds)
            case "growth":
                measured[part] = _growth(effort)
        measured.setdefault("peaks", {})[part] = measured["peak"]
        path.write_text(json.dumps(measured, indent=1))
        print(f"{part}: {time.monotonic() - start:.0f} seconds", flush=True)
    write_page(measured, page)


def _places(effort: Effort) -> tuple[Path, Path]:
    """Return the folder of the figures and the page; those of a quick pass lie apart."""
    if effort is not QUICK:
        return WORK, ROOT / "docs" / "performance.md"
    folder = WORK / "quick"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "performance.md"
    page.write_text(f"{MARK}\n", encoding="utf-8")
    return folder, page


def _decoding(data: Path, run: Path, effort: Effort) -> dict[str, dict[str, list[Any]]]:
    folder = WORK / "decoding"
    sides = (data / "val.en.gz", data / "val.de.gz")
    _python(sys.executable, "decode_export.py", run, *sides, folder, effort.sentences)
    decoded = _in_turns(contenders.decoding(WORK, run), effort)
    for found in decoded.values():
        found["bleu"] = [_bleu(answers, run, folder) for answers in found.pop("answers")[:1]]
    return decoded


def _growth(effort: Effort) -> dict[str, Any]:
    quick = ["--quick"] if effort is QUICK else []
    scratch = WORK / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    roads = [("store", size) for size in effort.sizes] + [("text", size) for size in effort.sizes[:-1]]
    return {
        "training": _measured(sys.executable, "growth.py", "training", *quick),
        "decoding": _measured(sys.executable, "growth.py", "decoding", *quick),
        "memory": [
            _measured(sys.executable, "memory.py", f"--{road}", "--folder", scratch, size)
            for road, size in roads
        ],
    }


def _in_turns(taking_part: Contenders, effort: Effort) -> dict[str, dict[str, list[Any]]]:
    """Let each contender run once a round; return each figure's values in the order of the rounds."""
    found: dict[str, dict[str, list[Any]]] = {name: {} for name in taking_part}
    for round_number in range(1, effort.rounds + 1):
        for name, (python, program, *arguments) in taking_part.items():
            figures = _measured(python, program, *arguments)
            for key, value in figures.items():
                found[name].setdefault(key, []).append(value)
            shown = {key: value for key, value in figures.items() if isinstance(value, int | float)}
            print(f"round {round_number}  {name}: {shown}", flush=True)
    return found


def _measured(python: str, program: str, *arguments: object) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(_python(python, program, *arguments))
    return figures


def _python(python: str, program: str, *arguments: object) -> str:
    """Run one of the programs beside this one; return the last line that it printed, if any."""
    command = [python, str(HERE / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def _make_environment(name: str) -> None:
    folder = WORK / name
    if (folder / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for requirements in ENVIRONMENTS[name]:
        install = [python_of(WORK, name), "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(install, check=True)
    (folder / "ready").touch()


def _bleu(answers: list[str], run: Path, decoding: Path) -> float:
    """Score ids, turned into text by the bundle's codec, against the references."""
    import dragoman

    codec = dragoman.load(run).codecs.target
    texts = [str(codec.decode([int(number) for number in answer.split()])) for answer in answers]
    references = (decoding / "reference").read_text("utf-8").splitlines()
    return float(sacrebleu.corpus_bleu(texts, [references]).score)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", default="")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.parts = given.parts.split(",") if given.parts else list(PARTS)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return given


if __name__ == "__main__":
    arguments = _arguments()
    main(arguments.data, arguments.run, arguments.parts, QUICK if arguments.quick else WHOLE)
