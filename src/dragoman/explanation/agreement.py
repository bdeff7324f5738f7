"""Whether methods say the same of an answer, and whether they say anything of the model that gave it.

Shapes: M methods, T target steps, P places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.data.codec import ports_of
from dragoman.errors import UserError
from dragoman.evaluation.calibration import rank_correlation
from dragoman.explanation.attribution import Attribution, Method, attribute
from dragoman.explanation.subject import Subject
from dragoman.model.build import build_model

Reals = NDArray[np.float64]


def agreement(attributions: Sequence[Attribution]) -> Reals:
    """Return how much each two attributions agree (M, M), from -1 to 1.

    Spearman's rank correlation of the sizes of weights, of each target step over its places, and of these
    the mean; NaN where nothing can be ranked. UserError for attributions of different steps.
    """
    shapes = {one.weights_TS.shape for one in attributions}
    if len(shapes) > 1:
        found = " and ".join(f"{steps} × {places}" for steps, places in sorted(shapes))
        raise UserError(
            f"agreement: attributions of {found} steps cannot be compared; those of one whole answer can"
        )
    return np.array(
        [[_correlation(one.weights_TS, other.weights_TS) for other in attributions] for one in attributions]
    )


def randomised(
    subject: Subject, attributions: Sequence[Attribution], *, seeds: Sequence[int] = (0, 1, 2)
) -> Mapping[Method, float]:
    """Return how much each method says the same when the model has learnt nothing (Adebayo et al. 2018).

    The same answer is explained by models of the same recipe with fresh weights, one for each seed, by each
    method as it is without options; what is returned is the mean of `agreement`. A method that still says
    the same tells of the source or of the architecture, and not of what was learnt.
    """
    found: dict[Method, list[float]] = {}
    for seed in seeds:
        fresh = _fresh(subject, seed)
        for one in attributions:
            other = attribute(fresh, one.method)
            found.setdefault(one.method, []).append(float(agreement([one, other])[0, 1]))
    return {method: float(np.mean(values)) for method, values in found.items()}


def _fresh(subject: Subject, seed: int) -> Subject:
    """Put a model with fresh weights in the place of the one that was trained."""
    bundle = subject.bundle
    recipe, weight = bundle.recipe, next(bundle.model.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(recipe.model, *ports_of(recipe, bundle.codecs), recipe.training.objective)
    return replace(subject, bundle=replace(bundle, model=model.to(weight.device, weight.dtype).eval()))


def _correlation(one_TP: Reals, other_TP: Reals) -> float:
    """Return the mean over target steps of the correlation of ranks; steps without any are left out."""
    steps = zip(np.abs(one_TP), np.abs(other_TP), strict=True)
    found = [rank_correlation(one_P, other_P, fewest=2) for one_P, other_P in steps]
    told = [value for value in found if value is not None]
    return float(np.mean(told)) if told else float("nan")
