"""What is explained, as a function of the embedded source: how probable each token is, or what is forecast.

Shapes: R rows, variants of one source; S steps of the source's values (frames before a frontend shortens
them), E width of its embedding or of a frame; T target steps; V vocabulary; P places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from dragoman.data.frames import Frames
from dragoman.data.number_codec import NumbersCodec
from dragoman.data.speech import SpeechCodec
from dragoman.decoding.batches import answering
from dragoman.errors import DataError
from dragoman.explanation.subject import Subject, is_alone
from dragoman.model.contracts import Memory
from dragoman.model.ctc import ctc_nll
from dragoman.model.frontends import TokenFrontend
from dragoman.model.kernels import compute
from dragoman.records import EOS, Sequence

_NUMBERS_AT_ONCE = 1 << 22
"""Rows are computed in slices of about this many numbers of inputs or logits."""


@contextmanager
def asking(subject: Subject) -> Iterator[None]:
    """Let the model be asked: in eval mode, in float32 (float64 stays), its weights without gradients.

    Recurrent layers do without cuDNN, whose gradients are there in training mode only.
    """
    model = subject.bundle.model
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in learnt:
        weight.requires_grad_(False)
    try:
        with (
            answering(model),
            compute("fp32", subject.bundle.device),
            torch.backends.cudnn.flags(enabled=False),
        ):
            yield
    finally:
        for weight in learnt:
            weight.requires_grad_(True)


def inputs_of(subject: Subject) -> Tensor:
    """Return the embedded source (1, S, E): embeddings of tokens, or frames as they are."""
    source, frontend = subject.batch.source, subject.bundle.model.source_frontend
    if isinstance(frontend, TokenFrontend):
        with torch.no_grad():
            embedded_1SE: Tensor = frontend(source.values)
        return embedded_1SE
    return source.values


def baseline_of(subject: Subject) -> Tensor:
    """Return the source that says nothing (1, S, E): zeros for embeddings, the centre for frames.

    Frames that were normalised have their centre at zero; others get the mean of their own steps.
    """
    inputs_1SE = inputs_of(subject)
    match subject.bundle.codecs.source:
        case SpeechCodec() as codec if codec.section.normalise == "none":
            return inputs_1SE.mean(1, keepdim=True).expand_as(inputs_1SE)
        case NumbersCodec() as codec if codec.section.scale == "none":
            return inputs_1SE.mean(1, keepdim=True).expand_as(inputs_1SE)
        case _:
            return torch.zeros_like(inputs_1SE)


def hidden(subject: Subject, is_hidden_RP: Tensor) -> Tensor:
    """Return variants of the source (R, S, E) whose hidden places say nothing."""
    inputs_1SE = inputs_of(subject)
    steps = inputs_1SE.shape[1]
    is_hidden_RS = is_hidden_RP.repeat_interleave(_shortening(subject), 1)[:, :steps]
    return torch.where(is_hidden_RS[:, :, None].to(inputs_1SE.device), baseline_of(subject), inputs_1SE)


def by_place(subject: Subject, weights_RS: Tensor) -> Tensor:
    """Sum what belongs to steps of the source over the steps of each place (R, P)."""
    size = _shortening(subject)
    filled_RS = torch.nn.functional.pad(weights_RS, (0, -weights_RS.shape[1] % size))
    return filled_RS.view(len(weights_RS), -1, size).sum(2)


def _shortening(subject: Subject) -> int:
    """Return how many steps of the source make a place."""
    frontend = subject.bundle.recipe.model.frontend
    return 1 if frontend is None else frontend.shortening


# --- what the model says


def explained_steps(subject: Subject, inputs_RSE: Tensor) -> Iterator[Tensor]:
    """Yield for each target step what is explained of it (R,), to be differentiated by the inputs.

    That is the log-probability of its token, given the tokens before it; of numbers the point forecast,
    summed over variables, in scaled units and given the steps before it; of CTC alone the log-probability of
    the answer over all its paths, once. To be called while `asking`.
    """
    model, target = subject.bundle.model, subject.target
    if isinstance(target, Frames):
        yield from _forecast(subject, inputs_RSE).unbind(1)
    elif is_alone(subject.bundle):
        memory = encoded(subject, inputs_RSE)
        yield _answer_of_ctc(subject, memory, model.ctc_log_probs(memory))
    else:
        for log_probs_RV, token in zip(log_prob_steps(subject, inputs_RSE), target, strict=True):
            yield log_probs_RV[:, token]


def log_prob_steps(subject: Subject, inputs_RSE: Tensor) -> Iterator[Tensor]:
    """Yield for each target step the log-probabilities of the vocabulary (R, V), given the tokens before."""
    model = subject.bundle.model
    memory = encoded(subject, inputs_RSE)
    outputs_RTD = model.follow(memory, _rows(subject.batch.target, len(inputs_RSE))).outputs_BTD
    for outputs_RD in outputs_RTD.unbind(1):
        yield model.logits(outputs_RD).log_softmax(-1)


def explained(subject: Subject, inputs_RSE: Tensor) -> Tensor:
    """Return what is explained of each target step (R, T) in float64, without gradients, slice by slice."""
    numbers = (
        inputs_RSE.shape[1] * inputs_RSE.shape[2]
        + len(subject.pieces) * subject.bundle.model.target_port.size
    )
    size = max(1, _NUMBERS_AT_ONCE // numbers)
    with asking(subject), torch.no_grad():
        parts = [
            torch.stack(list(explained_steps(subject, part_RSE)), 1)
            for part_RSE in torch.split(inputs_RSE, size)
        ]
    return torch.cat(parts).double()


def encoded(subject: Subject, inputs_RSE: Tensor) -> Memory:
    """Encode embedded sources, all of them as long as the subject's."""
    model, source = subject.bundle.model, _rows(subject.batch.source, len(inputs_RSE))
    if isinstance(model.source_frontend, TokenFrontend):
        memory: Memory = model.encoder(inputs_RSE, source.mask_BS)
        return memory
    return model.encode(replace(source, values=inputs_RSE))


def _forecast(subject: Subject, inputs_RSE: Tensor) -> Tensor:
    """Return the point forecast of each step (R, T), summed over variables."""
    model, rows = subject.bundle.model, len(inputs_RSE)
    source = _rows(subject.batch.source, rows)
    if not isinstance(model.source_frontend, TokenFrontend):
        source = replace(source, values=inputs_RSE)
    told = model.told(source, _rows(subject.batch.target, rows))
    outputs_RJD = model.follow(encoded(subject, inputs_RSE), told).outputs_BTD
    said_RTFQ = model.numbers(outputs_RJD, model.line(source))
    return model.number_head.point(said_RTFQ).sum(-1)[:, : len(subject.pieces)]


def _answer_of_ctc(subject: Subject, memory: Memory, log_probs_RSV: Tensor) -> Tensor:
    """Return the log-probability of the answer over all its paths (R,); DataError where there is none."""
    assert not isinstance(subject.target, Frames), "CTC writes tokens"
    symbols = [token for token in subject.target if token != EOS]
    rows = len(log_probs_RSV)
    targets_RT = torch.tensor(symbols or [EOS], device=log_probs_RSV.device).expand(rows, -1)
    lengths_R = torch.full((rows,), len(symbols), device=log_probs_RSV.device)
    found_R = -ctc_nll(log_probs_RSV, memory.mask_NS, targets_RT, lengths_R)
    needed = len(symbols) + sum(one == other for one, other in zip(symbols, symbols[1:], strict=False))
    steps = int(memory.mask_NS[0].sum())
    if needed > steps:
        raise DataError(
            f"no path of {steps} steps writes these {len(symbols)} tokens; a shorter target would do"
        )
    return found_R


def _rows(one: Sequence, rows: int) -> Sequence:
    """Repeat a sequence of one row."""
    ahead_BTC = None if one.ahead_BTC is None else one.ahead_BTC.expand(rows, -1, -1)
    values = one.values.expand(rows, *one.values.shape[1:])
    return Sequence(values, one.lengths_B.expand(rows), ahead_BTC=ahead_BTC)
