r"""Networks beside lines of ETT: trained up to a row, judged on the four months after it, alone and together.

    python bench/rolling_networks.py PATH/forecast-ett/ETTh2.csv.gz 96 WORK --ridge 0.3 --growth 1 \
      --lines 168:mean 512:mean 336 --networks recipes/ett-recurrent.yaml \
      'recipes/ett-recurrent.yaml data.windows.context=504'

A network is a recipe with its overrides; its runs lie in WORK, and those that are there are not trained
again. Lines and errors are those of rolling_origins.py; blocks begin after 8, 10, 11 and 12 months, or those
that are named. Training and development rows alone are read.

Shapes: R windows, H steps of a horizon, V variables.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import numpy as np
import rolling_origins as lines

import dragoman
from dragoman.data.number_codec import series_of

TRAINING = lines.BEGINS[-1]
"""Hours to learn from in the published protocol; errors are in their deviations."""


def main() -> None:
    """Print an error for each block, and their mean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("horizon", type=int)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--lines", type=lines.line_of, nargs="+", metavar="CONTEXT[:mean|:last]", required=True
    )
    parser.add_argument("--networks", type=shlex.split, nargs="+", metavar="RECIPE...", required=True)
    parser.add_argument("--ridge", type=float, default=0.01)
    parser.add_argument("--growth", type=float, default=0.0, help="`ridge_growth` of recipes")
    parser.add_argument("--months", type=int, nargs="+", default=[8, 10, 11, 12], choices=range(6, 13))
    asked = parser.parse_args()
    begins = sorted(lines.MONTH * month for month in asked.months)
    rows = lines.rows_of(str(asked.file), TRAINING + lines.BLOCK)
    values = lines.scaled(rows, TRAINING)
    penalty = lines.Penalty(asked.ridge, asked.growth)
    of_lines = [
        lines.origins(values, line, asked.horizon, begins, lines.BLOCK, penalty) for line in asked.lines
    ]
    of_networks = [
        [
            in_deviations(rows, forecasts(asked.file, asked.horizon, asked.work, said, begin))
            for begin in begins
        ]
        for said in asked.networks
    ]
    truths = lines.truths_of(values, asked.horizon, begins, lines.BLOCK)
    for said, found in zip(asked.networks, of_networks, strict=True):
        print(lines.said(found, truths), *said)
    print(lines.said(lines.mean_of(of_lines), truths), "lines together")
    print(lines.said(lines.mean_of(of_networks), truths), "networks together")
    print(lines.said(lines.mean_of([*of_lines, *of_networks]), truths), "all together")


def forecasts(file: Path, horizon: int, work: Path, said: list[str], begin: int) -> lines.Numbers:
    """Return the forecasts (R, H) of a block by a network that was trained on what came before it."""
    run = trained(file, horizon, work, said, begin)
    report = dragoman.evaluate(run, split="dev", overlap=False)
    return np.stack([series_of(one.values[0]).values[:, 0] for one in report.predictions])


def in_deviations(rows: lines.Numbers, points_RH: lines.Numbers) -> lines.Numbers:
    """Return forecasts (R, H), those of each variable together, as `scaled` does rows."""
    learnt = rows[:TRAINING]
    windows = len(points_RH) // rows.shape[1]
    centre_R1, deviation_R1 = (
        np.repeat(of_variables, windows)[:, None]
        for of_variables in (learnt.mean(axis=0), learnt.std(axis=0))
    )
    found: lines.Numbers = (points_RH - centre_R1) / deviation_R1
    return found


def trained(file: Path, horizon: int, work: Path, said: list[str], begin: int) -> Path:
    """Train on the rows before a block, unless that was done, and return the folder of the run."""
    recipe, *overrides = said
    run = work / re.sub(r"[^a-z0-9.]+", "-", f"{horizon}-{begin}-{' '.join(said)}".lower())
    if not (run / "MANIFEST.json").exists():
        dragoman.train(
            recipe,
            *overrides,
            f"run={run}",
            f"data.folder={file.parent}",
            f"data.train[0].series={file.name}",
            f"data.train[0].part=[null,{begin}]",
            f"data.dev.series={file.name}",
            f"data.dev.part=[{begin},{begin + lines.BLOCK}]",
            "data.test=null",
            f"data.windows.horizon={horizon}",
        )
    return run


if __name__ == "__main__":
    main()
