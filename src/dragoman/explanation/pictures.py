"""Pictures of a run: its learning curve, where a decoder looked, what it forecasts. Home of matplotlib.

A picture's format follows the name of its file: `.png`, `.svg` or `.pdf`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import DataError, MissingExtra
from dragoman.records import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SECOND_INK = "#1f4e79", "#c05621"
PAST_INK, BANDS = "#333333", ("#d3e6f4", "#a6cce8", "#7ab3dd", "#4e9ad2")
"""The past is dark grey; the bands of a forecast are blues, which everybody can tell from orange."""
PIECE_INCHES = 0.32
"""Room for one symbol on an axis of the attention picture."""


def learning_curve(log: Path, out: Path) -> None:
    """Draw training and validation loss, and every validated metric, over steps, from a run's `log.jsonl`.

    Raises DataError where the log holds no training step, MissingExtra without matplotlib.
    """
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [row for row in rows if row["kind"] == "train"]
    validations = [row for row in rows if row["kind"] == "validation"]
    if not steps:
        raise DataError(f"{log}: no training step to draw; the run has not started")
    labels = sorted({label for row in validations for label in row["metrics"]})
    figure, panels = _figure(1, 1 + len(labels), 4.2 * (1 + len(labels)), 3.2)
    _line(panels[0], steps, [row["loss"] for row in steps], "training", INK)
    if validations:
        _line(panels[0], validations, [row["loss"] for row in validations], "validation", SECOND_INK)
    panels[0].set(xlabel="step", ylabel="loss (nats a token)", title="loss")
    panels[0].legend(frameon=False)
    for panel, label in zip(panels[1:], labels, strict=True):
        measured = [row for row in validations if label in row["metrics"]]
        _line(panel, measured, [row["metrics"][label] for row in measured], label, SECOND_INK)
        panel.set(xlabel="step", title=f"{label} (validation)")
    _save(figure, out)


def attention_picture(
    reads_TS: Tensor, source_pieces: Sequence[str], target_pieces: Sequence[str], out: Path
) -> None:
    """Draw where the decoder looked: a row for each target piece, a column for each source piece.

    `reads_TS` are attention weights (target steps, source steps); rows and columns beyond the pieces are
    cut off.
    """
    rows, columns = len(target_pieces), len(source_pieces)
    figure, (panel,) = _figure(1, 1, 1.6 + PIECE_INCHES * columns, 1.4 + PIECE_INCHES * rows)
    panel.imshow(reads_TS[:rows, :columns].float().cpu().numpy(), cmap="Blues", aspect="auto", vmin=0.0)
    panel.set_xticks(range(columns), [_shown(piece) for piece in source_pieces])
    panel.set_yticks(range(rows), [_shown(piece) for piece in target_pieces])
    panel.set(xlabel="source", ylabel="target")
    panel.tick_params(length=0)
    _save(figure, out)


def fan_chart(
    out: Path,
    context: Series,
    truth: NDArray[np.float64] | None,
    point: NDArray[np.float64],
    quantiles: Mapping[float, NDArray[np.float64]],
) -> None:
    """Draw a forecast behind its context: a panel a variable, a band for each pair of quantiles 1 - q and q.

    `truth`, `point` and each of `quantiles` are (H, V); `truth` may hold NaN. Steps are dates where the
    context has times for the horizon too, else numbers, the forecast's first step being 1.
    """
    steps, ahead, variables = len(context.values), len(point), point.shape[1]
    has_times = context.times is not None and len(context.times) >= steps + ahead
    axis = context.times if has_times else np.arange(steps + ahead) - steps + 1
    assert axis is not None
    figure, panels = _figure(variables, 1, 7.2, 0.7 + 2.3 * variables)
    names = context.names or tuple(map(str, range(variables)))
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        joint = context.values[-1:, number]
        future = axis[steps - 1 : steps + ahead]
        panel.plot(axis[:steps], context.values[:, number], color=PAST_INK, linewidth=1.2, label="past")
        for place, (lower, upper) in enumerate(_bands(quantiles)):
            low, high = (np.append(joint, quantiles[level][:, number]) for level in (lower, upper))
            colour, label = BANDS[min(place, len(BANDS) - 1)], f"{upper - lower:.0%} interval"
            panel.fill_between(future, low, high, color=colour, linewidth=0, label=label)
        if truth is not None:
            line = np.append(joint, truth[:, number])
            panel.plot(future, line, color=PAST_INK, linewidth=1.2, linestyle=":", label="what came")
        line = np.append(joint, point[:, number])
        panel.plot(future, line, color=SECOND_INK, linewidth=1.6, label="forecast")
        panel.axvline(future[0], color="#999999", linewidth=0.8, linestyle="--")
        panel.set(ylabel=name, xlim=(axis[0], axis[steps + ahead - 1]))
        panel.label_outer()
    _dates(panels, has_times)
    if context.id:
        panels[0].set_title(context.id, loc="left")
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=8)
    _save(figure, out)


def _bands(quantiles: Mapping[float, NDArray[np.float64]]) -> list[tuple[float, float]]:
    """Pair each level below the median with the one as far above it, the widest pair first."""
    pairs = ((low, high) for low in sorted(quantiles) for high in quantiles if low < 0.5)
    return [(low, high) for low, high in pairs if math.isclose(low + high, 1)]


def _dates(panels: Sequence[Axes], has_times: bool) -> None:
    """Write times on the lowest axis as shortly as they can be told apart."""
    if not has_times:
        panels[-1].set_xlabel("step of the forecast")
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for panel in panels:
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        panel.xaxis.set_major_locator(locator)
        panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels, sizes in inches, without touching matplotlib's global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "plots", "drawing a picture") from error
    figure = Figure(figsize=(width, height), dpi=144, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(panels)


def _line(
    panel: Axes, rows: Sequence[dict[str, Any]], values: Sequence[float], label: str, colour: str
) -> None:
    """Draw one curve over steps."""
    marker = "o" if len(rows) < 30 else None
    panel.plot([row["step"] for row in rows], values, label=label, color=colour, marker=marker, markersize=3)


def _shown(piece: str) -> str:
    """Make blanks visible."""
    return "␣" if piece == " " else piece


def _save(figure: Figure, out: Path) -> None:
    """Write a picture, making its folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
