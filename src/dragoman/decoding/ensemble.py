"""Several bundles that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dragoman.bundle import Bundle
from dragoman.data.codec import codec_digest
from dragoman.errors import UserError
from dragoman.model.ensemble import Ensemble


def ensemble(bundles: Sequence[Bundle]) -> Bundle:
    """Join bundles of one vocabulary: the mean of their probabilities decides at every step.

    The first bundle's recipe says how to decode and evaluate. Raises UserError where a bundle cuts sources or
    targets differently from the first: what their symbols stand for would not be the same.
    """
    first, *others = bundles
    if not others:
        return first
    for side in ("source", "target"):
        expected = codec_digest(getattr(first.codecs, side))
        for other in others:
            if codec_digest(getattr(other.codecs, side)) != expected:
                raise UserError(
                    f"{other.folder}: its {side} vocabulary is not that of {first.folder}; an ensemble needs "
                    "one vocabulary: train its members on the same data with the same `source` and `target` "
                    "sections, and other seeds, sizes or kinds of model"
                )
    model = Ensemble([bundle.model for bundle in bundles]).to(first.device).eval()
    return replace(first, model=model)
