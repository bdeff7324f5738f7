"""Which context and ridge a line of ETT should have: fitted up to a row, judged on the four months after it.

python bench/rolling_origins.py PATH/forecast-ett/ETTh1.csv.gz 720 --ridge 0.1 336 512 720
python bench/rolling_origins.py PATH/forecast-ett/ETTm1.csv.gz 96 336 672 1344

Training and development rows alone are read. Errors are squared, in training deviations, on four blocks; the
last is the development set. The last line is the mean of the forecasts of all contexts.

Shapes: S steps of the longest context, H steps of a horizon, W = 1 + S + H.
"""

from __future__ import annotations

import argparse
import csv
import gzip

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
MONTH = 720
BLOCK = 4 * MONTH
BEGINS = (6 * MONTH, 8 * MONTH, 10 * MONTH, 12 * MONTH)
"""Hours at which the blocks begin: the last block is the development set of the published protocol."""


def main() -> None:
    """Print an error for each block, and their mean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("horizon", type=int)
    parser.add_argument("contexts", type=int, nargs="+")
    parser.add_argument("--ridge", type=float, default=0.01)
    asked = parser.parse_args()
    an_hour = 4 if "ETTm" in asked.file else 1
    values = rows_of(asked.file, (BEGINS[-1] + BLOCK) * an_hour, BEGINS[-1] * an_hour)
    longest, horizon = max(asked.contexts), asked.horizon
    begins = [begin * an_hour for begin in BEGINS]
    ends = [begin + BLOCK * an_hour - horizon + 1 for begin in begins]
    before = [begin - horizon + 1 for begin in begins]  # targets of training end before the block
    cuts = sorted({longest, *before, *begins, *ends})
    parts = moments(values, longest, horizon, cuts)
    found = {}
    for begin, end, last in zip(begins, ends, before, strict=True):
        learnt = parts[: cuts.index(last)].sum(axis=0)
        judged = parts[cuts.index(begin) : cuts.index(end)].sum(axis=0)
        lines = [fitted(learnt, longest, context, asked.ridge) for context in asked.contexts]
        found[begin] = [error(line, judged) for line in [*lines, np.mean(lines, axis=0)]]
    for place, name in enumerate([*map(str, asked.contexts), "together"]):
        errors = [found[begin][place] for begin in begins]
        print(f"{name:>8s}", *(f"{each:.4f}" for each in errors), f"mean {np.mean(errors):.4f}")


def rows_of(file: str, rows: int, training: int) -> Numbers:
    """Return the first rows, in deviations of those to learn from."""
    with gzip.open(file, "rt") as lines:
        table = list(csv.reader(lines))[1 : rows + 1]
    values = np.array([row[1:] for row in table], np.float64)
    return (values - values[:training].mean(axis=0)) / values[:training].std(axis=0)


def moments(values: Numbers, context: int, horizon: int, cuts: list[int]) -> Numbers:
    """Return the sum of z z^T over windows whose target begins between two cuts, of each pair (., W, W).

    z is 1, the context and the target of a window. Windows overlap: a diagonal needs one running sum.
    """
    steps = context + horizon
    found = np.zeros((len(cuts) - 1, steps + 1, steps + 1))
    pairs = list(enumerate(zip(cuts[:-1], cuts[1:], strict=True)))
    for series in values.T:
        for distance in range(-1, steps):  # -1: products with the 1
            products = series if distance < 0 else series[: len(series) - distance] * series[distance:]
            running = np.concatenate([[0.0], np.cumsum(products)])
            count = steps - max(distance, 0)
            place = np.arange(count)
            across = (np.zeros_like(place), 1 + place) if distance < 0 else (1 + place, 1 + place + distance)
            for part, (first, last) in pairs:
                sums = running[last - context :][:count] - running[first - context :][:count]
                found[part][across] += sums
        for part, (first, last) in pairs:
            found[part, 0, 0] += last - first
    above = np.triu(found, 1)
    return np.asarray(found + above.swapaxes(1, 2))


def fitted(learnt: Numbers, longest: int, context: int, ridge: float) -> Numbers:
    """Return the map (H, 1 + S) of a ridge regression on the last steps of the context."""
    chosen = np.array([0, *range(1 + longest - context, 1 + longest)])
    gram, products = learnt[np.ix_(chosen, chosen)], learnt[chosen, 1 + longest :]
    penalty = np.full(len(chosen), ridge * np.trace(gram[1:, 1:]) / context)
    penalty[0] = 0.0
    line = np.zeros((products.shape[1], 1 + longest))
    line[:, chosen] = np.linalg.solve(gram + np.diag(penalty), products).T
    return line


def error(line: Numbers, judged: Numbers) -> float:
    """Return the mean squared error of a line."""
    horizon, width = line.shape
    past, cross, future = judged[:width, :width], judged[width:, :width], judged[width:, width:]
    total = np.trace(future) - 2 * (line * cross).sum() + ((line @ past) * line).sum()
    return float(total / (judged[0, 0] * horizon))


if __name__ == "__main__":
    main()
