"""Pictures of a run: its learning curve, where a decoder looked, what it forecasts. Home of matplotlib.

A picture's format follows the name of its file: `.png`, `.svg` or `.pdf`. Shapes: S frames, F bands, T target
steps, S source steps of attention (R where frames are shortened).
"""

from __future__ import annotations

import itertools
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.features import LogMel
from dragoman.errors import DataError, MissingExtra
from dragoman.recipe.speech import Speech, mel
from dragoman.records import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SECOND_INK = "#1f4e79", "#c05621"
PAST_INK, BANDS = "#333333", ("#d3e6f4", "#a6cce8", "#7ab3dd", "#4e9ad2")
"""The past is dark grey; the bands of a forecast are blues, which everybody can tell from orange."""
PIECE_INCHES, ROW_INCHES = 0.32, 0.24
"""Room for one symbol on an axis of the attention picture, and for one row of attention over sound."""
SECOND_INCHES, SOUND_INCHES = 2.2, 2.0
"""Width of a second of sound, height of its spectrogram."""
LEAST_INCHES, MOST_INCHES = 7.2, 40.0
"""A picture of little sound is not narrower than this; no axis is longer than that, symbols come closer."""
PITCHES_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
"""Frequencies that are written beside the bands of a spectrogram."""
_MARKS = {" ": "␣", "\n": "↵", "\t": "⇥", "": "∅"}
_LETTERS_AN_INCH = 12
_DARK_STEPS, _DARK_SHARE = 4, 0.1


def check_drawing() -> None:
    """Raise MissingExtra without matplotlib: before long work whose end is a picture."""
    try:
        import matplotlib.figure  # noqa: F401 - only whether it can be had
    except ImportError as error:
        raise MissingExtra("matplotlib", "plots", "drawing a picture") from error


def learning_curve(log: Path, out: Path, unit: str = "nats a token") -> None:
    """Draw training and validation loss, and every validated metric, over steps, from a run's `log.jsonl`.

    A line stands at the step that validation found best. `unit` is what the loss is measured in. Raises
    DataError where the log holds neither, MissingExtra without matplotlib.
    """
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [row for row in rows if row["kind"] == "train"]
    validations = [row for row in rows if row["kind"] == "validation"]
    if not steps and not validations:
        raise DataError(
            f"{log}: neither a step of training nor a validation to draw; the run has not come to one"
        )
    labels = sorted({label for row in validations for label in row["metrics"]})
    columns = _columns(1 + len(labels))
    rows_of_panels = -(-(1 + len(labels)) // columns)
    figure, panels = _figure(rows_of_panels, columns, 4.2 * columns, 3.2 * rows_of_panels)
    if steps:
        _line(panels[0], steps, [row["loss"] for row in steps], "training", INK)
    if validations:
        _line(panels[0], validations, [row["loss"] for row in validations], "validation", SECOND_INK)
    panels[0].set(xlabel="step", ylabel=f"loss ({unit})", title="loss")
    for panel, label in zip(panels[1:], labels, strict=False):
        measured = [row for row in validations if label in row["metrics"]]
        _line(panel, measured, [row["metrics"][label] for row in measured], label, SECOND_INK)
        panel.set(xlabel="step", title=f"{_shown(label)} (validation)")
    best = [row["step"] for row in validations if row.get("is_best")]
    last = max(row["step"] for row in [*steps, *validations])
    for panel in panels[: 1 + len(labels)]:
        for step in best[-1:]:
            label = f"best step: {step:,}"
            panel.axvline(step, color="#999999", linewidth=0.8, linestyle="--", label=label, zorder=0)
        panel.set_xlim(0, 1.02 * last)
        panel.locator_params(axis="x", integer=True)
    for panel in panels[1 + len(labels) :]:
        panel.remove()
    panels[0].legend(frameon=False)
    _save(figure, out)


def _columns(panels: int) -> int:
    """Return how many of some panels stand side by side: three at most, four as two by two."""
    return 2 if panels == 4 else min(panels, 3)


def attention_picture(
    reads_TS: Tensor, source_pieces: Sequence[str], target_pieces: Sequence[str], out: Path, title: str = ""
) -> None:
    """Draw where the decoder looked: a row for each target piece, a column for each source piece.

    `reads_TS` are attention weights (target steps, source steps); rows and columns beyond the pieces are
    cut off. Where there are so many pieces that they would not fit, only every so many is written.
    """
    rows, columns = len(target_pieces), len(source_pieces)
    width, height = (min(MOST_INCHES, PIECE_INCHES * pieces) for pieces in (columns, rows))
    lines = _wrapped(title, max(width, 4.0))
    figure, (panel,) = _figure(1, 1, 1.6 + max(width, 1.6), 1.4 + height + 0.2 * len(lines))
    weights_TS = reads_TS[:rows, :columns].float().cpu().numpy()
    panel.imshow(weights_TS, cmap="Blues", aspect="auto", vmin=0.0, vmax=_darkest(weights_TS))
    upright = max(map(len, source_pieces), default=0) <= 2
    panel.set_xticks(*_every(source_pieces, width), rotation=0 if upright else 90)
    panel.set_yticks(*_every(target_pieces, height))
    panel.set(xlabel="source", ylabel="target")
    panel.tick_params(length=0)
    _caption(figure, lines)
    _save(figure, out)


def _darkest(weights_TS: NDArray[np.float32]) -> float:
    """Return the weight that is drawn darkest: what looks everywhere alike stays pale, however small."""
    most: float = weights_TS.max(initial=0.0).item()
    alike: float = min(1.0, 4 / max(1, weights_TS.shape[1]))
    return max(most, alike)


def _every(pieces: Sequence[str], inches: float, each: float = PIECE_INCHES) -> tuple[list[int], list[str]]:
    """Return the places of those pieces that can be written along so many inches, and what to write."""
    stride = math.ceil(len(pieces) * each / inches - 1e-9) if pieces else 1
    places = list(range(0, len(pieces), stride))
    return places, [_shown(pieces[place]) for place in places]


def spectrogram_picture(
    out: Path,
    frames_SF: NDArray[np.float32],
    section: Speech,
    reads_TR: Tensor | None = None,
    pieces: Sequence[str] = (),
    shortening: int = 1,
    title: str = "",
) -> None:
    """Draw sound as the codec of `section` sees it; below, at the same times, where an answer comes from.

    `reads_TR` are weights of the encoder's steps, `shortening` frames each: a row for each of `pieces`, which
    is written where its row is largest. `title` may have several lines.
    """
    hop_seconds = section.hop_samples / section.sample_rate_hz
    begin = LogMel(section).seconds_at(0) - hop_seconds / 2
    end = begin + hop_seconds * len(frames_SF)
    rows = 0 if reads_TR is None else min(len(pieces), len(reads_TR))
    width = min(MOST_INCHES, max(LEAST_INCHES, SECOND_INCHES * end))
    reading = min(MOST_INCHES, ROW_INCHES * rows)
    lines = _wrapped(title, width)
    heights = [SOUND_INCHES, *([reading] if rows else [])]
    figure, panels = _figure(len(heights), 1, width, 0.7 + 0.2 * len(lines) + sum(heights), heights)
    sound = panels[0]
    low, high = np.percentile(frames_SF, [1, 99.8])
    extent = (begin, end, -0.5, frames_SF.shape[1] - 0.5)
    sound.imshow(frames_SF.T, cmap="magma", aspect="auto", origin="lower", extent=extent, vmin=low, vmax=high)
    sound.set(ylabel="kHz", xlim=(0, end))
    sound.set_yticks(*_pitches(section))
    if reads_TR is not None and rows:
        step_seconds = shortening * hop_seconds
        _reading(panels[1], reads_TR[:rows].float().cpu().numpy(), pieces[:rows], begin, step_seconds)
        panels[1].sharex(sound)
        sound.label_outer()
    panels[-1].set_xlabel("seconds")
    _caption(figure, lines)
    _save(figure, out)


def _pitches(section: Speech) -> tuple[list[float], list[str]]:
    """Return where frequencies lie among the bands, and their names in kHz."""
    low, high = section.band_edges_mel[0], section.band_edges_mel[-1]
    a_band = (high - low) / (section.mel_bins + 1)
    places = {hertz: (mel(hertz) - low) / a_band - 1 for hertz in PITCHES_HZ}
    inside = {hertz: place for hertz, place in places.items() if 0 <= place <= section.mel_bins - 1}
    return list(inside.values()), [f"{hertz / 1000:g}" for hertz in inside]


def _reading(
    panel: Axes, reads_TR: NDArray[np.float32], pieces: Sequence[str], begin: float, step_seconds: float
) -> None:
    """Draw a row for each piece; a piece stands beside its peak, on the side where there is room."""
    from matplotlib.patheffects import withStroke

    rows, steps = reads_TR.shape
    end = begin + steps * step_seconds
    extent = (begin, end, rows - 0.5, -0.5)
    panel.imshow(reads_TR, cmap="Blues", aspect="auto", extent=extent, vmin=0.0, vmax=_darkest(reads_TR))
    halo = [withStroke(linewidth=2.5, foreground="white")]
    places, labels = _every(pieces, min(MOST_INCHES, ROW_INCHES * rows), ROW_INCHES)
    for row, label in zip(places, labels, strict=True):
        peak = int(reads_TR[row].argmax())
        side = -1 if peak > steps / 2 else 1
        edge = begin + step_seconds * (peak + 0.5 + side * (1 + _reach(reads_TR[row], peak, side)))
        panel.text(
            edge,
            row,
            label,
            color=SECOND_INK,
            ha="right" if side < 0 else "left",
            va="center",
            fontsize=10,
            fontweight="bold",
            path_effects=halo,
        )
    panel.set(ylabel="written", yticks=[])


def _reach(row_R: NDArray[np.float32], peak: int, side: int) -> int:
    """Count the dark steps beside a peak, which what is written there must not cover; a few at most."""
    beside_R = row_R[peak + 1 :] if side > 0 else row_R[:peak][::-1]
    pale = np.flatnonzero(beside_R[:_DARK_STEPS] < _DARK_SHARE * row_R[peak])
    return int(pale[0]) if pale.size else min(_DARK_STEPS, len(beside_R))


@dataclass(frozen=True, eq=False)
class Fan:
    """A forecast behind its context: `point`, each of `quantiles` by its level, and what came (H, V)."""

    context: Series
    point: NDArray[np.float64]
    quantiles: Mapping[float, NDArray[np.float64]]
    truth: NDArray[np.float64] | None = None

    @property
    def has_times(self) -> bool:
        """Whether the context has times for the horizon too."""
        times = self.context.times
        return times is not None and len(times) >= len(self.context.values) + len(self.point)


def fan_chart(out: Path, fans: Sequence[Fan]) -> None:
    """Draw forecasts: a panel a variable of each, a band for each pair of quantiles 1 - q and q.

    What came may hold NaN. Steps are dates where there are times for the horizon too, else numbers, the
    forecast's first step being 1.
    """
    count = sum(fan.point.shape[1] for fan in fans)
    figure, panels = _figure(count, 1, 7.2, 0.7 + 2.3 * count)
    left = iter(panels)
    for fan in fans:
        own = list(itertools.islice(left, fan.point.shape[1]))
        _draw_fan(own, fan)
        _dates(own, fan.has_times)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=8)
    _save(figure, out)


def _draw_fan(panels: Sequence[Axes], fan: Fan) -> None:
    """Draw each variable of a forecast, the axis of steps below the last."""
    context, steps, ahead = fan.context, len(fan.context.values), len(fan.point)
    axis = context.times if fan.has_times else np.arange(steps + ahead) - steps + 1
    assert axis is not None
    names = context.names or tuple(map(str, range(len(panels))))
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        joint = context.values[-1:, number]
        future = axis[steps - 1 : steps + ahead]
        panel.plot(axis[:steps], context.values[:, number], color=PAST_INK, linewidth=1.2, label="past")
        for place, (lower, upper) in enumerate(_bands(fan.quantiles)):
            low, high = (np.append(joint, fan.quantiles[level][:, number]) for level in (lower, upper))
            colour, label = BANDS[min(place, len(BANDS) - 1)], f"{upper - lower:.0%} interval"
            panel.fill_between(future, low, high, color=colour, linewidth=0, label=label)
        if fan.truth is not None:
            line = np.append(joint, fan.truth[:, number])
            panel.plot(future, line, color=PAST_INK, linewidth=1.2, linestyle=":", label="what came")
        line = np.append(joint, fan.point[:, number])
        panel.plot(future, line, color=SECOND_INK, linewidth=1.6, label="forecast")
        panel.axvline(future[0], color="#999999", linewidth=0.8, linestyle="--")
        panel.set(ylabel=_shown(name), xlim=(axis[0], axis[steps + ahead - 1]))
        panel.tick_params(labelbottom=panel is panels[-1])
        panel.xaxis.get_offset_text().set_visible(panel is panels[-1])
    if context.id:
        panels[0].set_title(_shown(context.id), loc="left")


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


def _figure(
    rows: int, columns: int, width: float, height: float, heights: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels, sizes in inches, without touching matplotlib's global state."""
    check_drawing()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=144, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flatten()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(panels)


def _line(
    panel: Axes, rows: Sequence[dict[str, Any]], values: Sequence[float], label: str, colour: str
) -> None:
    """Draw one curve over steps."""
    marker = "o" if len(rows) < 30 else None
    panel.plot([row["step"] for row in rows], values, label=label, color=colour, marker=marker, markersize=3)


def _wrapped(title: str, inches: float) -> list[str]:
    """Cut a title into lines that fit."""
    letters = int(inches * _LETTERS_AN_INCH)
    return [part for line in title.splitlines() for part in textwrap.wrap(line, letters)]


def _caption(figure: Figure, lines: Sequence[str]) -> None:
    """Write above all panels, from the left."""
    if lines:
        text = _plain("\n".join(lines))
        figure.suptitle(text, x=0.01, ha="left", fontsize=10)


def _shown(piece: str) -> str:
    """Make blanks visible."""
    return _plain(_MARKS.get(piece, piece))


def _plain(text: str) -> str:
    """Keep matplotlib from reading what stands between dollars as mathematics."""
    return text.replace("$", r"\$")


def _save(figure: Figure, out: Path) -> None:
    """Write a picture, making its folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
