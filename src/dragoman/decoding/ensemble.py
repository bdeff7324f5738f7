"""Several bundles that answer as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dragoman.bundle import Bundle
from dragoman.data.codec import Codec
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
        expected = _digest(getattr(first.codecs, side))
        for other in others:
            if _digest(getattr(other.codecs, side)) != expected:
                raise UserError(
                    f"{other.folder}: its {side} vocabulary is not that of {first.folder}; an ensemble needs "
                    "one vocabulary: train its members on the same data with the same `source` and `target` "
                    "sections, and other seeds, sizes or kinds of model"
                )
    model = Ensemble([bundle.model for bundle in bundles]).to(first.device).eval()
    return replace(first, model=model)


def _digest(codec: Codec) -> str:
    """Return a hash of all that a codec would leave in a bundle."""
    digest = hashlib.sha256()
    with TemporaryDirectory() as folder:
        codec.save(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
