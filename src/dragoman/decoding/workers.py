"""Batches answered here, or by several processes at a time.

Two processes of one thread each answer many more inputs than one process of two threads: the pieces of a
decoding step are too small to share.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import multiprocessing

from dragoman.data.batching import padded
from dragoman.data.frames import Encoded
from dragoman.decoding.constrained import Wanted, followed_from
from dragoman.decoding.ctc import ctc_beam, ctc_greedy
from dragoman.decoding.mbr import drawing, searching
from dragoman.decoding.phrases import Spelling
from dragoman.decoding.search import FAILED, search
from dragoman.errors import DataError, UserError
from dragoman.model.kernels import hold_memory
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.decoding import (
    Beam,
    CtcBeam,
    CtcDecoding,
    CtcGreedy,
    Greedy,
    Mbr,
    Sample,
    TokenDecoding,
)
from dragoman.records import Hypothesis

Answers = tuple[Hypothesis, ...]


@dataclass(frozen=True)
class Request:
    """A batch of encoded sources, with their keys (see `search`), and what is asked of each."""

    sources: Sequence[Encoded]
    keys: Sequence[int]
    section: TokenDecoding | Mbr | CtcDecoding
    prefix: list[int]
    reads: bool
    wanted: Sequence[Wanted] | None = None
    """Phrases that the answer to each source must and must not contain."""


Answering = Callable[[Iterable[Request]], Iterator[list[Answers | DataError]]]
"""Answers requests in their order."""


@contextmanager
def answering_requests(model: Seq2Seq, workers: int, spelling: Spelling | None = None) -> Iterator[Answering]:
    """Give what answers requests: this process, or for more than one worker processes of their own.

    With a `spelling` requests may say what phrases are wanted. Workers share the weights and the threads of
    this process. Raises UserError for several workers of a model that is not on a CPU, and where a worker
    dies.
    """
    if workers < 1:
        raise UserError(f"workers: expected at least 1, found {workers}")
    if workers == 1:
        yield lambda requests: (answer_request(model, request, spelling) for request in requests)
        return
    device = next(model.parameters()).device
    if device.type != "cpu":
        raise UserError(f"workers: several are for a CPU, this model is on {device.type}; 1 would do")
    threads = max(1, torch.get_num_threads() // workers)
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _begin, (model, threads, spelling)
    )
    try:
        yield lambda requests: _mapped(pool, requests)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # they end by themselves, which takes a while


def answer_request(
    model: Seq2Seq, request: Request, spelling: Spelling | None = None
) -> list[Answers | DataError]:
    """Search a batch; where the model refuses it, its members one by one."""
    try:
        return list(_answers(model, request, spelling))
    except DataError as fault:
        if len(request.sources) == 1:
            return [fault]
    return [
        answer
        for place, source in enumerate(request.sources)
        for answer in answer_request(
            model,
            replace(
                request,
                sources=[source],
                keys=[request.keys[place]],
                wanted=request.wanted and [request.wanted[place]],
            ),
            spelling,
        )
    ]


@torch.inference_mode()
def _answers(model: Seq2Seq, request: Request, spelling: Spelling | None) -> list[Answers]:
    source = padded(request.sources).to(next(model.parameters()).device)
    section = request.section
    if isinstance(section, Mbr):
        return _drawn_and_searched(model, request, section)
    if isinstance(section, Greedy | Beam | Sample):
        prefixes = [request.prefix] * len(request.sources)
        followed = None
        if request.wanted is not None and spelling is not None:
            followed = followed_from(request.wanted, spelling)
        keys = list(request.keys)
        return search(
            model, source, section, prefixes=prefixes, keys=keys, reads=request.reads, followed=followed
        )
    memory = model.encode(source)
    log_probs_NSV, lengths_N = model.ctc_log_probs(memory), memory.mask_NS.sum(dim=1)
    match section:
        case CtcGreedy():
            return [(answer,) for answer in ctc_greedy(log_probs_NSV, lengths_N)]
        case CtcBeam():
            return ctc_beam(log_probs_NSV, lengths_N, section.beam, section.nbest)


def _drawn_and_searched(model: Seq2Seq, request: Request, section: Mbr) -> list[Answers]:
    """Return all samples of each source, then the hypotheses of its beam; FAILED alone if either failed."""
    drawn = _answers(model, replace(request, section=drawing(section)), None)
    beam = searching(section)
    if beam is None:
        return drawn
    searched = _answers(model, replace(request, section=beam), None)
    pairs = zip(drawn, searched, strict=True)
    return [next((one for one in pair if one[0] == FAILED), pair[0] + pair[1]) for pair in pairs]


def _mapped(pool: ProcessPoolExecutor, requests: Iterable[Request]) -> Iterator[list[Answers | DataError]]:
    """Hand all requests over at once, and return what is answered as it is asked for."""
    with _named_fault():
        answers = pool.map(_answer_here, requests)
    return _collected(answers)


def _collected(answers: Iterator[list[Answers | DataError]]) -> Iterator[list[Answers | DataError]]:
    with _named_fault():
        yield from answers


@contextmanager
def _named_fault() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as fault:
        raise UserError(
            "a worker ended before it had answered: for want of memory (fewer `workers` may do), or since a "
            'script that asks for workers does so outside `if __name__ == "__main__":`'
        ) from fault


_model: Seq2Seq | None = None
"""In a worker, the model that it answers with."""
_spelling: Spelling | None = None
"""In a worker, what follows phrases."""


def _begin(model: Seq2Seq, threads: int, spelling: Spelling | None) -> None:
    """Prepare a worker; Ctrl-C is for the process that asks."""
    global _model, _spelling
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    hold_memory()
    _model, _spelling = model.eval(), spelling
    gc.freeze()  # what is here stays; looking through it again and again takes time


def _answer_here(request: Request) -> list[Answers | DataError]:
    assert _model is not None
    return answer_request(_model, request, _spelling)
