"""Pictures of what `run.py` measured, as SVG: bars of contenders with their spread, curves of growth."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - after the choice of how to draw
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

OURS, OTHERS, INK, FAINT = "#2f74b5", "#b4bfca", "#26303a", "#d9dfe5"
KINDS = {"transformer": ("Transformer", "#2f74b5", "o"), "lstm": ("LSTM", "#c05621", "s")}
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dragoman",
}
BAR_INCHES = 0.27
MOST_LETTERS = 21
"""On the axis of a small panel; with more, every other number is left out."""
LEAST_RANGE = 12.0
"""The largest value on an axis of speeds over the smallest, at least: slopes are then comparable."""


def training(measured: dict[str, Any], path: Path) -> None:
    """Draw target tokens a second of every contender: the Transformer above, the LSTM below."""
    panels = [
        (key, title) for key, title in (("training", "Transformer"), ("lstm", "LSTM")) if key in measured
    ]
    heights = [len(measured[key]) for key, _ in panels]
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(panels),
            1,
            figsize=(7.4, sum(heights) * BAR_INCHES + 0.9 * len(panels)),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for (key, title), axis in zip(panels, axes[:, 0], strict=True):
            _bars(axis, measured[key], "tokens_per_second", "{:,.0f}", largest_first=True)
            axis.set_title(f"{title}: target tokens a second in training")
        _save(figure, path)


def decoding(found: dict[str, Any], path: Path) -> None:
    """Draw sentences a second of many, and milliseconds of one alone, beam and greedy."""
    ways = ("beam 5", "greedy")
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(9.6, 4.6), squeeze=False, layout="constrained")
        for row, way in enumerate(ways):
            chosen = {
                name.removesuffix(f", {way}"): figures
                for name, figures in found.items()
                if name.endswith(way)
            }
            many, alone = axes[row]
            _bars(many, chosen, "sentences_per_second", "{:,.0f}", largest_first=True)
            many.set_title(f"{way}, many: sentences a second")
            _bars(alone, chosen, "latency_ms", "{:.1f}", largest_first=False)
            alone.set_title(f"{way}, one alone: milliseconds")
        _save(figure, path)


def growth(found: dict[str, Any], path: Path) -> None:
    """Draw speeds, memory and waits against what grows, on logarithmic axes."""
    speeds = [
        ("training", "batch", "training: tokens of a step"),
        ("training", "length", "training: length of a sentence"),
        ("training", "vocabulary", "training: vocabulary"),
        ("training", "width", "training: width of the model"),
        ("decoding", "batch", "decoding: sentences in a batch"),
        ("decoding", "beam", "decoding: beam"),
        ("decoding", "length", "decoding: length of an answer"),
    ]
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(3, 3, figsize=(9.6, 7.8), layout="constrained")
        panels = list(axes.flat)
        for axis, (part, curve, title) in zip(panels, speeds, strict=False):
            _speeds(axis, {kind: found[part][kind][curve] for kind in KINDS})
            axis.set_title(title)
            axis.set_ylabel("target tokens a second")
        panels[0].legend(frameon=False, loc="lower right")
        stores = [point for point in found["memory"] if point["road"] == "store"]
        texts = [point for point in found["memory"] if point["road"] == "text"]
        _memory(panels[7], stores, texts)
        _waits(panels[8], stores)
        _save(figure, path)


def _bars(axis: Axes, found: dict[str, Any], figure: str, form: str, largest_first: bool) -> None:
    """Draw a bar for each contender, its lowest and highest as a line, its median as a number."""
    named = sorted(
        ((name, values[figure]) for name, values in found.items()),
        key=lambda item: statistics.median(item[1]),
        reverse=largest_first,
    )
    middles = [statistics.median(values) for _, values in named]
    spread = [
        [middle - min(values) for middle, (_, values) in zip(middles, named, strict=True)],
        [max(values) - middle for middle, (_, values) in zip(middles, named, strict=True)],
    ]
    colours = [OURS if name.startswith("dragoman") else OTHERS for name, _ in named]
    places = range(len(named))
    axis.barh(places, middles, color=colours, height=0.72)
    axis.errorbar(
        middles, places, xerr=spread, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2.5, capthick=0.9
    )
    reach = max(max(values) for _, values in named)
    for place, (_, values), middle in zip(places, named, middles, strict=True):
        axis.text(max(values) + reach * 0.012, place, form.format(middle), va="center", fontsize=8.5)
    axis.set_yticks(places, [name for name, _ in named])
    axis.invert_yaxis()
    axis.set_xlim(0, reach * 1.17)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", colors="#6b7783", labelsize=8)
    axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axis.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axis.spines["left"].set_visible(False)


def _speeds(axis: Axes, curves: dict[str, list[dict[str, float]]]) -> None:
    for kind, points in curves.items():
        label, colour, marker = KINDS[kind]
        x = [point["x"] for point in points]
        rates, slowest, fastest = (
            [point["tokens"] / point[key] for point in points] for key in ("seconds", "highest", "lowest")
        )
        axis.fill_between(x, slowest, fastest, color=colour, alpha=0.18, linewidth=0)
        axis.plot(x, rates, color=colour, marker=marker, markersize=3.5, linewidth=1.4, label=label)
    _logarithmic(axis, x)
    low, high = axis.get_ylim()
    widening = max(1.0, (LEAST_RANGE / (high / low)) ** 0.5)
    axis.set_ylim(low / widening, high * widening)


def _memory(axis: Axes, stores: Sequence[dict[str, float]], texts: Sequence[dict[str, float]]) -> None:
    for points, key, label, style in (
        (texts, "write_peak_mib", "preparing from text", ("#7a8794", "^", "--")),
        (stores, "write_peak_mib", "writing the store", ("#2f74b5", "o", "-")),
        (stores, "draw_peak_mib", "drawing batches", ("#c05621", "s", "-")),
        (stores, "draw_own_mib", "the same without files", ("#c05621", "s", ":")),
    ):
        colour, marker, line = style
        x = [point["pairs"] for point in points]
        y = [point[key] for point in points]
        axis.plot(
            x, y, color=colour, marker=marker, linestyle=line, markersize=3.5, linewidth=1.4, label=label
        )
    _logarithmic(axis, [point["pairs"] for point in stores])
    axis.set_yscale("linear")
    axis.set_ylim(0, 1.6 * axis.get_ylim()[1])  # room for the legend
    axis.set_title("memory: pairs")
    axis.set_ylabel("MiB resident at most")
    axis.legend(frameon=False, loc="upper left")


def _waits(axis: Axes, stores: Sequence[dict[str, float]]) -> None:
    x = [point["pairs"] for point in stores]
    axis.plot(x, [point["first_batch_seconds"] for point in stores], "o-", color=OURS, markersize=3.5)
    _logarithmic(axis, x)
    axis.set_yscale("linear")
    axis.set_ylim(bottom=0)
    axis.set_title("start of an epoch: pairs")
    axis.set_ylabel("seconds to its first batch")


def _logarithmic(axis: Axes, x: Sequence[float]) -> None:
    """Make both axes logarithmic, with a tick and a plain number at what was measured."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    is_crowded = sum(len(_plain(value)) for value in x) > MOST_LETTERS
    shown = list(x)[:: 2 if is_crowded else 1]
    axis.set_xticks(shown, [_plain(value) for value in shown], fontsize=8)
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: _plain(value)))
    axis.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.grid(color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)


def _plain(value: float) -> str:
    """Write 64000 as 64k, 10000000 as 10M, and 1024 as 1,024."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size and not value % (size / 10):
            return f"{value / size:g}{letter}"
    return f"{value:,g}"


def _save(figure: Figure, path: Path) -> None:
    """Write the picture without a date, so that equal figures make equal files."""
    options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 110}
    figure.get_layout_engine().set(h_pad=0.09, w_pad=0.06)
    figure.savefig(path, facecolor="white", **options)
    plt.close(figure)
