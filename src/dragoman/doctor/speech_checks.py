"""Recordings: clipped, silent, of another rate, longer or shorter than what is said in them.

Shapes: M samples.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dragoman.data.audio import parts_of, rate_of, read_audio
from dragoman.data.corpus import read_corpus
from dragoman.data.rejects import Rejects
from dragoman.doctor.findings import Finding
from dragoman.errors import DataError
from dragoman.recipe.sections import Recipe
from dragoman.recipe.speech import Manifest, Speech
from dragoman.records import Example, text_of

SAMPLE = 200
"""Clips of a list that are listened to."""
_SEED = 2011
_LOUDEST = 0.999
_CLIPPED = 0.001
"""Share of samples at full scale; loud recordings touch it, clipped ones stay there."""
_SILENT = 10 ** (-60 / 20)
"""60 decibels below full scale."""
_FAR = 4.0


@dataclass(frozen=True)
class _Heard:
    place: str
    seconds: float
    rate_hz: int
    clipped: float
    loudness: float
    characters: int


def speech_findings(recipe: Recipe) -> Iterator[Finding]:
    """Listen to a sample of the clips of every list."""
    if not isinstance(recipe.source, Speech):
        return
    corpora = {"data.dev": recipe.data.dev, "data.test": recipe.data.test}
    corpora |= {f"data.train[{number}]": corpus for number, corpus in enumerate(recipe.data.train)}
    for name, corpus in corpora.items():
        if isinstance(corpus, Manifest):
            examples = list(read_corpus(corpus, Path(recipe.data.folder), Rejects()))
            chosen = random.Random(_SEED).sample(examples, min(SAMPLE, len(examples)))
            yield from _of_clips(name, chosen, recipe.source)


def _of_clips(name: str, chosen: list[Example], section: Speech) -> Iterator[Finding]:
    heard: list[_Heard] = []
    unheard: list[str] = []
    for example in chosen:
        try:
            heard.append(_listen(example, section))
        except DataError as error:
            unheard.append(str(error))
    if unheard:
        yield Finding(
            "data",
            "warning",
            f"{name}: {len(unheard)} of {len(chosen)} clips cannot be used: {unheard[0]}",
            "they are rejected rows: nothing is learnt from them",
            "mend the files, or widen min_seconds and max_seconds of the source",
        )
    yield from _quality(name, heard)
    yield from _rates(name, heard, section)
    yield from _speeds(name, heard)


def _listen(example: Example, section: Speech) -> _Heard:
    clip = text_of(example.source)
    samples_M = read_audio(clip, section.sample_rate_hz, section.min_seconds, section.max_seconds)
    return _Heard(
        str(example.origin),
        len(samples_M) / section.sample_rate_hz,
        rate_of(parts_of(clip).path),
        float((np.abs(samples_M) >= _LOUDEST).mean()),
        float(np.sqrt(np.square(samples_M).mean())),
        len(text_of(example.targets[0])),
    )


def _quality(name: str, heard: list[_Heard]) -> Iterator[Finding]:
    clipped = [one for one in heard if one.clipped > _CLIPPED]
    silent = [one for one in heard if one.loudness < _SILENT]
    if clipped:
        yield Finding(
            "data",
            "warning" if len(clipped) > 0.05 * len(heard) else "note",
            f"{name}: {len(clipped)} of {len(heard)} clips are clipped, {clipped[0].place} for one",
            "cut peaks sound like noise in all bands",
            "record at a lower level, or take the recordings before they were made louder",
        )
    if silent:
        yield Finding(
            "data",
            "warning",
            f"{name}: {len(silent)} of {len(heard)} clips are silent, {silent[0].place} for one",
            "the model learns to write words that nobody says",
            "leave these rows out, or look for their sound",
        )


def _rates(name: str, heard: list[_Heard], section: Speech) -> Iterator[Finding]:
    low = [one for one in heard if one.rate_hz < section.sample_rate_hz]
    if low:
        yield Finding(
            "data",
            "warning",
            f"{name}: {len(low)} of {len(heard)} clips have fewer than {section.sample_rate_hz:,} Hz, "
            f"{low[0].place} {low[0].rate_hz:,}",
            "their upper bands are empty, and those of the others are not: rates are told apart, not sounds",
            f"source.sample_rate_hz={min(one.rate_hz for one in low)}",
        )


def _speeds(name: str, heard: list[_Heard]) -> Iterator[Finding]:
    """Compare seconds a character."""
    paces = np.array([one.seconds / (one.characters + 3) for one in heard])
    if len(paces) < 10:
        return
    logs = np.log(paces / np.median(paces))
    if count := int((np.abs(logs) > np.log(_FAR)).sum()):
        worst = heard[int(np.abs(logs).argmax())]
        yield Finding(
            "data",
            "warning",
            f"{name}: {count} of {len(heard)} clips are four times slower or faster than others for what "
            f"they say, {worst.place}: {worst.seconds:.1f} seconds, {worst.characters} characters",
            "transcripts are cut off, or belong to other clips",
            "listen to these rows, and mend or leave them out",
        )
