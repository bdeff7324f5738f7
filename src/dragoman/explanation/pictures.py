"""Pictures of a run: its learning curve, and where a decoder looked. Home of matplotlib.

A picture's format follows the name of its file: `.png`, `.svg` or `.pdf`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from dragoman.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SECOND_INK = "#1f4e79", "#c05621"
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
