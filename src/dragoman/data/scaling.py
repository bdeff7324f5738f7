"""Means and deviations: of all training values, of each series, of one window; what numbers are divided by.

Shapes: S steps, V variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_ROUNDING = 1e-9
"""A deviation below this share of the numbers themselves is rounding: they are constant."""
_LARGEST_LOGARITHM = 85.0
"""Its exponential is 8e36, below the largest number that frames take."""


@dataclass(frozen=True, eq=False)
class Scale:
    """A centre and a deviation for each variable (V,); the deviation is above 0.

    With `is_log` they are those of the logarithms.
    """

    centre: Numbers
    deviation: Numbers
    is_log: bool = False

    def apply(self, values: Numbers) -> Numbers:
        """Subtract and divide; a value without a logarithm becomes NaN where one is taken."""
        taken = logarithms(values) if self.is_log else values
        return (taken - self.centre) / self.deviation

    def undo(self, values: Numbers) -> Numbers:
        """Multiply and add; what is beyond the largest number of an answer becomes that number."""
        found = values * self.deviation + self.centre
        return np.exp(np.minimum(found, _LARGEST_LOGARITHM)) if self.is_log else found

    @property
    def middle(self) -> Numbers:
        """What the centre is in the units of the data (V,)."""
        return self.undo(np.zeros_like(self.centre))


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a codec of numbers learns from training: names, scales, how many values there were."""

    names: tuple[str, ...]
    whole: Scale
    known_names: tuple[str, ...] = ()
    known: Scale = field(default_factory=lambda: Scale(np.empty(0), np.empty(0)))
    series: Mapping[str, Scale] = field(default_factory=dict)

    def of(self, series: str) -> Scale:
        """Return the scale of a series: its own where it is known, else that of all training values."""
        return self.series.get(series, self.whole)

    def to_json(self) -> dict[str, object]:
        """Return what JSON can hold; every number comes back to the bit."""
        return {
            "names": list(self.names),
            "scale": _lists(self.whole),
            "known_names": list(self.known_names),
            "known_scale": _lists(self.known),
            "series": {name: _lists(scale) for name, scale in self.series.items()},
        }


def statistics_from_json(content: Mapping[str, Any], is_log: bool) -> Statistics:
    """Read what `to_json` returned; KeyError, TypeError or ValueError for anything else.

    `is_log` says whether the scales of the variables are those of logarithms.
    """
    names, known_names = _names(content["names"]), _names(content["known_names"])
    return Statistics(
        names,
        _scale(content["scale"], len(names), is_log),
        known_names,
        _scale(content["known_scale"], len(known_names)),
        {name: _scale(scale, len(names), is_log) for name, scale in content["series"].items()},
    )


def logarithms(values: Numbers) -> Numbers:
    """Return natural logarithms, NaN for what has none."""
    return np.log(np.where(values > 0, values, np.nan))


def scale_of(values: Numbers, whole: Scale | None = None) -> Scale:
    """Return mean and deviation (of the population) of the values (S, V) that are there.

    They are those of logarithms where those of `whole` are. A variable that is constant has no deviation:
    what stands for it is the deviation of all training values, or its own level where that is smaller, or 1.
    One that is missing throughout has the scale of all.
    """
    moments = Moments(values.shape[1], whole is not None and whole.is_log)
    moments.add(values)
    return moments.scale(whole)


def last_of(values: Numbers, whole: Scale) -> Numbers:
    """Return the last value (V,) of each variable that is there (S, V), else the centre of `whole`.

    It is a logarithm where `whole` is of logarithms.
    """
    values = logarithms(values) if whole.is_log else values
    present = ~np.isnan(values)
    rows = len(values) - 1 - present[::-1].argmax(axis=0)
    return np.where(present.any(axis=0), values[rows, np.arange(values.shape[1])], whole.centre)


class Moments:
    """Counts, means and sums of squares of variables, gathered a block at a time (Chan et al. 1979).

    With `is_log` they are those of the logarithms.
    """

    def __init__(self, variables: int, is_log: bool = False) -> None:
        self._is_log = is_log
        self._count = np.zeros(variables)
        self._mean = np.zeros(variables)
        self._squares = np.zeros(variables)

    def add(self, values: Numbers) -> None:
        """Take the values (S, V) that are not NaN."""
        values = logarithms(values) if self._is_log else values
        present = ~np.isnan(values)
        count = present.sum(axis=0)
        mean = np.where(present, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(present, values - mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(self._count + count, 1)
        apart = mean - self._mean
        self._squares += squares + apart**2 * self._count * count / total
        self._mean += apart * count / total
        self._count += count

    def scale(self, whole: Scale | None = None) -> Scale:
        """Return mean and deviation; see `scale_of`."""
        deviation = np.sqrt(self._squares / np.maximum(self._count, 1))
        centre, level = self._mean, np.abs(self._mean)
        if whole is not None:
            centre = np.where(self._count > 0, centre, whole.centre)
        rest = np.full_like(level, np.inf) if whole is None else whole.deviation
        instead = np.minimum(np.where(level > 0, level, np.inf), rest)
        is_constant = deviation <= _ROUNDING * level
        deviation = np.where(is_constant, np.where(np.isfinite(instead), instead, 1.0), deviation)
        return Scale(centre, deviation, self._is_log)


def _lists(scale: Scale) -> dict[str, list[float]]:
    return {"centre": scale.centre.tolist(), "deviation": scale.deviation.tolist()}


def _scale(content: Mapping[str, Any], width: int, is_log: bool = False) -> Scale:
    centre = np.array(content["centre"], np.float64)
    deviation = np.array(content["deviation"], np.float64)
    is_scale = centre.shape == deviation.shape == (width,) and np.isfinite(centre).all()
    if not (is_scale and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise ValueError(f"a scale is not {width} finite centres and as many deviations above 0")
    return Scale(centre, deviation, is_log)


def _names(content: object) -> tuple[str, ...]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise TypeError("names are not a list of strings")
    return tuple(content)
