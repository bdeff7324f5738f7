"""What attention read: each layer and head, their mean, and rollout through the encoder.

Shapes: H heads, T target steps, J decoder steps (patches of numbers), S source steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.frames import Frames
from dragoman.errors import UserError
from dragoman.explanation.explained import asking
from dragoman.explanation.subject import Subject, is_alone
from dragoman.model.aligned import AlignedDecoder
from dragoman.model.looking import Looks, watched

Reals = NDArray[np.float64]


def heads_of(subject: Subject) -> list[Reals]:
    """Return the weights of each layer of the decoder (H, T, S), given the tokens or numbers before.

    An aligned decoder reads at each step the encoder's own, which counts as one layer of one head; beyond the
    end of the source it reads nothing. Raises UserError for a decoder that attends to nothing.
    """
    return _decoder_heads(subject, _looks(subject))


def mean_of(heads: list[Reals]) -> Reals:
    """Return the mean over heads and layers (T, S)."""
    mean_TS: Reals = np.mean([weights_HTS.mean(0) for weights_HTS in heads], axis=0)
    return mean_TS


def rolled_out(subject: Subject) -> Reals:
    """Return attention followed back through the encoder's layers (T, S): rollout (Abnar and Zuidema 2020).

    Every layer passes on half of what its heads read, on average, and half of what was there. What the
    decoder reads of the last layer is their mean. Rows sum to one. UserError where the encoder has no
    self-attention to go through.
    """
    looks = _looks(subject)
    if not looks.encoder:
        raise UserError(
            f"rollout goes through an encoder's self-attention, and this encoder is of the kind "
            f"{subject.bundle.recipe.model.encoder.kind}; attention, gradient_input or occlusion would do"
        )
    rolled_TS = mean_of(_decoder_heads(subject, looks))
    for weights_1HSS in reversed(looks.encoder):
        heard_SS = _numpy(weights_1HSS[0]).mean(0)
        rolled_TS = rolled_TS @ (0.5 * heard_SS + 0.5 * np.eye(len(heard_SS)))
    return rolled_TS


@torch.no_grad()
def _looks(subject: Subject) -> Looks:
    """Watch one pass over source and answer."""
    if is_alone(subject.bundle):
        raise UserError(
            "this model has no decoder (`model.decoder.kind: none`), so nothing attends to its source; "
            "gradient_input, integrated_gradients or occlusion would do"
        )
    model, batch = subject.bundle.model, subject.batch
    with asking(subject), watched(model) as looks:
        target = replace(batch.target, ahead_BTC=batch.source.ahead_BTC)
        model.follow(model.encode(batch.source), target)
    return looks


def _decoder_heads(subject: Subject, looks: Looks) -> list[Reals]:
    model, steps = subject.bundle.model, len(subject.pieces)
    patch = model.frame_inputs.patch if isinstance(subject.target, Frames) else 1
    if isinstance(model.decoder, AlignedDecoder):
        own_1JS = np.eye(-(-steps // patch), len(subject.places))[None]
        return [own_1JS.repeat(patch, axis=1)[:, :steps]]
    if not looks.decoder:
        raise UserError(
            "this decoder reads one fixed vector (`model.decoder.attention.kind: none`), so it attends to "
            "nothing; gradient_input, integrated_gradients or occlusion would do"
        )
    return [_numpy(weights_1HJS[0]).repeat(patch, axis=1)[:, :steps] for weights_1HJS in looks.decoder]


def _numpy(weights: Tensor) -> Reals:
    numbers: Reals = weights.double().cpu().numpy()
    return numbers
