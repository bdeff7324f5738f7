"""What attention read: each layer and head, their mean, and rollout through the encoder.

Shapes: N texts, H heads, T target steps, J decoder steps (patches of numbers), S source steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.batching import padded
from dragoman.data.frames import Frames
from dragoman.errors import UserError
from dragoman.explanation.explained import asking
from dragoman.explanation.subject import Subject, is_alone
from dragoman.model.aligned import AlignedDecoder
from dragoman.model.looking import Looks, watched
from dragoman.records import Batch

Reals = NDArray[np.float64]


def heads_of(subject: Subject) -> list[Reals]:
    """Return the weights of each layer of the decoder (H, T, S), given the tokens or numbers before.

    An aligned decoder reads at each step the encoder's own, which counts as one layer of one head; beyond the
    end of the source it reads nothing. Raises UserError for a decoder that attends to nothing.
    """
    return _decoder_heads(subject, _looks(subject, subject.batch))


def means_of(subjects: Sequence[Subject]) -> list[Reals]:
    """Return the mean over heads and layers of several texts with texts for answers, (T, S) of each.

    They are of one bundle and are read at once. UserError as for one.
    """
    sources = padded([subject.source for subject in subjects])
    targets = padded([np.array(subject.target, np.int32) for subject in subjects])
    names = tuple(subject.example.id for subject in subjects)
    batch = Batch(sources, targets, names).to(subjects[0].bundle.device)
    looks = _looks(subjects[0], batch)
    return [mean_of(_decoder_heads(subject, looks, row)) for row, subject in enumerate(subjects)]


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
    looks = _looks(subject, subject.batch)
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
def _looks(subject: Subject, batch: Batch) -> Looks:
    """Watch one pass over sources and answers."""
    if is_alone(subject.bundle):
        raise UserError(
            "this model has no decoder (`model.decoder.kind: none`), so nothing attends to its source; "
            "gradient_input, integrated_gradients or occlusion would do"
        )
    model = subject.bundle.model
    with asking(subject), watched(model) as looks:
        model.follow(model.encode(batch.source), model.told(batch.source, batch.target))
    return looks


def _decoder_heads(subject: Subject, looks: Looks, row: int = 0) -> list[Reals]:
    """Return the weights of one row of what was watched, without its padding."""
    model, steps, places = subject.bundle.model, len(subject.pieces), len(subject.places)
    patch = model.frame_inputs.patch if isinstance(subject.target, Frames) else 1
    if isinstance(model.decoder, AlignedDecoder):
        own_1JS = np.eye(-(-steps // patch), places)[None]
        return [own_1JS.repeat(patch, axis=1)[:, :steps]]
    if not looks.decoder:
        raise UserError(
            "this decoder reads one fixed vector (`model.decoder.attention.kind: none`), so it attends to "
            "nothing; gradient_input, integrated_gradients or occlusion would do"
        )
    found = [_numpy(weights_NHJS[row]).repeat(patch, axis=1) for weights_NHJS in looks.decoder]
    return [weights_HTS[:, :steps, :places] for weights_HTS in found]


def _numpy(weights: Tensor) -> Reals:
    numbers: Reals = weights.double().cpu().numpy()
    return numbers
