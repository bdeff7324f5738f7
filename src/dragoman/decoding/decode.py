"""From raw sources to raw answers: order, batching and codecs around search."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.decoding.batches import answering, batches, named, where, windows
from dragoman.decoding.search import FAILED
from dragoman.decoding.workers import Answering, Answers, Request, answering_requests
from dragoman.errors import DataError, UserError
from dragoman.model.int8 import in_int8
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.transformer import DEFAULT_MAX_POSITIONS
from dragoman.recipe.model import TransformerDecoder
from dragoman.recipe.run import Beam, Decoding, Greedy, Sample
from dragoman.records import Example, Hypothesis, Prediction, Value

EMPTY = Hypothesis((), (), 0.0, True)
"""The answer to an empty source; the model is not asked."""


def decode(
    bundle: Bundle,
    examples: Iterable[Example],
    section: Decoding | None = None,
    *,
    prefix: Value | None = None,
    reads: bool = False,
    workers: int = 1,
) -> Iterator[Prediction]:
    """Answer examples in their order, as a stream, by the recipe's way of decoding or another.

    Inputs are taken in windows, 64 at first and up to 4,096, and no further than the window that is answered;
    what else is in a window or a batch does not change an answer (see `search`). Sampling depends on its seed
    and on the number of the input in this call, so equal inputs get different draws. Every answer starts with
    `prefix`. The model computes in eval mode and is given back in the mode it was in. Several `workers` are
    processes that answer at the same time, for many inputs; they take seconds to start.

    An empty source gets the empty answer, finished, with score 0. Where the model computes no probabilities
    the answer is empty, unfinished, scores minus infinity, and a RuntimeWarning names the input. Raises
    DataError with the place of an input that cannot be encoded or is too long for the model, after the
    answers before it; UserError for what `search` refuses.
    """
    task = _task(bundle, section or bundle.recipe.decoding, prefix, reads, workers)
    with answering_requests(task.model, workers) as answered:
        for window in windows(examples):
            with answering(task.model):
                found = _answer(task, window, answered)
            for (number, example), answers in zip(window, found, strict=True):
                if isinstance(answers, DataError):
                    raise named(answers, number, example) from answers
                yield _prediction(bundle, number, example, answers)


@dataclass(frozen=True)
class _Task:
    """What is asked of every input."""

    bundle: Bundle
    model: Seq2Seq
    section: Decoding
    prefix: list[int]
    reads: bool
    workers: int

    @property
    def rows(self) -> int:
        """Rows that one source takes in a batch."""
        match self.section:
            case Greedy():
                return 1
            case Beam():
                return self.section.beam
            case Sample():
                return self.section.samples


def _task(bundle: Bundle, section: Decoding, prefix: Value | None, reads: bool, workers: int) -> _Task:
    tokens = [] if prefix is None else bundle.codecs.target.encode_prefix(prefix).tolist()
    longest = min(section.max_length, _longest_target(bundle))
    model = _in_precision(bundle, section)
    return _Task(bundle, model, section.model_copy(update={"max_length": longest}), tokens, reads, workers)


def _in_precision(bundle: Bundle, section: Decoding) -> Seq2Seq:
    """Return the bundle's model as it answers in the precision of the section."""
    if section.precision == "fp32":
        return bundle.model
    if bundle.device.type != "cpu":
        raise UserError(
            f"decoding.precision: `int8` is for a CPU, this model is on {bundle.device.type}; `fp32` would do"
        )
    return in_int8(bundle.model)


def _longest_target(bundle: Bundle) -> float:
    """Return how many tokens the decoder has positions for."""
    decoder = bundle.recipe.model.decoder
    if isinstance(decoder, TransformerDecoder) and decoder.positions == "learnt":
        return decoder.max_positions or DEFAULT_MAX_POSITIONS
    return math.inf


def _answer(task: _Task, window: list[tuple[int, Example]], answered: Answering) -> list[Answers | DataError]:
    """Answer a window; an input that cannot be answered gets its error and leaves the others alone."""
    found: list[Answers | DataError] = [(EMPTY,)] * len(window)
    places: list[int] = []
    sources: list[NDArray[np.int32]] = []
    for place, (_, example) in enumerate(window):
        if not example.source:
            continue
        try:
            sources.append(task.bundle.codecs.source.encode(example.source))
            places.append(place)
        except DataError as fault:
            found[place] = fault
    lengths = [len(tokens) for tokens in sources]
    share = -(-sum(lengths) * task.rows // task.workers)
    together = list(batches(lengths, min(task.section.batch_tokens, max(share, 1)), task.rows))
    requests = (
        Request(
            [sources[member] for member in batch],
            [window[places[member]][0] for member in batch],
            task.section,
            task.prefix,
            task.reads,
        )
        for batch in together
    )
    for batch, answers in zip(together, answered(requests), strict=True):
        for member, answer in zip(batch, answers, strict=True):
            found[places[member]] = answer
    return found


def _prediction(bundle: Bundle, number: int, example: Example, answers: Answers) -> Prediction:
    if answers[0] is FAILED:
        warnings.warn(
            f"{where(number, example)}: the model computed no probabilities (not a number, or infinite); "
            "its answer is empty",
            RuntimeWarning,
            stacklevel=3,
        )
    values = tuple(bundle.codecs.target.decode(answer.tokens) for answer in answers)
    return Prediction(example, values, answers)
