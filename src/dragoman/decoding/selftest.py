"""Does a bundle still say what it said when it was saved?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dragoman.bundle import Bundle
from dragoman.data.portable import shown, value_of
from dragoman.decoding.decode import decode
from dragoman.errors import BundleError, DataError
from dragoman.records import Example, Prediction, Value

SCORE_TOLERANCE = 1e-3
"""Other processors and versions of torch round differently; answers must be equal, scores only this close."""


def selftest(bundle: Bundle) -> list[str]:
    """Re-run the stored sample and return one complaint for each answer that differs.

    Raises BundleError where the bundle is not on the disk or its sample cannot be read.
    """
    if bundle.folder is None:
        raise BundleError("only a bundle loaded from a folder has a stored sample")
    sample = _read_sample(bundle.folder / "sample.jsonl")
    examples = [Example(_source(row, number), id=str(number)) for number, row in enumerate(sample, 1)]
    complaints = []
    for row, prediction in zip(sample, decode(bundle, examples), strict=True):
        where = f"sample {prediction.example.id}, {shown(prediction.example.source)!r:.200}"
        found = sampled(prediction)
        if not _is_same(found["answer"], row["answer"]):
            complaints.append(f"{where}: expected {row['answer']!r:.200}, found {found['answer']!r:.200}")
        elif not _is_close(found["score"], row["score"]):
            complaints.append(f"{where}: expected score {row['score']}, found {found['score']}")
    return complaints


def sampled(prediction: Prediction) -> dict[str, object]:
    """Return what is kept of an answer: text and its score, or the frames of a forecast, scaled."""
    if prediction.forecast is not None:
        return {"answer": prediction.forecast.values.tolist(), "score": 0.0}
    return {"answer": prediction.values[0], "score": prediction.hypotheses[0].score}


def _is_same(found: object, expected: object) -> bool:
    """Compare text exactly, numbers within the tolerance."""
    if not isinstance(expected, list):
        return found == expected
    ours, theirs = np.array(found, float), np.array(expected, float)
    return ours.shape == theirs.shape and np.allclose(ours, theirs, SCORE_TOLERANCE, SCORE_TOLERANCE)


def _is_close(found: object, expected: object) -> bool:
    score = float(str(found))
    return abs(score - float(str(expected))) <= SCORE_TOLERANCE * max(1.0, abs(score))


def _source(row: Mapping[str, object], number: int) -> Value:
    try:
        return value_of(row["source"])
    except DataError as error:
        raise BundleError(f"sample {number}: {error}") from error


def _read_sample(path: Path) -> list[dict[str, object]]:
    """Read the stored sample: one object a line with `source`, `answer` and `score`."""
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [{key: row[key] for key in ("source", "answer", "score")} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not a stored sample ({error})") from error
