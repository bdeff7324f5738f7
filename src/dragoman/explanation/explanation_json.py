"""An explanation as JSON; docs/explanations.md says what each key holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.portable import shown
from dragoman.explanation.attribution import Attribution
from dragoman.explanation.beam_tree import BeamTree
from dragoman.explanation.explanation import Explanation
from dragoman.explanation.trust import trust_json

FORMAT = 1
"""Version of the keys and of what they mean."""
_DIGITS = 6
"""Significant digits of weights."""


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as an object for `json.dumps`; no number in it is infinite or missing."""
    subject = explanation.subject
    model = subject.bundle.recipe.model
    return {
        "format": FORMAT,
        "model": {
            "run": None if subject.bundle.folder is None else subject.bundle.folder.name,
            "source": subject.bundle.recipe.source.kind,
            "target": subject.bundle.recipe.target.kind,
            "encoder": model.encoder.kind,
            "decoder": model.decoder.kind,
        },
        "source": {
            "id": subject.example.id,
            "value": shown(subject.example.source),
            "kind": subject.places[0].kind if subject.places else "text",
            "places": [{"label": one.label, "begin": one.begin, "end": one.end} for one in subject.places],
        },
        "answer": {
            "value": shown(subject.answer),
            "is_given": explanation.is_given,
            "pieces": list(subject.pieces),
        },
        "choices": [
            {
                "piece": choice.piece,
                "log_prob": _finite(choice.log_prob),
                "rank": choice.rank,
                "alternatives": [
                    {"piece": one.piece, "log_prob": _finite(one.log_prob)} for one in choice.alternatives
                ],
            }
            for choice in explanation.choices
        ],
        "attributions": [_attribution(explanation, one) for one in explanation.attributions],
        "heads": [_attribution(explanation, one) for one in explanation.parts],
        "search": None if explanation.tree is None else _search(explanation.tree),
        "trust": None if explanation.trust is None else trust_json(explanation.trust),
        "notes": list(subject.notes),
        "left_out": dict(explanation.left_out),
        "seconds": {what: round(spent, 4) for what, spent in explanation.seconds.items()},
    }


def _attribution(explanation: Explanation, attribution: Attribution) -> dict[str, Any]:
    return {
        "method": attribution.method,
        "part": attribution.part,
        "is_signed": attribution.is_signed,
        "steps": list(explanation.steps_of(attribution)),
        "weights": [_rounded(weights_S) for weights_S in attribution.weights_TS],
        "errors": None if attribution.error_T is None else _rounded(attribution.error_T),
    }


def _search(tree: BeamTree) -> dict[str, Any]:
    return {
        "method": tree.method,
        "width": tree.width,
        "answer": tree.answer,
        "nodes": [
            {
                "piece": node.piece,
                "step": node.step,
                "parent": node.parent,
                "log_prob": _finite(node.log_prob),
                "total": _finite(node.total),
                "fate": node.fate,
                "score": _finite(node.score),
                "lacked": _finite(node.lacked),
                "text": node.text,
            }
            for node in tree.nodes
        ],
    }


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [_finite(value) for value in values.tolist()]


def _finite(value: float | None) -> float | None:
    """Round to significant digits; JSON has no infinities."""
    return float(f"{value:.{_DIGITS}g}") if value is not None and math.isfinite(value) else None
