"""Facts of pairs of text: rows, lengths, words, letters, repeats; in bounded memory."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from dragoman.data.corpus import read_corpus
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.data import Parallel, Table
from dragoman.recipe.facts import Corpus, Files, PairFacts, Side
from dragoman.records import text_of

MOST_ROWS = 3_000_000
"""Rows that are read; of larger files what follows is not looked at."""
SAMPLE = 50_000
"""Rows that lengths and words are measured on, drawn evenly from all that are read."""
_MOST_SCORED = 100_000
_SEED = 2011
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")

Pair = tuple[str, str]


def pair_facts(files: Files, features: str | None) -> PairFacts:
    """Measure pairs; `features` is what separates the features behind a source's tab, if it has some."""
    rows, sample, is_whole = _sampled(files.train, Path(files.folder))
    source = side_of_texts([_without_features(source, features) for source, _ in sample])
    target = side_of_texts([target for _, target in sample])
    scored = {"dev": files.dev, "test": files.test}
    repeated = {name: _repeated(one, Path(files.folder)) for name, one in scored.items() if one is not None}
    return PairFacts(
        files,
        rows,
        is_whole,
        source,
        target,
        features,
        _shared_letters(sample),
        sum(source == target for source, target in sample) / len(sample),
        repeated,
    )


def section_of(corpus: Corpus) -> Parallel | Table:
    """Read a corpus of pairs in plain values as a recipe's section."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in corpus.items()}
    return Table.model_validate(given) if "file" in given else Parallel.model_validate(given)


def _sampled(corpus: Corpus, folder: Path) -> tuple[int, list[Pair], bool]:
    """Count rows and draw an even sample of them (reservoir sampling, Vitter 1985)."""
    draw = random.Random(_SEED)
    sample: list[Pair] = []
    rows, rejects = 0, Rejects()
    for example in read_corpus(section_of(corpus), folder, rejects):
        if rows == MOST_ROWS:
            return rows, sample, False
        pair = text_of(example.source), text_of(example.targets[0])
        if rows < SAMPLE:
            sample.append(pair)
        elif (place := int(draw.random() * (rows + 1))) < SAMPLE:
            sample[place] = pair
        rows += 1
    if not sample:
        raise DataError(f"{folder}: not one row can be used: {rejects.summary()}")
    return rows, sample, True


def _without_features(source: str, features: str | None) -> str:
    """Let each feature count as a character: it becomes one symbol."""
    if features is None or "\t" not in source:
        return source
    text, _, behind = source.rpartition("\t")
    return text + "\ue000" * (behind.count(features) + 1)


def side_of_texts(texts: Sequence[str]) -> Side:
    """Measure one side."""
    characters, words = sorted(map(len, texts)), sorted(len(text.split()) for text in texts)
    types = Counter(word for text in texts for word in text.split())
    letters = Counter(letter for text in texts for letter in text)
    high = min(len(texts) - 1, round(len(texts) * 0.999))
    spaceless = sum(count for letter, count in letters.items() if _is_spaceless(letter))
    return Side(
        mean_characters=sum(characters) / len(texts),
        long_characters=characters[high],
        mean_words=sum(words) / len(texts),
        long_words=words[high],
        sampled_words=types.total(),
        word_types=len(types),
        single_types=sum(count == 1 for count in types.values()),
        alphabet=len(letters),
        spaceless=spaceless / max(1, letters.total()),
    )


def _is_spaceless(letter: str) -> bool:
    return not letter.isascii() and unicodedata.name(letter, "").startswith(_SPACELESS)


def _shared_letters(sample: Sequence[Pair]) -> float:
    sources = {letter for source, _ in sample for letter in source}
    targets = Counter(letter for _, target in sample for letter in target if letter.isalpha())
    return sum(count for letter, count in targets.items() if letter in sources) / max(1, targets.total())


def _repeated(corpus: Corpus, folder: Path) -> float:
    """Return the share of rows whose source came before."""
    seen: set[bytes] = set()
    again = rows = 0
    for source in _sources(corpus, folder):
        key = blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        again += key in seen
        seen.add(key)
        rows += 1
        if rows == _MOST_SCORED:
            break
    return again / max(1, rows)


def _sources(corpus: Corpus, folder: Path) -> Iterable[str]:
    return (text_of(example.source) for example in read_corpus(section_of(corpus), folder, Rejects()))
