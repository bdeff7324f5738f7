"""Gradients of an answer by its embedded source, made into shares of it.

Shapes: R rows, variants of one source; S steps of the source's values, E width of its embedding; T target
steps, P places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.frames import Frames
from dragoman.errors import UserError
from dragoman.explanation.explained import (
    asking,
    by_place,
    explained_steps,
    inputs_of,
    log_prob_steps,
)
from dragoman.explanation.foils import Foil, foils_of
from dragoman.explanation.subject import Subject

Reals = NDArray[np.float64]


def gradient_input(subject: Subject) -> Reals:
    """Return the gradient of each target step times the input, summed over its features (T, P)."""
    inputs_1SE = inputs_of(subject)
    with asking(subject):
        leaf_1SE = inputs_1SE.clone().requires_grad_()
        rows = [
            gradient_1SE * inputs_1SE
            for gradient_1SE in gradients_of(explained_steps(subject, leaf_1SE), leaf_1SE)
        ]
    return _numpy(by_place(subject, torch.cat(rows).double().sum(2)))


def contrast(subject: Subject, step: int | None, foil: str | None) -> tuple[Reals, str]:
    """Return why each token and not its foil (Yin and Neubig 2022), and what is contrasted, in words.

    Gradient times input of the difference of their log-probabilities (T, P), or of `step` alone (1, P).
    """
    if isinstance(subject.target, Frames):
        raise UserError("contrastive: numbers have no words that might stand instead; occlusion would do")
    foils = foils_of(subject, step, foil)
    inputs_1SE = inputs_of(subject)
    with asking(subject):
        leaf_1SE = inputs_1SE.clone().requires_grad_()
        rows = [
            gradient_1SE * inputs_1SE
            for gradient_1SE in gradients_of(_differences(subject, foils, leaf_1SE), leaf_1SE)
        ]
    weights_TP = _numpy(by_place(subject, torch.cat(rows).double().sum(2)))
    if step is None:
        return weights_TP, "each token and not the most probable other"
    return weights_TP, f"step {step}: {subject.pieces[step]!r} and not {foils[0].piece!r}"


def _differences(subject: Subject, foils: list[Foil], inputs_RSE: Tensor) -> Iterator[Tensor]:
    """Yield how much more probable each token is than its foil (R,), where it has one."""
    by_step = {foil.step: foil for foil in foils}
    for step, log_probs_RV in enumerate(log_prob_steps(subject, inputs_RSE)):
        if step in by_step:
            yield log_probs_RV[:, by_step[step].token] - log_probs_RV[:, by_step[step].other]


def gradients_of(steps_R: Iterable[Tensor], leaf_RSE: Tensor) -> Iterator[Tensor]:
    """Yield the gradient of each step by the inputs of its own row (R, S, E); rows do not see one another."""
    for value_R in steps_R:
        (gradient_RSE,) = torch.autograd.grad(
            value_R.sum(), leaf_RSE, retain_graph=True, materialize_grads=True
        )
        yield gradient_RSE


def _numpy(values: Tensor) -> Reals:
    numbers: Reals = values.detach().double().cpu().numpy()
    return numbers
