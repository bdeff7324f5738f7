"""Facts of recordings: hours, rate, what is said; of sound files only headers are read."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from dragoman.data.audio import parts_of, rate_of, seconds_of
from dragoman.data.corpus import read_corpus
from dragoman.data.pair_facts import side_of_texts
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.facts import Files, SpeechFacts
from dragoman.recipe.speech import Manifest
from dragoman.records import text_of

SAMPLE = 500
"""Sound files whose headers are read."""
_SEED = 2011


def speech_facts(files: Files) -> SpeechFacts:
    """Measure a list of recordings; hours are those of a sample, scaled up."""
    rejects = Rejects()
    section = Manifest.model_validate(dict(files.train))
    examples = list(read_corpus(section, Path(files.folder), rejects))
    if not examples:
        raise DataError(f"{section.manifest}: not one row can be used: {rejects.summary()}")
    chosen = random.Random(_SEED).sample(examples, min(SAMPLE, len(examples)))
    seconds, rates = [], Counter[int]()
    for example in chosen:
        clip = text_of(example.source)
        seconds.append(seconds_of(clip))
        rates[rate_of(parts_of(clip).path)] += 1
    return SpeechFacts(
        files,
        len(examples),
        sum(seconds) / len(seconds) * len(examples) / 3600,
        max(seconds),
        rates.most_common(1)[0][0],
        side_of_texts([text_of(example.targets[0]) for example in examples]),
    )
