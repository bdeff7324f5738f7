"""Measure dragoman beside other toolkits in one sitting, and write docs/performance.md from it.

    make bench DATA=PATH/multi30k RUN=runs/multi30k-en-de

Makes an environment for each contender under `.bench` (once), gives all the same text and, for decoding, the
same weights: those of RUN, a Transformer trained by `recipes/multi30k-en-de.yaml`. Contenders take turns, A B
C A B C, so that a machine that slows down slows all of them. All that was measured is in
`.bench/measured.json`. Leave the machine alone while it runs: about half an hour on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import sacrebleu
from report import write_page

HERE = Path(__file__).parent
ROOT = HERE.parent
WORK = ROOT / ".bench"
TCMALLOC = Path("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4")
ENVIRONMENTS = {
    "field": ["torch==2.13.0", "transformers==5.23.0", "ctranslate2==4.8.5", "sentencepiece"],
    "eole": ["torch==2.13.0", "eole", "aiohttp"],
}
ROUNDS = 2
UPDATES = 40
SECONDS = 25


def main(data: Path, run: Path) -> None:
    """Measure everything and write the page."""
    for name, requirements in ENVIRONMENTS.items():
        _make_environment(name, requirements)
    corpus, decoding = WORK / "corpus", WORK / "decoding"
    _python(sys.executable, "corpus.py", data, corpus)
    _python(sys.executable, "decode_export.py", run, data / "val.en.gz", data / "val.de.gz", decoding)
    measured = {
        "peak": _measured(sys.executable, "peak.py"),
        "training": _in_turns(_training(corpus)),
        "decoding": _in_turns(_decoding(run, decoding)),
    }
    for found in measured["decoding"].values():
        found["bleu"] = [_bleu(answers, run, decoding) for answers in found.pop("answers")[:1]]
    (WORK / "measured.json").write_text(json.dumps(measured, indent=1))
    write_page(measured, ROOT / "docs" / "performance.md")


def _training(corpus: Path) -> dict[str, list[Any]]:
    """Name the contenders that train, each with its Python, program and arguments."""
    field, eole = _python_of("field"), _python_of("eole")
    contenders: dict[str, list[Any]] = {}
    for precision in ("bf16", "fp32"):
        contenders[f"dragoman, {precision}"] = [sys.executable, "train_ours.py", corpus, precision, UPDATES]
        contenders[f"eole, {precision}"] = [eole, "train_eole.py", corpus, precision, UPDATES]
        for kind, name in (("huggingface", "Hugging Face, Marian type"), ("torch", "plain PyTorch")):
            contenders[f"{name}, {precision}"] = [
                field,
                "train_others.py",
                kind,
                corpus,
                precision,
                SECONDS,
            ]
    if TCMALLOC.exists():
        contenders["eole with tcmalloc, bf16"] = [eole, "train_eole.py", corpus, "bf16", UPDATES, TCMALLOC]
    return contenders


def _decoding(run: Path, decoding: Path) -> dict[str, list[Any]]:
    """Name the contenders that decode, each with its Python, program and arguments."""
    field = _python_of("field")
    contenders: dict[str, list[Any]] = {}
    for beam, way in ((5, "beam 5"), (1, "greedy")):
        for ours, theirs in (("int8", "int8"), ("fp32", "float32")):
            contenders[f"dragoman, {ours}, {way}"] = [
                sys.executable,
                "decode_ours.py",
                run,
                decoding,
                ours,
                beam,
            ]
            contenders[f"CTranslate2, {ours}, {way}"] = [
                field,
                "decode_ctranslate2.py",
                decoding,
                theirs,
                beam,
            ]
        contenders[f"Hugging Face generate, fp32, {way}"] = [field, "decode_huggingface.py", decoding, beam]
    return contenders


def _in_turns(contenders: dict[str, list[Any]]) -> dict[str, dict[str, list[Any]]]:
    """Let each contender run once a round; return each figure's values in the order of the rounds."""
    found: dict[str, dict[str, list[Any]]] = {name: {} for name in contenders}
    for round_number in range(1, ROUNDS + 1):
        for name, (python, program, *arguments) in contenders.items():
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


def _python_of(name: str) -> str:
    return str(WORK / name / "bin" / "python")


def _make_environment(name: str, requirements: list[str]) -> None:
    folder = WORK / name
    if (folder / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([_python_of(name), "-m", "pip", "install", "--quiet", *requirements], check=True)
    (folder / "ready").touch()


def _bleu(answers: list[str], run: Path, decoding: Path) -> float:
    """Score ids, turned into text by the bundle's codec, against the references."""
    import dragoman

    codec = dragoman.load(run).codecs.target
    texts = [str(codec.decode([int(number) for number in answer.split()])) for answer in answers]
    references = (decoding / "reference").read_text("utf-8").splitlines()
    return float(sacrebleu.corpus_bleu(texts, [references]).score)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
