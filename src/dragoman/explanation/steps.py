"""What the model would have written instead, step by step. Shapes: T target steps, V vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.data.frames import Frames
from dragoman.decoding.rules import NEVER_WRITTEN
from dragoman.errors import UserError
from dragoman.explanation.explained import asking, inputs_of, log_prob_steps
from dragoman.explanation.subject import END_LABEL, Subject, is_alone
from dragoman.records import EOS


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another token that the model considered at a step, with its natural log-probability."""

    piece: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class StepChoice:
    """A target token, its natural log-probability, its rank from 1 of what can be written, best others."""

    piece: str
    log_prob: float
    rank: int
    alternatives: tuple[Alternative, ...]


def step_choices(subject: Subject, alternatives: int = 5) -> tuple[StepChoice, ...]:
    """Return for each token of the answer how probable it was, and the best of what it was chosen from.

    Given the true tokens before it (teacher forcing). Equal probabilities share a rank. What no search ever
    writes, such as padding, is no alternative and has no rank. Raises UserError for answers that are not
    written token by token.
    """
    if isinstance(subject.target, Frames) or is_alone(subject.bundle):
        kind = "numbers" if isinstance(subject.target, Frames) else "CTC without a decoder"
        raise UserError(
            f"answers of {kind} are not chosen token by token, so there are no alternatives to list; "
            "occlusion or integrated_gradients say what an answer came from"
        )
    if alternatives < 0:
        raise UserError(f"expected 0 alternatives or more, found {alternatives}")
    log_probs_TV = log_probs_of(subject)
    codec = subject.bundle.codecs.text
    choices = []
    for piece, token, log_probs_V in zip(subject.pieces, subject.target, log_probs_TV, strict=True):
        own = log_probs_V[token]
        others_V = others_of(log_probs_V, token)
        values, tokens = others_V.topk(min(alternatives, int(others_V.isfinite().sum())))
        others = [
            Alternative(END_LABEL if other == EOS else codec.pieces([other])[0], value)
            for other, value in zip(tokens.tolist(), values.tolist(), strict=True)
        ]
        rank = int((others_V > own).sum()) + 1
        choices.append(StepChoice(piece, float(own), rank, tuple(others)))
    return tuple(choices)


def others_of(log_probs_V: Tensor, token: int) -> Tensor:
    """Return log-probabilities of what might have been written instead of a token (V); -inf for the rest."""
    others_V = log_probs_V.clone()
    others_V[[token, *NEVER_WRITTEN]] = -torch.inf
    return others_V


def log_probs_of(subject: Subject) -> Tensor:
    """Return the log-probabilities of the whole vocabulary at each step (T, V), float64, on the CPU."""
    if is_alone(subject.bundle):
        raise UserError(
            "this model has no decoder (`model.decoder.kind: none`), so its steps choose no tokens; "
            "gradient_input, integrated_gradients or occlusion would do"
        )
    with asking(subject), torch.no_grad():
        return torch.cat(list(log_prob_steps(subject, inputs_of(subject)))).double().cpu()
