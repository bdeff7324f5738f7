"""What lines of ETT should read and be scaled by: fitted up to a row, judged on the four months after it.

python bench/rolling_origins.py PATH/forecast-ett/ETTh1.csv.gz 720 --ridge 0.1 336 512 720
python bench/rolling_origins.py PATH/forecast-ett/ETTm1.csv.gz 96 336 672 1344
python bench/rolling_origins.py PATH/forecast-ett/ETTh2.csv.gz 96 --ridge 0.1 168:last 512:last 336

A line is a context and what its windows are scaled by: the series, or the window around its mean
(`168:mean`) or around its last value (`168:last`). Training and development rows alone are read. Errors are
squared, in training deviations, on four blocks; the last is the development set. The last line is the mean of
the forecasts of all lines.

Shapes: R windows, S steps of a context, H steps of a horizon, V variables, W = S + 1.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
MONTH = 720
BLOCK = 4 * MONTH
BEGINS = (6 * MONTH, 8 * MONTH, 10 * MONTH, 12 * MONTH)
"""Hours at which the blocks begin: the last block is the development set of the published protocol."""
_AT_ONCE = 4096
_LEAST_DEVIATION = 1e-4
"""In training deviations; a constant window has this one."""


class Line(NamedTuple):
    """A context and what windows are scaled by."""

    context: int
    scale: str = "series"

    def scaled(self, context_RS: Numbers) -> tuple[Numbers, Numbers]:
        """Return the centre and the deviation (R, 1) of windows."""
        if self.scale == "series":
            return np.zeros((len(context_RS), 1)), np.ones((len(context_RS), 1))
        centre = context_RS[:, -1:] if self.scale == "last" else context_RS.mean(axis=1, keepdims=True)
        return centre, np.maximum(context_RS.std(axis=1, keepdims=True), _LEAST_DEVIATION)


class Penalty(NamedTuple):
    """A ridge, and the power of the distance by which it grows over the context."""

    ridge: float
    growth: float


def main() -> None:
    """Print an error for each block, and their mean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("horizon", type=int)
    parser.add_argument("lines", type=line_of, nargs="+", metavar="CONTEXT[:mean|:last]")
    parser.add_argument("--ridge", type=float, default=0.01)
    parser.add_argument("--growth", type=float, default=0.0, help="`ridge_growth` of recipes")
    asked = parser.parse_args()
    an_hour = 4 if "ETTm" in asked.file else 1
    values = scaled(rows_of(asked.file, (BEGINS[-1] + BLOCK) * an_hour), BEGINS[-1] * an_hour)
    begins = [begin * an_hour for begin in BEGINS]
    penalty = Penalty(asked.ridge, asked.growth)
    found = [origins(values, line, asked.horizon, begins, BLOCK * an_hour, penalty) for line in asked.lines]
    truths = truths_of(values, asked.horizon, begins, BLOCK * an_hour)
    names = [f"{line.context}:{line.scale}" for line in asked.lines]
    for name, forecasts in zip([*names, "together"], [*found, mean_of(found)], strict=True):
        print(f"{name:>12s}", said(forecasts, truths))


def line_of(text: str) -> Line:
    """Read a context with or without a scale."""
    context, _, scale = text.partition(":")
    if scale not in ("", "series", "mean", "last"):
        raise argparse.ArgumentTypeError(f"expected CONTEXT, CONTEXT:mean or CONTEXT:last, found {text}")
    return Line(int(context), scale or "series")


def rows_of(file: str, rows: int) -> Numbers:
    """Return the first rows (rows, V)."""
    with gzip.open(file, "rt") as lines:
        table = list(csv.reader(lines))[1 : rows + 1]
    return np.array([row[1:] for row in table], np.float64)


def scaled(values: Numbers, training: int) -> Numbers:
    """Return rows in deviations of the first of them, those to learn from."""
    found: Numbers = (values - values[:training].mean(axis=0)) / values[:training].std(axis=0)
    return found


def truths_of(values: Numbers, horizon: int, begins: list[int], block: int) -> list[Numbers]:
    """Return what came (R, H) in each block."""
    return [
        np.concatenate([target for _, target in windows(values, 1, horizon, begin, end)])
        for begin, end in ((begin, begin + block - horizon + 1) for begin in begins)
    ]


def mean_of(found: list[list[Numbers]]) -> list[Numbers]:
    """Return the mean of several forecasts (R, H) of each block."""
    return [np.mean(forecasts, axis=0) for forecasts in zip(*found, strict=True)]


def said(forecasts: list[Numbers], truths: list[Numbers]) -> str:
    """Say the error of each block, and their mean."""
    pairs = zip(forecasts, truths, strict=True)
    errors = [float(np.square(forecast - truth).mean()) for forecast, truth in pairs]
    return " ".join([*(f"{each:.4f}" for each in errors), f"mean {np.mean(errors):.4f}"])


def windows(
    values: Numbers, context: int, horizon: int, begin: int, end: int
) -> Iterator[tuple[Numbers, Numbers]]:
    """Give contexts (R, S) and targets (R, H) of each variable whose targets begin in [begin, end)."""
    steps = np.arange(context + horizon)
    for series in values.T:
        for first in range(max(begin, context), end, _AT_ONCE):
            targets = np.arange(first, min(first + _AT_ONCE, end))
            cut = series[targets[:, None] - context + steps]
            yield cut[:, :context], cut[:, context:]


def origins(
    values: Numbers, line: Line, horizon: int, begins: list[int], block: int, penalty: Penalty
) -> list[Numbers]:
    """Return the forecasts (R, H) of each block by what was learnt from targets that end before it."""
    wide, learnt, found = line.context + 1, 0, []
    gram_WW, products_WH = np.zeros((wide, wide)), np.zeros((wide, horizon))
    for begin in begins:
        for context_RS, target_RH in windows(values, line.context, horizon, learnt, begin - horizon + 1):
            centre, deviation = line.scaled(context_RS)
            rows_RW = with_ones((context_RS - centre) / deviation)
            # Rows count by their deviation, as in training.
            gram_WW += rows_RW.T @ (rows_RW * deviation)
            products_WH += rows_RW.T @ (target_RH - centre)
        learnt = begin - horizon + 1
        weights_WH = fitted(gram_WW, products_WH, penalty)
        forecasts = []
        for context_RS, _ in windows(values, line.context, horizon, begin, begin + block - horizon + 1):
            centre, deviation = line.scaled(context_RS)
            rows_RW = with_ones((context_RS - centre) / deviation)
            forecasts.append(rows_RW @ weights_WH * deviation + centre)
        found.append(np.concatenate(forecasts))
    return found


def with_ones(rows: Numbers) -> Numbers:
    """Return rows (R, S) with a 1 behind each (R, W)."""
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def fitted(gram_WW: Numbers, products_WH: Numbers, penalty: Penalty) -> Numbers:
    """Return a ridge regression (W, H) whose mean is free."""
    steps = len(gram_WW) - 1
    growing_S = np.arange(steps, 0, -1) ** penalty.growth
    mean_square = np.trace(gram_WW[:steps, :steps]) / steps
    penalty_W = np.append(penalty.ridge * mean_square * growing_S / growing_S.mean(), 0.0)
    weights_WH, *_ = np.linalg.lstsq(gram_WW + np.diag(penalty_W), products_WH, rcond=None)
    return np.asarray(weights_WH, np.float64)


if __name__ == "__main__":
    main()
