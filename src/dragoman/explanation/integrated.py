"""Integrated gradients: what each source step adds on the way from a source that says nothing.

Shapes: R rows, points of the path; J pieces of the path, G points of each; S steps of the source's values, E
width of its embedding; T target steps, P places.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import UserError
from dragoman.explanation.explained import (
    asking,
    baseline_of,
    by_place,
    explained,
    explained_steps,
    inputs_of,
)
from dragoman.explanation.gradients import gradients_of
from dragoman.explanation.subject import Subject

Reals = NDArray[np.float64]
Span = tuple[float, float]
_PIECES, _POINTS_EACH = 8, 8
"""By default the path begins as so many pieces with so many points in each..."""
_MOST_POINTS = 1024
"""...and pieces are halved where sums are not true, until there are so many points."""
_TOLERANCE, _LEAST_CHANGE = 0.01, 1.0
"""Sums are true enough within this share of what they should be, in nats of this at least."""
_SHARE = 0.25
"""Pieces are halved together that miss at least this share of what the worst of them does."""
_NUMBERS_AT_ONCE = 1 << 20
"""Points are taken together while they have fewer numbers than this, embedded."""


@dataclass(frozen=True, eq=False)
class Integrated:
    """Integrated gradients (T, P), and by how much the sum of each row misses what it should be (T,)."""

    weights_TP: Reals
    error_T: Reals


@dataclass(frozen=True, eq=False)
class _Piece:
    """A piece of the path: what each place adds on it by its gradients, and what is added in truth."""

    span: Span
    weights_TP: Tensor
    change_T: Tensor

    @property
    def excess_T(self) -> Tensor:
        """What gradients add too much."""
        return self.weights_TP.sum(1) - self.change_T

    @property
    def halves(self) -> tuple[Span, Span]:
        """The two halves of the span."""
        begin, end = self.span
        middle = (begin + end) / 2
        return (begin, middle), (middle, end)


def integrated_gradients(subject: Subject, points: int | None = None) -> Integrated:
    """Integrate gradients from the baseline to the source (Sundararajan et al. 2017).

    Rows should sum to what is explained of the source less that of the baseline. On every piece of the path
    that is known too, so by default pieces are halved where gradients change fast, as near the baseline of
    models that normalise, up to 1,024 points. A number of `points` lays these on one piece, where Gauss and
    Legendre do. UserError for fewer than one.
    """
    if points is not None:
        if points < 1:
            raise UserError(f"integrated_gradients: expected 1 point or more, found {points}")
        return _sum(_pieces(subject, [(0.0, 1.0)], points))
    edges = np.linspace(0, 1, _PIECES + 1).tolist()
    found = _pieces(subject, list(itertools.pairwise(edges)), _POINTS_EACH)
    used = _PIECES * _POINTS_EACH
    while poor := _poor(found):
        halves = [span for piece in poor for span in piece.halves]
        used += _POINTS_EACH * len(halves)
        if used > _MOST_POINTS:
            break
        found = [piece for piece in found if piece not in poor] + _pieces(subject, halves, _POINTS_EACH)
    return _sum(found)


def _poor(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Return the pieces to be halved, none where all together are true: those that miss the most."""
    change_T = torch.stack([piece.change_T for piece in pieces]).sum(0)
    allowed_T = _TOLERANCE * change_T.abs().clamp(min=_LEAST_CHANGE)
    missed = [float((piece.excess_T.abs() / allowed_T).max()) for piece in pieces]
    if np.square(missed).sum() <= 1:
        return []
    return [piece for piece, share in zip(pieces, missed, strict=True) if share >= _SHARE * max(missed)]


def _sum(pieces: Sequence[_Piece]) -> Integrated:
    weights_TP = torch.stack([piece.weights_TP for piece in pieces]).sum(0)
    error_T = torch.stack([piece.excess_T for piece in pieces]).sum(0).abs()
    return Integrated(weights_TP.numpy(), error_T.numpy())


def _pieces(subject: Subject, spans: Sequence[Span], points: int) -> list[_Piece]:
    """Integrate over spans of the path by the rule of Gauss and Legendre."""
    baseline_1SE = baseline_of(subject)
    whole_1SE = inputs_of(subject) - baseline_1SE
    places, shares = np.polynomial.legendre.leggauss(points)
    spans_J2 = np.array(spans)
    widths_J1 = spans_J2[:, 1:] - spans_J2[:, :1]
    at_JG = spans_J2[:, :1] + widths_J1 * (places + 1) / 2
    slopes_TJGP = _slopes(subject, baseline_1SE, whole_1SE, torch.from_numpy(at_JG.flatten()))
    slopes_TJGP = slopes_TJGP.view(len(slopes_TJGP), *at_JG.shape, -1)
    weights_JTP = torch.einsum("tjgp,jg->jtp", slopes_TJGP, torch.from_numpy(widths_J1 * shares / 2))
    edges_X = torch.from_numpy(spans_J2.flatten()).to(whole_1SE)
    values_XT = explained(subject, baseline_1SE + edges_X[:, None, None] * whole_1SE).cpu()
    changes_JT = values_XT[1::2] - values_XT[::2]
    return [
        _Piece(span, weights_TP, change_T)
        for span, weights_TP, change_T in zip(spans, weights_JTP, changes_JT, strict=True)
    ]


def _slopes(subject: Subject, baseline_1SE: Tensor, whole_1SE: Tensor, at_R: Tensor) -> Tensor:
    """Return how fast each place changes each target step at points of the path (T, R, P)."""
    size = max(1, _NUMBERS_AT_ONCE // max(1, whole_1SE.numel()))
    parts = []
    with asking(subject):
        for part_R in torch.split(at_R.to(whole_1SE), size):
            leaf_RSE = (baseline_1SE + part_R[:, None, None] * whole_1SE).requires_grad_()
            steps = gradients_of(explained_steps(subject, leaf_RSE), leaf_RSE)
            parts.append(torch.stack([(slope_RSE * whole_1SE).double().sum(2).cpu() for slope_RSE in steps]))
    slopes_TRS = torch.cat(parts, 1)
    return by_place(subject, slopes_TRS.flatten(0, 1)).view(*slopes_TRS.shape[:2], -1)
