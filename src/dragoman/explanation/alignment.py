"""Which word of a source each word of its target comes from, read off an attribution.

Shapes: T target steps, S source steps (places); I source words, J target words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.data.pharaoh import Link
from dragoman.data.text import TextCodec
from dragoman.data.word_places import word_spans, words_of_tokens
from dragoman.errors import UserError
from dragoman.explanation.attribution import Method, attribute
from dragoman.explanation.reads import means_of
from dragoman.explanation.subject import Subject, is_alone, subject_of
from dragoman.records import Example, text_of

Reals = NDArray[np.float64]

_AT_ONCE = 64
"""Pairs whose attention is read at once."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Links between words of a source and of its target, as blanks part them, and what they follow from.

    `weights_JI` is what each source word counts for each target word: never below 0, a row sums to 1, or to
    0 where nothing counts.
    """

    source_words: tuple[str, ...]
    target_words: tuple[str, ...]
    links: tuple[Link, ...]
    weights_JI: Reals


def align(
    bundle: Bundle, example: Example, method: Method = "attention", threshold: float | None = None
) -> Alignment:
    """Align the words of a text with those of its target; see `alignments`."""
    return next(alignments(bundle, [example], method, threshold))


def alignments(
    bundle: Bundle,
    examples: Iterable[Example],
    method: Method = "attention",
    threshold: float | None = None,
) -> Iterator[Alignment]:
    """Yield the alignments of the words of texts with those of their targets, in order.

    Each target word is linked to the source word that counts most for it, of equal ones the first. With a
    `threshold` two words are linked where each has at least that share of the other: of what counts for the
    target word, and of all that the source word counts for. Attention is read of many pairs at once.
    UserError for what is no text, for other than one target, and for a method that the model does not have.
    """
    codecs = _text_codecs(bundle, threshold)
    waiting = iter(examples)
    while pairs := list(islice(waiting, _AT_ONCE)):
        subjects = [_subject(bundle, example) for example in pairs]
        if method == "attention":
            weights = means_of(subjects)
        else:
            weights = [attribute(subject, method).weights_TS for subject in subjects]
        for example, weights_TS in zip(pairs, weights, strict=True):
            yield _aligned(codecs, example, weights_TS, threshold)


def _text_codecs(bundle: Bundle, threshold: float | None) -> tuple[TextCodec, TextCodec]:
    """Return the codecs of a model whose words can be aligned."""
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"align: expected a threshold above 0 and up to 1, found {threshold}")
    source_codec, target_codec = bundle.codecs.source, bundle.codecs.target
    if not isinstance(source_codec, TextCodec) or not isinstance(target_codec, TextCodec):
        raise UserError(
            f"align: this model reads {bundle.recipe.source.kind} and writes {bundle.recipe.target.kind}; "
            "words can be aligned where both are text"
        )
    if is_alone(bundle):
        raise UserError(
            "align: this model has no decoder (`model.decoder.kind: none`), so its answers are explained as "
            "a whole and not word by word; a model with a decoder would do"
        )
    return source_codec, target_codec


def _subject(bundle: Bundle, example: Example) -> Subject:
    if len(example.targets) != 1:
        raise UserError(f"align: expected one target of each source, found {len(example.targets)}")
    return subject_of(bundle, example, text_of(example.targets[0]))


def _aligned(
    codecs: tuple[TextCodec, TextCodec], example: Example, weights_TS: Reals, threshold: float | None
) -> Alignment:
    source_codec, target_codec = codecs
    source, target = text_of(example.source), text_of(example.targets[0])
    source_words, target_words = _words(source), _words(target)
    weights_JI = _by_word(
        weights_TS,
        (words_of_tokens(target_codec, target), len(target_words)),
        (words_of_tokens(source_codec, source), len(source_words)),
    )
    links = _best(weights_JI) if threshold is None else _mutual(weights_JI, threshold)
    return Alignment(source_words, target_words, links, weights_JI)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text[begin:end] for begin, end in word_spans(text))


def _by_word(
    weights_TS: Reals, target: tuple[Sequence[int | None], int], source: tuple[Sequence[int | None], int]
) -> Reals:
    """Sum what speaks for each token over the tokens of the words on both sides, and make shares of it."""
    weights_JI: Reals = _members(*target).T @ np.clip(weights_TS, 0, None) @ _members(*source)
    totals_J1 = weights_JI.sum(1, keepdims=True)
    shares_JI: Reals = np.divide(weights_JI, totals_J1, out=np.zeros_like(weights_JI), where=totals_J1 > 0)
    return shares_JI


def _members(words: Sequence[int | None], count: int) -> Reals:
    """Return which token belongs to which word, a row for each token."""
    members = np.zeros((len(words), count))
    for token, word in enumerate(words):
        if word is not None:
            members[token, word] = 1
    return members


def _best(weights_JI: Reals) -> tuple[Link, ...]:
    """Link each target word that anything counts for."""
    return tuple(
        sorted(
            (int(weights_I.argmax()), target)
            for target, weights_I in enumerate(weights_JI)
            if weights_I.any()
        )
    )


def _mutual(weights_JI: Reals, threshold: float) -> tuple[Link, ...]:
    totals_I = weights_JI.sum(0)
    back_JI = np.divide(weights_JI, totals_I, out=np.zeros_like(weights_JI), where=totals_I > 0)
    targets, sources = np.nonzero((weights_JI >= threshold) & (back_JI >= threshold))
    return tuple(sorted(zip(sources.tolist(), targets.tolist(), strict=True)))
