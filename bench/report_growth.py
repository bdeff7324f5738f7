"""Tables and sentences about growth: exponents fitted to the measured curves, and the reasons."""

from __future__ import annotations

import math
from typing import Any

Points = list[dict[str, float]]

SCORES = "attention compares every target position with every source position: T x S scores"
WIDTH = "a map from width to width has width x width weights: products grow with its square"
WHY = {
    ("training", "length", "transformer"): f"{SCORES}, and within each side T x T and S x S",
    ("training", "length", "lstm"): SCORES,
    ("training", "width", "transformer"): WIDTH,
    ("training", "width", "lstm"): WIDTH,
    ("decoding", "length", "transformer"): (
        "each token written attends to all before it, and what is remembered of these is copied at each step"
    ),
}
"""What must grow faster than in proportion, by what the model is."""
ROWS = [
    ("training", "batch", "a step", "tokens of the step"),
    ("training", "length", "a pair of sentences", "tokens of either side"),
    ("training", "vocabulary", "a step of 2,048 tokens", "symbols"),
    ("training", "width", "a step of 2,048 tokens", "width"),
    ("decoding", "batch", "a batch", "sentences in it"),
    ("decoding", "beam", "a batch of 16", "beam"),
    ("decoding", "length", "a batch of 16", "tokens of each answer"),
]
PROPORTION = 1.15
"""An exponent up to here is called proportional: doubling what grows costs 2.2 times at most."""
NAMES = {"transformer": "Transformer", "lstm": "LSTM"}


def curves(growth: dict[str, Any]) -> str:
    """Return the table of exponents, and a sentence on each that is above proportion."""
    lines = [
        "## Growth\n",
        "Models of `bench/growth.py` on made-up tokens. Time grows as a power of what the row names: the "
        "exponent is fitted to all points (least squares on logarithms), and in brackets that between the "
        "last two. 1 is in proportion, 2 quadratic; below 1 what was there anyway is shared by more.\n",
        "| time of | against | from, to | Transformer | LSTM |",
        "|---|---|---|---:|---:|",
    ]
    above: list[str] = []
    for part, curve, what, against in ROWS:
        shown = []
        for kind in NAMES:
            points = growth[part][kind][curve]
            whole, end = exponents(_times(curve, part, points))
            shown.append(f"{whole:.2f} ({end:.2f})")
            if end > PROPORTION:
                above.append(_sentence(part, curve, kind, end))
        first, last = points[0]["x"], points[-1]["x"]
        lines.append(f"| {part}: {what} | {against} | {first:,.0f}, {last:,.0f} | {shown[0]} | {shown[1]} |")
    return "\n".join([*lines, "", *(above or ["Nothing grows faster than in proportion."])])


def memory(found: Points) -> str:
    """Return the table of memory and of the wait for the first batch against the size of the corpus."""
    lines = [
        "Memory and epochs against the size of a made-up corpus. From text: files are read, words counted "
        "and cut, a store is written. Store: the same writer, from sentences that were cut before. Resident "
        "memory is the peak of a process; its imports alone take "
        f"{min(point['imports_mib'] for point in found):,.0f} MiB, and pages of the mapped store that were "
        "touched count.\n",
        "| pairs | road | store, MiB | written in, seconds | MiB writing | MiB drawing 300 batches "
        "| without pages of files | first batch of an epoch, seconds |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for point in found:
        road = {"text": "from text", "store": "store"}[str(point["road"])]
        lines.append(
            f"| {point['pairs']:,.0f} | {road} | {point['store_mib']:,.0f} | {point['write_seconds']:,.1f} | "
            f"{point['write_peak_mib']:,.0f} | {point['draw_peak_mib']:,.0f} | "
            f"{point['draw_own_mib']:,.0f} | {point['first_batch_seconds']:.2f} |"
        )
    stores = [point for point in found if point["road"] == "store"]
    fitted = {
        name: exponents([(point["pairs"], point[name]) for point in stores])[0]
        for name in ("write_peak_mib", "draw_peak_mib", "draw_own_mib", "first_batch_seconds")
    }
    lines.append(
        f"\nAgainst the pairs of a store, memory grows with exponent {fitted['write_peak_mib']:.2f} in "
        f"writing and {fitted['draw_peak_mib']:.2f} in drawing ({fitted['draw_own_mib']:.2f} "
        f"without pages of files), the wait for the first batch with "
        f"{fitted['first_batch_seconds']:.2f}."
    )
    return "\n".join(lines)


def exponents(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the power with which the second number grows against the first: over all points, at the end."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    (x0, y0), (x1, y1) = logs[-2:]
    return slope, (y1 - y0) / (x1 - x0)


def _times(curve: str, part: str, points: Points) -> list[tuple[float, float]]:
    """Return what grows and the seconds of what the row names: of a step, a call, or a pair of sentences."""
    if (part, curve) == ("training", "length"):
        return [(point["x"], point["seconds"] * point["x"] / point["tokens"]) for point in points]
    return [(point["x"], point["seconds"]) for point in points]


def _sentence(part: str, curve: str, kind: str, end: float) -> str:
    """Say that a curve is above proportion, and why, or that nothing explains it."""
    reason = WHY.get((part, curve, kind))
    because = f", because {reason}" if reason else "; nothing in the model asks for it"
    return f"- {part.capitalize()} against {curve}, {NAMES[kind]}: exponent {end:.2f} at the end{because}."
