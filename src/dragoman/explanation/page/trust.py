"""Which method to trust: the verdict, what it follows from as tables, and curves around random orders.

Shapes: M methods, N points of a curve; K random orders, R twice as many.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dragoman.explanation.attribution import NAMES
from dragoman.explanation.faithfulness import Curves, Faithfulness
from dragoman.explanation.page.charts import HIGH, WIDE, Axes, band, compact, figure, side_by_side
from dragoman.explanation.page.drawing import line, picture
from dragoman.explanation.page.elements import (
    Child,
    Html,
    element,
    number,
    per_cent,
    scrolled,
    signed,
    table,
)
from dragoman.explanation.trust import Trust, ranked, verdict

Reals = NDArray[np.float64]

_ENDS = (0.05, 0.95)
"""Quantiles of random orders between which nine in ten lie."""


def trust_parts(trust: Trust) -> list[Child]:
    """Return what a section about it holds."""
    charts = [_chart(one, trust.curves) for one in ranked(trust)]
    return [
        element("p", {"class": "verdict"}, verdict(trust)),
        _areas(trust),
        _agreement(trust) if len(trust.methods) > 1 else None,
        element("h3", None, "What is left as the source is hidden"),
        element("p", None, f"What the model says of its answer, {trust.curves.unit}. {_HOW}"),
        side_by_side(*charts),
    ]


_HOW = (
    "Whole line: the most important steps are hidden first. Dashes: the least important ones. Shaded: where "
    "nine in ten random orders lie. A true method falls below them and stays above them; the wider the gap, "
    "the truer. Steps are hidden as occlusion hides them, which favours it."
)


def _areas(trust: Trust) -> Html:
    """Return what the verdict follows from, best first."""
    rows: list[list[Child]] = [
        [
            NAMES[one.method],
            signed(one.deletion),
            signed(one.insertion),
            f"{one.beaten:.0%}",
            _correlation(trust.fresh[one.method]),
        ]
        for one in ranked(trust)
    ]
    of = "" if trust.examples == 1 else f", means over {trust.examples:,} examples"
    caption = f"Areas between random orders and a method's own, {trust.curves.unit}{of}"
    head = ["method", "deletion", "insertion", "random orders beaten", "agrees with fresh weights"]
    return scrolled(caption, table(caption, head, rows))


def _agreement(trust: Trust) -> Html:
    names = [NAMES[method] for method in trust.methods]
    rows: list[list[Child]] = [
        [name, *map(_correlation, row)] for name, row in zip(names, trust.agreement_MM.tolist(), strict=True)
    ]
    caption = "How much methods agree: rank correlation of the sizes of their weights, 1 is the same order"
    return scrolled(caption, table(caption, ["method", *names], rows))


def _correlation(value: float) -> str:
    return number(value) if math.isfinite(value) else "unknown"


def _chart(one: Faithfulness, curves: Curves) -> Html:
    """Draw both curves of a method over how much is hidden.

    To show the most important steps first is to hide the least important ones first, so that insertion runs
    from the right, and one band is that of random orders for both.
    """
    shares_N = curves.shares_N
    last_N = _turned(one.insertion_N, shares_N)
    low_N, mean_N, high_N = _random(curves)
    everything = np.concatenate([one.deletion_N, last_N, low_N, high_N])
    known = everything[np.isfinite(everything)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = 0.05 * ((high - low) or 1.0)
    axes = Axes(0.0, 1.0, low - room, high + room)
    xs = [axes.x(share) for share in shares_N.tolist()]
    parts: list[Child] = [
        axes.drawn("share of the source that is hidden", lambda share: f"{100 * share:.0f}%"),
        band(axes, shares_N.tolist(), low_N.tolist(), high_N.tolist()),
        line(xs, [axes.y(y) for y in one.deletion_N.tolist()], "line"),
        line(xs, [axes.y(y) for y in last_N.tolist()], "line ahead"),
    ]
    name = NAMES[one.method].capitalize()
    words = (
        f"{name}: what the model says of its answer, {curves.unit}, as the source is hidden. At half of it "
        f"{compact(_at_half(one.deletion_N, shares_N))} with the most important steps hidden first, "
        f"{compact(_at_half(last_N, shares_N))} with the least important ones, "
        f"{compact(_at_half(mean_N, shares_N))} at random"
    )
    rows: list[list[Child]] = [
        [per_cent(share), *map(compact, row)]
        for share, *row in np.stack([shares_N, one.deletion_N, last_N, mean_N, low_N, high_N], 1).tolist()
    ]
    head = ["hidden", "most important first", "least important first", "at random", "5%", "95% of these"]
    note = f"Beats {one.beaten:.0%} of random orders."
    return figure(name, picture(WIDE, HIGH, words, *parts), table(name, head, rows), note)


def _turned(curve_N: Reals, shares_N: Reals) -> Reals:
    """Return a curve over what is shown as one over what is hidden."""
    turned_N: Reals = np.interp(shares_N, 1 - shares_N[::-1], curve_N[::-1])
    return turned_N


def _random(curves: Curves) -> tuple[Reals, Reals, Reals]:
    """Return the ends of the band of random orders, and their mean between them."""
    turned_KN = [_turned(curve_N, curves.shares_N) for curve_N in curves.insertion_KN]
    random_RN = np.concatenate([curves.deletion_KN, turned_KN])
    low_N, high_N = np.quantile(random_RN, _ENDS, axis=0)
    return low_N, random_RN.mean(0), high_N


def _at_half(curve_N: Reals, shares_N: Reals) -> float:
    return float(np.interp(0.5, shares_N, curve_N))
