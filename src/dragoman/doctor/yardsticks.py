"""Losses that those of a run are held against: of guessing by frequency, and with sources of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dragoman.api import load
from dragoman.bundle import Bundle
from dragoman.data.text import TextCodec
from dragoman.doctor.data_checks import training_examples
from dragoman.doctor.losses import Yardsticks, unigram_entropy
from dragoman.errors import DataError, UserError
from dragoman.evaluation.scored_set import read_examples
from dragoman.records import Example
from dragoman.training.validation import development_loss, undisturbed

_COUNTED = 20_000
_SCORED = 300
_FEWEST = 20


def yardsticks_of(folder: Path) -> Yardsticks:
    """Measure them for the bundle of a run whose targets are text and whose data are still there."""
    bundle = load(folder, "cpu")
    codec = bundle.codecs.target
    if not isinstance(codec, TextCodec):
        return Yardsticks()
    try:
        counts: Counter[int] = Counter()
        for example in training_examples(bundle.recipe, _COUNTED):
            counts.update(codec.encode(example.targets[0]).tolist())
        dev = read_examples(bundle.recipe, (), None, "dev")[:_SCORED]
    except (DataError, UserError):
        return Yardsticks()
    unigram = unigram_entropy(list(counts.values())) if counts else None
    if len(dev) < _FEWEST:
        return Yardsticks(unigram)
    return Yardsticks(unigram, *_losses(bundle, dev))


def _losses(bundle: Bundle, dev: Sequence[Example]) -> tuple[float, float]:
    """Return the loss of targets beside their sources, and beside those half a list away."""
    half = len(dev) // 2
    sources = [example.source for example in (*dev[half:], *dev[:half])]
    others = [replace(one, source=source) for one, source in zip(dev, sources, strict=True)]
    with undisturbed(bundle.model):
        return development_loss(bundle, dev), development_loss(bundle, others)
