"""Losses of numbers, and the distributions that some of them stand for.

Shapes: B rows, T target steps, F variables, Q what a head says of one number.
"""

from __future__ import annotations

import math
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.recipe.objectives import Absolute, Huber, Likelihood, NumericObjective, Quantile, Squared

_SMALLEST_SCALE = 1e-4
"""In deviations of the codec; a distribution that is narrower makes a likelihood without bounds."""
_LEAST_FREEDOM, _MOST_FREEDOM = 2.001, 1000.0
"""Below 2 Student's t has no variance; above 1,000 it is normal, and gammas lose their digits in float32."""


def sizes_of(section: NumericObjective) -> int:
    """Count what a head says of one number: its location, or quantiles; then scale; then freedom."""
    match section:
        case Squared() | Absolute() | Huber():
            return 1
        case Quantile():
            return len(section.levels)
        case Likelihood(kind="gaussian"):
            return 2
        case Likelihood():
            return 3
        case _:
            assert_never(section)


def number_losses(
    said_BTFQ: Tensor, targets_BTF: Tensor, units_BF: Tensor | None, section: NumericObjective
) -> Tensor:
    """Return the loss of each number (B, T, F); 0, without a gradient, where the target is NaN.

    Errors are measured in `units_BF` where the section says so. Likelihoods are those of the codec's frames:
    in other units they differ by a constant.
    """
    is_there_BTF = ~targets_BTF.isnan()
    targets_BTF = targets_BTF.masked_fill(~is_there_BTF, 0.0).to(said_BTFQ.dtype)
    if isinstance(section, Likelihood):
        losses_BTF = _nlls(said_BTFQ, targets_BTF)
    else:
        errors_BTFQ = targets_BTF[..., None] - said_BTFQ
        if section.units == "data" and units_BF is not None:
            errors_BTFQ = errors_BTFQ * units_BF[:, None, :, None]
        losses_BTF = _of_errors(errors_BTFQ, section)
    return losses_BTF.masked_fill(~is_there_BTF, 0.0)


def scales(said_BTFQ: Tensor) -> Tensor:
    """Return the scale of each distribution, above 0."""
    return F.softplus(said_BTFQ[..., 1]) + _SMALLEST_SCALE


def freedoms(said_BTFQ: Tensor) -> Tensor:
    """Return the degrees of freedom of each Student's t, above 2."""
    return (F.softplus(said_BTFQ[..., 2]) + _LEAST_FREEDOM).clamp(max=_MOST_FREEDOM)


def _of_errors(errors_BTFQ: Tensor, section: Squared | Absolute | Huber | Quantile) -> Tensor:
    match section:
        case Squared():
            return errors_BTFQ[..., 0].square()
        case Absolute():
            return errors_BTFQ[..., 0].abs()
        case Huber():
            size_BTF = errors_BTFQ[..., 0].abs()
            near_BTF = size_BTF.clamp(max=section.delta)
            return near_BTF * (size_BTF - 0.5 * near_BTF)
        case Quantile():
            levels_Q = errors_BTFQ.new_tensor(section.levels)
            return torch.maximum(levels_Q * errors_BTFQ, (levels_Q - 1) * errors_BTFQ).mean(-1)
        case _:
            assert_never(section)


def _nlls(said_BTFQ: Tensor, targets_BTF: Tensor) -> Tensor:
    """Return negative log-likelihoods in nats, of a normal distribution or Student's t."""
    scales_BTF = scales(said_BTFQ)
    apart_BTF = (targets_BTF - said_BTFQ[..., 0]) / scales_BTF
    if said_BTFQ.shape[-1] == 2:
        return scales_BTF.log() + 0.5 * apart_BTF.square() + 0.5 * math.log(2 * math.pi)
    freedoms_BTF = freedoms(said_BTFQ)
    normaliser_BTF = torch.lgamma(freedoms_BTF / 2) - torch.lgamma((freedoms_BTF + 1) / 2)
    # log(1 + a²/f) without the square, which would overflow
    tail_BTF = 2 * torch.hypot(torch.ones_like(apart_BTF), apart_BTF / freedoms_BTF.sqrt()).log()
    return (
        normaliser_BTF
        + 0.5 * (freedoms_BTF * math.pi).log()
        + scales_BTF.log()
        + 0.5 * (freedoms_BTF + 1) * tail_BTF
    )
