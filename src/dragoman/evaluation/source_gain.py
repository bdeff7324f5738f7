"""How much a source says of its answer: log-probability with it, less that without any source."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragoman.bundle import Bundle
from dragoman.data.text import TextCodec
from dragoman.decoding.score import TargetScore, score
from dragoman.errors import DataError
from dragoman.model.ensemble import Ensemble
from dragoman.recipe.model import NoDecoder
from dragoman.records import Example


def source_gains(bundle: Bundle, sources: Sequence[str], answers: Sequence[str]) -> tuple[float, ...]:
    """Return nats a token that each answer gains by its source over an empty one; NaN for an empty answer.

    An answer that would be as likely to no source at all was not read from this one. None at all where the
    model reads no text or writes no tokens one by one, and where an empty source is no source of its codec.
    """
    if not isinstance(bundle.codecs.source, TextCodec) or not isinstance(bundle.codecs.target, TextCodec):
        return ()
    if isinstance(bundle.model, Ensemble) or isinstance(bundle.recipe.model.decoder, NoDecoder):
        return ()
    try:
        with_source = _scores(bundle, sources, answers)
        without = _scores(bundle, [""] * len(answers), answers)
    except DataError:
        return ()
    return tuple(
        (ours.total - theirs.total) / len(ours.tokens) if answer else math.nan
        for answer, ours, theirs in zip(answers, with_source, without, strict=True)
    )


def _scores(bundle: Bundle, sources: Sequence[str], answers: Sequence[str]) -> list[TargetScore]:
    pairs = [Example(source, (answer,)) for source, answer in zip(sources, answers, strict=True)]
    return [found.targets[0] for found in score(bundle, pairs)]
