"""Mean squared error of forecasts by step, in deviations of the training values.

    python bench/hours.py RUN...

A run is one of a recipe of series with a test set, for instance those of docs/tutorials/numbers.md.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

import dragoman
from dragoman.data.number_codec import NumbersCodec, series_of


def errors_by_step(run: str) -> NDArray[np.float64]:
    """Return the mean squared error of each step of the horizon on the run's test set."""
    report = dragoman.evaluate(run)
    codec = dragoman.load(run).codecs.target
    assert isinstance(codec, NumbersCodec), "a run of series"
    points = np.stack([series_of(one.values[0]).values for one in report.predictions])
    truth = np.stack([series_of(given[0]).values for given in report.references])
    errors: NDArray[np.float64] = np.nanmean(
        np.square((points - truth) / codec.statistics.whole.deviation), axis=(0, 2)
    )
    return errors


if __name__ == "__main__":
    print("run  all  first  last")
    for name in sys.argv[1:]:
        steps = errors_by_step(name)
        print(f"{name}  {steps.mean():.3f}  {steps[0]:.3f}  {steps[-1]:.3f}")
