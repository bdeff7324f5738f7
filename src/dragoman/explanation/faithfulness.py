"""Whether attributions are true: what the model says when what they point at is hidden, or shown alone.

Shapes: R rows, variants of one source; N points of a curve; K random orders, Q orders;
T target steps, P places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.data.frames import Frames
from dragoman.errors import UserError
from dragoman.explanation.attribution import Attribution, Method
from dragoman.explanation.explained import explained, hidden, inputs_of
from dragoman.explanation.subject import Subject

Reals = NDArray[np.float64]
Orders = NDArray[np.int64]

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the places whose hiding makes comprehensiveness and sufficiency (DeYoung et al. 2020)."""
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What the model says as the places that a method found most important are hidden, or shown alone.

    Curves have a number for each of the `shares_N` beside them. `deletion` is the area between the mean of
    random orders and the curve, `insertion` that between the curve and the mean of random orders: above 0
    where the method knows more than chance. `beaten` is the share of random orders that do worse in both
    together. `comprehensiveness` is what is lost without the most important places, `sufficiency` what is
    lost with nothing but them.
    """

    method: Method
    part: str
    deletion_N: Reals
    insertion_N: Reals
    deletion: float
    insertion: float
    beaten: float
    comprehensiveness: float
    sufficiency: float


@dataclass(frozen=True, eq=False)
class Curves:
    """Methods beside random orders of the same source.

    Numbers are in `unit`, a mean over target steps: log-probability of tokens, or minus the squared change of
    what is forecast. At `shares_N` of the places hidden random orders say `deletion_KN`, and `insertion_KN`
    at these shares of them shown.
    """

    unit: str
    shares_N: Reals
    deletion_KN: Reals
    insertion_KN: Reals
    methods: tuple[Faithfulness, ...]


def faithfulness(
    subject: Subject,
    attributions: Sequence[Attribution],
    *,
    points: int = 16,
    orders: int = 16,
    seed: int = 0,
    by_step: bool = False,
) -> Curves:
    """Hide places from most to least important, and show them in that order (Petsiuk et al. 2018).

    Importance is what a place counts for the whole answer: the sum over target steps, of sizes where what is
    measured is the change of a forecast; with `by_step` each target step has its own order and is measured
    alone. Random `orders` follow from the seed. At most `points` steps of a curve: of long sources several
    places go at once. Hidden is what occlusion hides: positions stay. UserError for an attribution that
    does not tell of every target step.
    """
    steps, places = len(subject.pieces), len(subject.places)
    for one in attributions:
        if one.weights_TS.shape != (steps, places):
            raise UserError(
                f"faithfulness: {one.method} tells of {len(one.weights_TS)} of {steps} target steps; "
                "attributions of the whole answer would do"
            )
    if points < 1 or orders < 1:
        raise UserError(f"faithfulness: expected 1 point and order or more, found {points} and {orders}")
    counts_N = np.unique(np.linspace(0, places, points + 1).round().astype(np.int64))
    shares_N = counts_N / places
    draw = np.random.default_rng(seed)
    random_KP = np.argsort(draw.random((orders, places)), axis=1)
    random_KN = [_curves(subject, random_KP, counts_N, is_shown).mean(2) for is_shown in (False, True)]
    found = []
    for one in attributions:
        orders_QP = np.argsort(-_importance(subject, one, by_step), axis=1, kind="stable")
        own_N = [_own(_curves(subject, orders_QP, counts_N, is_shown)) for is_shown in (False, True)]
        found.append(_measured(one, shares_N, own_N, random_KN))
    unit = "minus squared change" if isinstance(subject.target, Frames) else "nats a token"
    return Curves(unit, shares_N, random_KN[0], random_KN[1], tuple(found))


def _importance(subject: Subject, attribution: Attribution, by_step: bool) -> Reals:
    """Return what each place counts for the whole answer (1, P), or for each target step (T, P)."""
    weights_TP = attribution.weights_TS
    # A log-probability should fall: what speaks against it comes last. A forecast may go either way.
    sized_TP = np.abs(weights_TP) if isinstance(subject.target, Frames) else weights_TP
    return sized_TP if by_step else sized_TP.sum(0, keepdims=True)


def _curves(subject: Subject, orders_QP: Orders, counts_N: Orders, is_shown: bool) -> Reals:
    """Return what is said of each target step with the first places of each order hidden, or alone shown."""
    ranks_QP = np.argsort(orders_QP, axis=1)
    is_first_QNP = ranks_QP[:, None, :] < counts_N[None, :, None]
    is_hidden_QNP = ~is_first_QNP if is_shown else is_first_QNP
    said_RT = _said(subject, is_hidden_QNP.reshape(-1, orders_QP.shape[1]))
    said_QNT: Reals = said_RT.reshape(len(orders_QP), len(counts_N), -1)
    return said_QNT


def _said(subject: Subject, is_hidden_RP: NDArray[np.bool_]) -> Reals:
    """Return what is measured of each target step (R, T)."""
    parts = [
        explained(subject, hidden(subject, torch.from_numpy(part_RP))).cpu().numpy()
        for part_RP in np.split(is_hidden_RP, range(_ROWS_AT_ONCE, len(is_hidden_RP), _ROWS_AT_ONCE))
    ]
    said_RT: Reals = np.concatenate(parts)
    if not isinstance(subject.target, Frames):
        return said_RT
    whole_1T = explained(subject, inputs_of(subject)).cpu().numpy()
    changes_RT: Reals = -((said_RT - whole_1T) ** 2)
    return changes_RT


def _own(said_QNT: Reals) -> Reals:
    """Average over target steps: all of them along one order, or each along its own (N,)."""
    if len(said_QNT) == 1:
        whole_N: Reals = said_QNT[0].mean(1)
        return whole_N
    each_N: Reals = np.einsum("tnt->n", said_QNT) / len(said_QNT)
    return each_N


def _measured(
    attribution: Attribution, shares_N: Reals, own_N: Sequence[Reals], random_KN: Sequence[Reals]
) -> Faithfulness:
    """Set a method's two curves, hidden and shown, against random ones."""
    deletion_N, insertion_N = own_N
    falls = _areas(shares_N, random_KN[0]) - _areas(shares_N, deletion_N[None])
    rises = _areas(shares_N, insertion_N[None]) - _areas(shares_N, random_KN[1])
    whole = deletion_N[0]
    return Faithfulness(
        attribution.method,
        attribution.part,
        deletion_N,
        insertion_N,
        float(falls.mean()),
        float(rises.mean()),
        float((falls + rises > 0).mean()),
        float(np.mean(whole - np.interp(SHARES, shares_N, deletion_N))),
        float(np.mean(whole - np.interp(SHARES, shares_N, insertion_N))),
    )


def _areas(shares_N: Reals, curves_KN: Reals) -> Reals:
    """Return the area below each curve (K,), by trapezia."""
    areas_K: Reals = ((curves_KN[:, 1:] + curves_KN[:, :-1]) / 2) @ np.diff(shares_N)
    return areas_K


# --- for reading


def format_curves(curves: Curves) -> str:
    """Write a line for each method, best first."""
    head = f"{'method':<22} {'deletion':>9} {'insertion':>9} {'beats':>6}   areas from random, {curves.unit}"
    ranked = sorted(curves.methods, key=lambda one: -(one.deletion + one.insertion))
    rows = [
        f"{one.method:<22} {one.deletion:>+9.3f} {one.insertion:>+9.3f} {one.beaten:>6.0%}" for one in ranked
    ]
    return "\n".join([head, *rows])


def curves_json(curves: Curves) -> dict[str, Any]:
    """Return an object for `json.dumps`; of random orders the mean and the band of nine in ten."""
    return {
        "unit": curves.unit,
        "shares": _row(curves.shares_N),
        "random": {"deletion": _band(curves.deletion_KN), "insertion": _band(curves.insertion_KN)},
        "methods": [
            {
                "method": one.method,
                "part": one.part,
                "deletion_curve": _row(one.deletion_N),
                "insertion_curve": _row(one.insertion_N),
                "deletion": _rounded(one.deletion),
                "insertion": _rounded(one.insertion),
                "beaten": _rounded(one.beaten),
                "comprehensiveness": _rounded(one.comprehensiveness),
                "sufficiency": _rounded(one.sufficiency),
            }
            for one in curves.methods
        ],
    }


def _band(curves_KN: Reals) -> dict[str, list[float | None]]:
    low_N, high_N = np.quantile(curves_KN, (0.05, 0.95), axis=0)
    return {"mean": _row(curves_KN.mean(0)), "low": _row(low_N), "high": _row(high_N)}


def _row(values_N: Reals) -> list[float | None]:
    return [_rounded(value) for value in values_N.tolist()]


def _rounded(value: float) -> float | None:
    """Keep six significant digits; JSON has no infinities."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
