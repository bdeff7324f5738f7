"""Write the page of measurements, and its pictures, from what `run.py` measured.

python bench/report.py MEASURED PAGE
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import plots
import report_growth

MODEL = "3 + 3 layers, width 256, feed-forward 1,024, 4 heads, tied joint vocabulary of 7,792"
LSTM = (
    "One bidirectional LSTM layer of 512 (256 a direction) before one of 512 with `general` attention, "
    "embeddings of 512, nothing tied"
)
OPERATIONS = 6 * (3 * (4 * 256**2 + 2 * 256 * 1024) + 3 * (8 * 256**2 + 2 * 256 * 1024) + 7792 * 256)
"""Multiplications and additions of a training step for each target token, a source token beside it."""
MARK = "<!-- measured -->"


def write_page(measured: dict[str, Any], page: Path) -> None:
    """Replace what stands behind the mark in the page, and draw the pictures beside it in `performance/`."""
    text = page.read_text("utf-8")
    before = text[: text.index(MARK) + len(MARK)]
    pictures = page.with_suffix("")
    pictures.mkdir(exist_ok=True)
    parts = [_peak(measured["peak"])]
    if "training" in measured:
        parts.append(_training(measured))
    if "lstm" in measured:
        parts.append(_lstm(measured["lstm"]))
    if "training" in measured or "lstm" in measured:
        plots.training(measured, pictures / "training.svg")
        parts.append(_picture("Target tokens a second in training", pictures / "training.svg"))
    if "decoding" in measured:
        plots.decoding(measured["decoding"], pictures / "decoding.svg")
        parts += [
            _decoding(measured["decoding"]),
            _picture("Speed of decoding", pictures / "decoding.svg"),
        ]
    if "start" in measured:
        parts.append(_start(measured["start"]))
    if "growth" in measured:
        plots.growth(measured["growth"], pictures / "growth.svg")
        parts += [
            report_growth.curves(measured["growth"]),
            _picture("How speed and memory grow", pictures / "growth.svg"),
            report_growth.memory(measured["growth"]["memory"]),
        ]
    page.write_text(before + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _picture(title: str, path: Path) -> str:
    return f"![{title}]({path.parent.name}/{path.name})"


def _peak(peak: dict[str, float]) -> str:
    return (
        "## The machine\n\n"
        f"Large matrix products on {peak['threads']} threads reach {peak['fp32']:,.0f} billion operations a "
        f"second in float32, {peak['bf16']:,.0f} in bfloat16 and {peak['int8']:,.0f} in 8-bit integers."
    )


def _training(measured: dict[str, Any]) -> str:
    training = measured["training"]
    peak = measured.get("peaks", {}).get("training", measured["peak"])
    lines = [
        "## Training\n",
        f"{MODEL}; Multi30k in pieces, about 4,096 target tokens an update, {_rounds(training)}.\n",
        "| | target tokens a second | lowest, highest | ours to it | share of the peak | memory MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in _fastest_first(training, "tokens_per_second"):
        rates = found["tokens_per_second"]
        ours = training[f"dragoman, {name[-4:]}"]["tokens_per_second"]
        share = middle(rates) * OPERATIONS / 1e9 / peak[name[-4:]]
        lines.append(
            f"| {name} | {_rate(rates)} | {middle(ours) / middle(rates):.2f} | {share:.0%} | "
            f"{middle(found['peak_mib']):,.0f} |"
        )
    return "\n".join([*lines, *(["", _floor(measured)] if "floor" in measured else [])])


def _floor(measured: dict[str, Any]) -> str:
    """Say how fast this step could be at all."""
    floor, training = measured["floor"], measured["training"]
    tokens, products = floor["tokens"], floor["products_bf16"]
    parts = [
        f"{name} {floor[name] * 1e3:,.0f}" for name in ("attention", "softmax", "optimizer") if name in floor
    ]
    whole = products + sum(floor.get(name, 0) for name in ("attention", "softmax", "optimizer"))
    eole, held = (max(training[f"eole{kind}, bf16"]["tokens_per_second"]) for kind in ("", " with tcmalloc"))
    return (
        f"How fast could it be at all? The products of a step of {tokens:,} target tokens, each alone, "
        f"take at least {products * 1e3:,.0f} milliseconds in bfloat16 (`bench/floor.py`: the faster of "
        f"torch's and ours, the shortest of many): {tokens / products:,.0f} target tokens a second, if all "
        f"else were free. With what else was measured alone ({', '.join(parts)} milliseconds) it is "
        f"{tokens / whole:,.0f}. Three times eole, in its fastest round as these are the shortest times, "
        f"would be {3 * eole:,.0f}, 2.4 times eole with tcmalloc {2.4 * held:,.0f}."
    )


def _lstm(lstm: dict[str, Any]) -> str:
    lines = [
        "## Training an LSTM\n",
        f"{LSTM}; the same text and batches, {_rounds(lstm)}. OpenNMT-py trains in float32 only on a "
        "processor, and feeds its input by default: both ways are measured, each beside ours of that way.\n",
        "| | target tokens a second | lowest, highest | ours to it | memory MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in _fastest_first(lstm, "tokens_per_second"):
        rates = found["tokens_per_second"]
        _, _, way = name.partition(", ")
        ours = lstm[f"dragoman, {way}"]["tokens_per_second"]
        lines.append(
            f"| {name} | {_rate(rates)} | {middle(ours) / middle(rates):.2f} | "
            f"{middle(found['peak_mib']):,.0f} |"
        )
    theirs = middle(lstm["OpenNMT-py, fp32"]["tokens_per_second"])
    ratios = [middle(lstm[f"dragoman, {kind}"]["tokens_per_second"]) / theirs for kind in ("fp32", "bf16")]
    lines.append(
        f"\nBeside OpenNMT-py without input feeding, ours is {ratios[0]:.1f} times as fast in float32 and "
        f"{ratios[1]:.1f} times in bfloat16."
    )
    return "\n".join(lines)


def _decoding(decoding: dict[str, Any]) -> str:
    lines = [
        "## Decoding\n",
        "The Transformer of `recipes/multi30k-en-de.yaml` (width 256, feed-forward 512, 4,000 pieces), its "
        "1,014 development sentences, the same weights for all. Many: two processes or workers of one thread "
        "each (Hugging Face: one process of two threads), the start not counted. One: a sentence alone, one "
        f"thread, median of 50; {_rounds(decoding)}.\n",
        "| | many, sentences a second | lowest, highest | one, milliseconds | BLEU |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in ("beam 5", "greedy"):
        chosen = {name: found for name, found in decoding.items() if name.endswith(way)}
        for name, found in _fastest_first(chosen, "sentences_per_second"):
            lines.append(
                f"| {name} | {_rate(found['sentences_per_second'])} | "
                f"{middle(found['latency_ms']):.1f} | {found['bleu'][0]:.2f} |"
            )
    return "\n".join(lines)


def _start(start: dict[str, Any]) -> str:
    lines = [
        "## Starting\n",
        "Seconds from the command to its end, or to the first training step on the raw files of Multi30k; "
        "each in a fresh process, torch's import included. The very first time nothing is kept of earlier "
        "calls; otherwise compiled kernels are, where there are any, and of prepared data what the row "
        "says. Processors: seconds that they worked, which other programs on the machine stretch less.\n",
        "| | seconds | lowest, highest | processors, seconds | mark |",
        "|---|---:|---:|---:|---|",
    ]
    for name, found in start.items():
        seconds, mark = found["seconds"], found.get("mark")
        verdict = f"under {mark:g}: {'met' if middle(seconds) < mark else 'missed'}" if mark else ""
        lines.append(
            f"| {name} | {middle(seconds):.2f} | {min(seconds):.2f}, {max(seconds):.2f} | "
            f"{middle(found['processor_seconds']):.2f} | {verdict} |"
        )
    return "\n".join(lines)


def _fastest_first(found: dict[str, Any], figure: str) -> list[tuple[str, Any]]:
    return sorted(found.items(), key=lambda item: -middle(item[1][figure]))


def _rounds(found: dict[str, Any]) -> str:
    """Say how often each contender was measured."""
    rounds = len(next(iter(next(iter(found.values())).values())))
    return f"median of {rounds} rounds" if rounds > 1 else "one round"


def _rate(rates: list[float]) -> str:
    return f"{middle(rates):,.0f} | {min(rates):,.0f}, {max(rates):,.0f}"


def middle(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


if __name__ == "__main__":
    write_page(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
