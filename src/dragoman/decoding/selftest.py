"""Does a bundle still say what it said when it was saved?"""

from __future__ import annotations

import json
from pathlib import Path

from dragoman.bundle import Bundle
from dragoman.decoding.decode import decode
from dragoman.errors import BundleError
from dragoman.records import Example

SCORE_TOLERANCE = 1e-3
"""Other processors and versions of torch round differently; answers must be equal, scores only this close."""


def selftest(bundle: Bundle) -> list[str]:
    """Re-run the stored sample and return one complaint for each answer that differs.

    Raises BundleError where the bundle is not on the disk or its sample cannot be read.
    """
    if bundle.folder is None:
        raise BundleError("only a bundle loaded from a folder has a stored sample")
    sample = _read_sample(bundle.folder / "sample.jsonl")
    examples = [Example(source=str(row["source"]), id=str(number)) for number, row in enumerate(sample, 1)]
    complaints = []
    for row, prediction in zip(sample, decode(bundle, examples), strict=True):
        where = f"sample {prediction.example.id}, {prediction.example.source!r}"
        answer, score = prediction.values[0], prediction.hypotheses[0].score
        if answer != row["answer"]:
            complaints.append(f"{where}: expected {row['answer']!r}, found {answer!r}")
        elif abs(score - float(str(row["score"]))) > SCORE_TOLERANCE * max(1.0, abs(score)):
            complaints.append(f"{where}: expected score {row['score']}, found {score}")
    return complaints


def _read_sample(path: Path) -> list[dict[str, object]]:
    """Read the stored sample: one object a line with `source`, `answer` and `score`."""
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [{key: row[key] for key in ("source", "answer", "score")} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not a stored sample ({error})") from error
