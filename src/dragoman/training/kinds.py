"""Kinds of windows, found by k-means (Lloyd 1982) of how much they vary over short and over long times.

Shapes: R windows of one variable, S steps of a context, K kinds, L variations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.model.highway import Kinds

_STARTS = 5
_MOST_ROUNDS = 100

Numbers = NDArray[np.float64]


def fit_kinds(kinds: Kinds, contexts_RS: Numbers) -> None:
    """Set the centres to those of the windows, and weights so that all variations vary alike.

    The best of several starts, each at windows that are far apart (Arthur and Vassilvitskii 2007).
    """
    with torch.no_grad():
        contexts = torch.from_numpy(contexts_RS).to(kinds.weights_L.device)
        variations_RL = kinds.variations(contexts).double().cpu().numpy()
    middle_L, deviation_L = variations_RL.mean(axis=0), variations_RL.std(axis=0)
    deviation_L[deviation_L == 0] = 1.0
    points_RL = (variations_RL - middle_L) / deviation_L
    numbers = np.random.default_rng(0)
    starts = [_far_apart(points_RL, len(kinds.centres_KL), numbers) for _ in range(_STARTS)]
    found = [_centred(points_RL, start_KL) for start_KL in starts]
    best_KL = min(found, key=lambda centres_KL: _squares(points_RL, centres_KL).min(axis=1).sum())
    with torch.no_grad():
        kinds.centres_KL.copy_(torch.from_numpy(best_KL * deviation_L + middle_L))
        kinds.weights_L.copy_(torch.from_numpy(1 / deviation_L))


def _far_apart(points_RL: Numbers, count: int, numbers: np.random.Generator) -> Numbers:
    """Draw points one after the other, each by its squared distance from the nearest before it."""
    chosen = [points_RL[numbers.integers(len(points_RL))]]
    while len(chosen) < count:
        squares_R = _squares(points_RL, np.stack(chosen)).min(axis=1)
        total = squares_R.sum()
        chances_R = squares_R / total if total > 0 else None
        chosen.append(points_RL[numbers.choice(len(points_RL), p=chances_R)])
    return np.stack(chosen)


def _centred(points_RL: Numbers, centres_KL: Numbers) -> Numbers:
    """Move centres to the mean of the points that are nearest, until they stay; one without any stays too."""
    for _ in range(_MOST_ROUNDS):
        nearest_R = _squares(points_RL, centres_KL).argmin(axis=1)
        moved_KL = np.stack(
            [
                points_RL[nearest_R == kind].mean(axis=0) if (nearest_R == kind).any() else centre_L
                for kind, centre_L in enumerate(centres_KL)
            ]
        )
        if np.array_equal(moved_KL, centres_KL):
            break
        centres_KL = moved_KL
    return centres_KL


def _squares(points_RL: Numbers, centres_KL: Numbers) -> Numbers:
    """Return squared distances (R, K)."""
    return np.stack([((points_RL - centre_L) ** 2).sum(axis=1) for centre_L in centres_KL], axis=1)
