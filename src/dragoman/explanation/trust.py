"""Which method to trust: whether each tells what the model does, of one answer or of several.

Shapes: M methods, E examples, N points of a curve; K random orders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.errors import UserError
from dragoman.explanation.agreement import agreement, randomised
from dragoman.explanation.attribution import NAMES, Attribution, Method
from dragoman.explanation.faithfulness import Curves, Faithfulness, curves_json, faithfulness, format_curves
from dragoman.explanation.subject import Subject

Reals = NDArray[np.float64]

_SURE = 1.645
"""Standard errors above chance: one method in twenty that knows nothing does as well."""
_APART = 2.0
"""Standard errors between two methods that are not equally good."""
_FEWEST = 3
"""Examples that can say that two methods are equally good."""
_SAME = 0.5
"""What correlates so much with what fresh weights say shows the source, and not what was learnt."""


@dataclass(frozen=True, eq=False)
class Trust:
    """What speaks for methods and against them, of one answer or the mean over several.

    `agreement_MM` says how much each two methods agree, `fresh` how much each says the same of models that
    have learnt nothing; methods are in the order of the curves. `gains_EM` are the areas of deletion and
    insertion together, of each example. `left_out` is a sentence on examples that were chosen and are not
    among these, empty where there are none.
    """

    curves: Curves
    agreement_MM: Reals
    fresh: Mapping[Method, float]
    gains_EM: Reals
    left_out: str = ""

    @property
    def examples(self) -> int:
        """Answers that were looked at."""
        return len(self.gains_EM)

    @property
    def methods(self) -> tuple[Method, ...]:
        """Methods in the order of the curves."""
        return tuple(one.method for one in self.curves.methods)


def weigh(
    subject: Subject,
    attributions: Sequence[Attribution],
    *,
    points: int = 16,
    orders: int = 16,
    seeds: Sequence[int] = (0, 1, 2),
) -> Trust:
    """Measure methods on one answer: `faithfulness`, `agreement` and `randomised`, whose options these are.

    What tells of one target step alone is left out. UserError where nothing is left.
    """
    whole = [one for one in attributions if len(one.weights_TS) == len(subject.pieces)]
    if not whole:
        raise UserError(
            "there is no method to weigh: a contrast of one step does not tell of the whole answer; "
            "attention or occlusion would do"
        )
    curves = faithfulness(subject, whole, points=points, orders=orders)
    gains_1M = np.array([[one.deletion + one.insertion for one in curves.methods]])
    return Trust(curves, agreement(whole), randomised(subject, whole, seeds=seeds), gains_1M)


def mean_of(found: Sequence[Trust]) -> Trust:
    """Average what was found of several answers by the same methods, random orders one by one."""
    first, curves = found[0], [one.curves for one in found]
    shares = [one.shares_N for one in curves]
    shares_N = max(shares, key=len)
    methods = [
        _mean_faithfulness(given, curves, place, shares_N) for place, given in enumerate(first.curves.methods)
    ]
    deletion_KN, insertion_KN = (
        np.array([_mean_curve(shares_N, shares, rows) for rows in zip(*random, strict=True)])
        for random in ([one.deletion_KN for one in curves], [one.insertion_KN for one in curves])
    )
    return Trust(
        Curves(first.curves.unit, shares_N, deletion_KN, insertion_KN, tuple(methods)),
        _mean([one.agreement_MM for one in found]),
        {method: float(_mean([np.array(one.fresh[method]) for one in found])) for method in first.methods},
        np.concatenate([one.gains_EM for one in found]),
    )


def _mean_faithfulness(
    given: Faithfulness, curves: Sequence[Curves], place: int, shares_N: Reals
) -> Faithfulness:
    ours = [one.methods[place] for one in curves]
    shares = [one.shares_N for one in curves]
    return replace(
        given,
        deletion_N=_mean_curve(shares_N, shares, [one.deletion_N for one in ours]),
        insertion_N=_mean_curve(shares_N, shares, [one.insertion_N for one in ours]),
        deletion=fmean(one.deletion for one in ours),
        insertion=fmean(one.insertion for one in ours),
        beaten=fmean(one.beaten for one in ours),
        comprehensiveness=fmean(one.comprehensiveness for one in ours),
        sufficiency=fmean(one.sufficiency for one in ours),
    )


def _mean_curve(shares_N: Reals, shares: Sequence[Reals], curves: Sequence[Reals]) -> Reals:
    """Average curves, each drawn out to the same shares (N,)."""
    found = [np.interp(shares_N, own_N, curve_N) for own_N, curve_N in zip(shares, curves, strict=True)]
    mean_N: Reals = np.mean(found, axis=0)
    return mean_N


def _mean(found: Sequence[Reals]) -> Reals:
    """Average what is known; what never is stays NaN."""
    values = np.stack(found)
    known = np.isfinite(values)
    counts = known.sum(0)
    mean: Reals = np.where(known, values, 0.0).sum(0) / np.where(counts, counts, np.nan)
    return mean


# --- for reading


def ranked(trust: Trust) -> list[Faithfulness]:
    """Return what was measured of each method, best first."""
    return sorted(trust.curves.methods, key=lambda one: -_known(one.deletion + one.insertion))


def trusted(trust: Trust) -> Method | None:
    """Return the best method of those that beat chance and tell of what was learnt; None where none does."""
    return next((one.method for one in ranked(trust) if _is_good(trust, one)), None)


def verdict(trust: Trust) -> str:
    """Say which method to trust, which are as good as far as examples tell, and which not to trust.

    Better than chance is what beats more random orders than one method in twenty would that knows nothing.
    Trusted is what says something else of fresh weights too.
    """
    found = ranked(trust)
    good = [one for one in found if _is_good(trust, one)]
    what = "this answer" if trust.examples == 1 else "this model"
    parts = [_best(good[0], what, trust.curves.unit) if good else f"Trust no method with {what}."]
    equal = [one.method for one in good[1:] if _are_equal(trust, good[0].method, one.method)]
    if equal:
        verb = "is" if len(equal) == 1 else "are"
        parts.append(f"As far as {trust.examples} examples tell, {_listed(equal)} {verb} as good.")
    blind = [one.method for one in found if _is_blind(trust, one)]
    if blind:
        parts.append(f"Much the same of a model that has learnt nothing: {_listed(blind)}.")
    useless = [one.method for one in found if not _beats_chance(trust, one)]
    if useless:
        parts.append(f"Not surely better than random orders: {_listed(useless)}.")
    return " ".join(parts)


def _best(one: Faithfulness, what: str, unit: str) -> str:
    shown_unit = "" if unit != "nats a token" else f" {unit}"
    return (
        f"Trust {NAMES[one.method]} most with {what}: hidden or shown in its order, the source counts for "
        f"more than in {one.beaten:.0%} of random orders (deletion {one.deletion:+.2f}, insertion "
        f"{one.insertion:+.2f}{shown_unit})."
    )


def format_trust(trust: Trust) -> str:
    """Write the verdict, areas of each method, and below these how much methods agree."""
    names = [*trust.methods]
    head = f"{'agreement':<22}" + "".join(f" {name[:9]:>9}" for name in names) + "  fresh weights"
    rows = [
        f"{name:<22}" + "".join(f" {value:>9.2f}" for value in row) + f"  {trust.fresh[name]:>13.2f}"
        for name, row in zip(names, trust.agreement_MM.tolist(), strict=True)
    ]
    return "\n".join([verdict(trust), format_curves(trust.curves), head, *rows])


def trust_json(trust: Trust) -> dict[str, Any]:
    """Return an object for `json.dumps`."""
    return {
        "verdict": verdict(trust),
        "examples": trust.examples,
        "curves": curves_json(trust.curves),
        "agreement": {
            "methods": list(trust.methods),
            "correlations": [[_rounded(value) for value in row] for row in trust.agreement_MM.tolist()],
        },
        "fresh_weights": {method: _rounded(value) for method, value in trust.fresh.items()},
    }


def _known(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _is_good(trust: Trust, one: Faithfulness) -> bool:
    return _beats_chance(trust, one) and not _is_blind(trust, one)


def _is_blind(trust: Trust, one: Faithfulness) -> bool:
    """Say whether a method tells of fresh weights what it tells of those that were learnt."""
    return trust.fresh[one.method] > _SAME


def _beats_chance(trust: Trust, one: Faithfulness) -> bool:
    """Say whether a method does what one that knows nothing hardly does.

    Its share of beaten orders would be spread evenly between 0 and 1, with a variance of a twelfth.
    """
    return one.beaten >= 0.5 + _SURE * math.sqrt(1 / 12 / trust.examples)


def _are_equal(trust: Trust, method: Method, other: Method) -> bool:
    """Say whether examples cannot tell two methods apart."""
    if trust.examples < _FEWEST:
        return False
    places = [trust.methods.index(name) for name in (method, other)]
    leads_E = trust.gains_EM[:, places[0]] - trust.gains_EM[:, places[1]]
    return bool(leads_E.mean() <= _APART * leads_E.std(ddof=1) / math.sqrt(len(leads_E)))


def _listed(methods: Sequence[Method]) -> str:
    *most, last = (NAMES[method] for method in methods)
    return f"{', '.join(most)} and {last}" if most else last


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
