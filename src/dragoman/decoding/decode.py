"""From raw sources to raw answers: order, batching and codecs around search."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dragoman.bundle import Bundle
from dragoman.data.frames import Encoded
from dragoman.data.offsets import offsets
from dragoman.data.text import TextCodec
from dragoman.decoding.batches import LARGEST_WINDOW, answering, batches, named, where, windows
from dragoman.decoding.constrained import Wanted
from dragoman.decoding.forecast import forecast
from dragoman.decoding.mbr import most_agreed
from dragoman.decoding.mean_forecast import mean_forecast
from dragoman.decoding.search import FAILED
from dragoman.decoding.terminology import Terminology
from dragoman.decoding.workers import Answering, Answers, Request, answering_requests
from dragoman.errors import DataError, UserError
from dragoman.model.answering import in_float32, in_int8
from dragoman.model.ctc_joint import CtcJoint
from dragoman.model.fusion import Fused
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.transformer import DEFAULT_MAX_POSITIONS
from dragoman.recipe.decoding import (
    Beam,
    CtcBeam,
    CtcDecoding,
    CtcGreedy,
    Decoding,
    Forecasting,
    Greedy,
    Mbr,
    Sample,
    TokenDecoding,
)
from dragoman.recipe.model import TransformerDecoder
from dragoman.records import UNKNOWN, Example, Hypothesis, Prediction, Value, text_of

_BATCHES_EACH = 6
"""Batches of a window that a worker gets, at least, where there are enough inputs..."""
_FEWEST_TOKENS = 1024
"""...for batches of so many tokens."""
_LAST_SHARES = (0.25, 0.5)
"""Of a batch: what each worker gets at the end of a window, so that none waits long for the others."""
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

    Inputs are taken in windows, 64 at first and up to 4,096, and no further than the window that is answered,
    or with several workers the one after it, where these are the largest; what else is in a window or a batch
    does not change an answer (see `search`). Sampling depends on its seed and on the number of the input in
    this call, so equal inputs get different draws. Every answer starts with `prefix`. The model computes in
    eval mode and is given back in the mode it was in. Several `workers` are processes that answer at the same
    time, for many inputs; they take seconds to start, and leave by themselves after the last answer.

    An empty source gets the empty answer, finished, with score 0. Where the model computes no probabilities
    the answer is empty, unfinished, scores minus infinity, and a RuntimeWarning names the input. Numbers are
    forecast: see `forecast`. Raises
    DataError with the place of an input that cannot be encoded or is too long for the model, after the
    answers before it; UserError for what `search` refuses.
    """
    section = section or bundle.recipe.decoding
    if isinstance(section, Forecasting):
        _refuse_for_numbers(prefix, reads, workers)
        if bundle.others:
            yield from mean_forecast((replace(bundle, others=()), *bundle.others), examples, section)
        else:
            yield from forecast(bundle, examples, section)
        return
    task = _task(bundle, section, prefix, reads, workers)
    spelling = None if task.terminology is None else task.terminology.spelling
    with answering_requests(task.model, workers, spelling) as answered:
        for asked in _in_turn(task, examples, answered):
            with answering(task.model):
                found = _answers(task, asked)
            for (number, example), answer in zip(asked.window, found, strict=True):
                if isinstance(answer, DataError):
                    raise named(answer, number, example) from answer
                yield _prediction(task, number, example, *answer)


@dataclass(frozen=True)
class _Task:
    """What is asked of every input."""

    bundle: Bundle
    model: Seq2Seq
    section: TokenDecoding | Mbr | CtcDecoding
    prefix: list[int]
    reads: bool
    workers: int
    terminology: Terminology | None = None

    @property
    def rows(self) -> int:
        """Rows that one source takes in a batch."""
        match self.section:
            case Greedy() | CtcGreedy() | CtcBeam():
                return 1
            case Beam():
                return self.section.beam
            case Sample():
                return self.section.samples
            case Mbr():
                return max(self.section.samples, self.section.beam)


def _task(
    bundle: Bundle,
    section: TokenDecoding | Mbr | CtcDecoding,
    prefix: Value | None,
    reads: bool,
    workers: int,
) -> _Task:
    if isinstance(section, CtcGreedy | CtcBeam):
        if prefix is not None:
            raise UserError(f"`{section.method}` cannot begin answers with a prefix; greedy or beam would")
        if isinstance(bundle.model, Fused):
            raise UserError(f"`{section.method}` writes by itself, without a language model; beam would")
        if reads:
            raise UserError(f"`{section.method}` attends to nothing; greedy or beam would")
        return _Task(bundle, _in_precision(bundle, section), section, [], reads, workers)
    tokens = [] if prefix is None else _forced(bundle.codecs.text, prefix)
    model, within = searching(bundle, section)
    terminology = None
    if isinstance(section, Beam) and section.phrases is not None:
        terminology = Terminology(section.phrases, bundle.codecs)
        if prefix is not None:
            terminology.check_prefix(bundle.codecs.text.normalise(prefix))
    return _Task(bundle, model, within, tokens, reads, workers, terminology)


def _forced(codec: TextCodec, prefix: Value) -> list[int]:
    """Return the ids of a prefix; UserError for one that the model cannot write."""
    tokens: list[int] = codec.encode_prefix(prefix).tolist()
    text, places = text_of(prefix), offsets(codec, prefix).spans
    unknown = [place for token, place in zip(tokens, places, strict=True) if token == UNKNOWN]
    if unknown:
        pieces = ", ".join(map(repr, dict.fromkeys(text[begin:end] for begin, end in unknown)))
        raise UserError(
            f"prefix {text!r}: the target vocabulary cannot write {pieces} (at character "
            f"{unknown[0][0] + 1}); leave it out, or train with subwords or bytes, which can write anything"
        )
    return tokens


def searching(bundle: Bundle, section: TokenDecoding | Mbr) -> tuple[Seq2Seq, TokenDecoding | Mbr]:
    """Return what `search` is to ask: the model in the section's precision, with CTC beside it if need be.

    The section beside it is kept within the positions that the decoder has.
    """
    model = _in_precision(bundle, section)
    longest = min(section.max_length, _longest_target(bundle))
    if isinstance(section, Greedy | Beam) and section.ctc_weight:
        model = _with_ctc(model, section.ctc_weight).eval()
    return model, section.model_copy(update={"max_length": longest})


def _with_ctc(model: Seq2Seq, weight: float) -> Seq2Seq:
    """Let the decoder and CTC answer as one; a language model adds its share to what both say."""
    return (
        model.around(_with_ctc(model.model, weight)) if isinstance(model, Fused) else CtcJoint(model, weight)
    )


def _refuse_for_numbers(prefix: Value | None, reads: bool, workers: int) -> None:
    complaints = []
    if prefix is not None:
        complaints.append("`prefix`: forecasts begin with their first step, not with a prefix")
    if reads:
        complaints.append("`reads`: what a forecast attends to is not reported")
    if workers != 1:
        complaints.append(f"`workers`: forecasts are computed by one process, found {workers}; 1 would do")
    if complaints:
        raise UserError("\n".join(complaints))


def _in_precision(bundle: Bundle, section: Decoding) -> Seq2Seq:
    """Return the bundle's model as it answers in the precision of the section."""
    if section.precision == "fp32":
        return in_float32(bundle.model)
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


_Answer = tuple[Answers, tuple[Value, ...]] | DataError
"""Hypotheses and what they stand for, or why there are none."""


@dataclass(frozen=True)
class _Asked:
    """A window that is being answered."""

    window: list[tuple[int, Example]]
    found: list[_Answer]
    """What is known already: the answers to empty sources, and what is wrong with others."""
    batches: list[list[int]]
    """Places in the window."""
    answers: Iterator[list[Answers | DataError]]
    """Of each batch."""


def _in_turn(task: _Task, examples: Iterable[Example], answered: Answering) -> Iterator[_Asked]:
    """Ask for one window after the other.

    Of several full ones each is asked for before the one ahead of it is given, so that workers never wait.
    """
    reading, waiting = windows(examples), deque[_Asked]()
    while True:
        fault: Exception | None = None
        try:
            window = next(reading, [])
        except Exception as found:  # noqa: BLE001 - raised again, after the answers before it
            window, fault = [], found
        if window:
            waiting.append(_ask(task, window, answered))
        ahead = 1 if task.workers > 1 and len(window) == LARGEST_WINDOW else 0
        while len(waiting) > ahead:
            yield waiting.popleft()
        if fault is not None:
            raise fault
        if not window:
            return


def _ask(task: _Task, window: list[tuple[int, Example]], answered: Answering) -> _Asked:
    codec = task.bundle.codecs.text
    found: list[_Answer] = [((EMPTY,), (codec.decode(EMPTY.tokens),))] * len(window)
    places: list[int] = []
    sources: list[Encoded] = []
    wanted: list[Wanted] = []
    for place, (_, example) in enumerate(window):
        if not example.source:
            continue
        try:
            encoded = task.bundle.codecs.source.encode(example.source)
            if task.terminology is not None:
                wanted.append(task.terminology.wanted(example.source))
        except DataError as fault:
            found[place] = fault
        else:
            sources.append(encoded)
            places.append(place)
    lengths = [len(tokens) for tokens in sources]
    shares = sorted(_LAST_SHARES * task.workers) if task.workers > 1 else ()
    together = list(batches(lengths, _budget(task, sum(lengths)), task.rows, shares))[::-1]  # longest first
    requests = (
        Request(
            [sources[member] for member in batch],
            [window[places[member]][0] for member in batch],
            task.section,
            task.prefix,
            task.reads,
            [wanted[member] for member in batch] if wanted else None,
        )
        for batch in together
    )
    return _Asked(
        window, found, [[places[member] for member in batch] for batch in together], answered(requests)
    )


def _answers(task: _Task, asked: _Asked) -> list[_Answer]:
    """Return the answers of a window; an input that cannot be answered has its error beside the others."""
    for batch, answers in zip(asked.batches, asked.answers, strict=True):
        for place, answer in zip(batch, answers, strict=True):
            # At once: workers go on meanwhile.
            asked.found[place] = answer if isinstance(answer, DataError) else _with_values(task, answer)
    return asked.found


def _with_values(task: _Task, answers: Answers) -> tuple[Answers, tuple[Value, ...]]:
    """Say what hypotheses stand for, and choose among them where that decides."""
    texts = [task.bundle.codecs.text.decode(one.tokens) for one in answers]
    if isinstance(task.section, Mbr) and answers[0] != FAILED:
        chosen = most_agreed(task.section, answers, texts)
        return tuple(one for one, _ in chosen), tuple(text for _, text in chosen)
    return answers, tuple(texts)


def _budget(task: _Task, tokens: int) -> int:
    """Return the tokens of a batch: few enough that workers of one window end at about the same time."""
    if task.workers == 1:
        return task.section.batch_tokens
    share = -(-tokens * task.rows // task.workers)
    several = max(share // _BATCHES_EACH, min(share, _FEWEST_TOKENS))
    return max(1, min(task.section.batch_tokens, several))


def _prediction(
    task: _Task, number: int, example: Example, answers: Answers, values: tuple[Value, ...]
) -> Prediction:
    complaint = None
    if answers[0] == FAILED:
        complaint = (
            "the model computed no probabilities (not a number, or infinite), or nothing keeps to `phrases`; "
            "its answer is empty"
        )
    elif task.terminology is not None and (answers[0] is EMPTY or not answers[0].is_finished):
        complaint = task.terminology.complaint(example.source, values[0])
    if complaint:
        warnings.warn(f"{where(number, example)}: {complaint}", RuntimeWarning, stacklevel=3)
    return Prediction(example, values, answers)
