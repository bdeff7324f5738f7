"""Write the page of measurements from what `run.py` measured.

python bench/report.py MEASURED PAGE
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

MODEL = "3 + 3 layers, width 256, feed-forward 1,024, 4 heads, tied joint vocabulary of 7,792"
OPERATIONS = 6 * (3 * (4 * 256**2 + 2 * 256 * 1024) + 3 * (8 * 256**2 + 2 * 256 * 1024) + 7792 * 256)
"""Multiplications and additions of a training step for each target token, a source token beside it."""
MARK = "<!-- measured -->"


def write_page(measured: dict[str, Any], page: Path) -> None:
    """Replace what stands behind the mark in the page."""
    text = page.read_text("utf-8")
    before = text[: text.index(MARK) + len(MARK)]
    parts = [_peak(measured["peak"]), _training(measured), _decoding(measured["decoding"])]
    page.write_text(before + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _peak(peak: dict[str, float]) -> str:
    return (
        "## The machine\n\n"
        f"Large matrix products on {peak['threads']} threads reach {peak['fp32']:,.0f} billion operations a "
        f"second in float32, {peak['bf16']:,.0f} in bfloat16 and {peak['int8']:,.0f} in 8-bit integers."
    )


def _training(measured: dict[str, Any]) -> str:
    training, peak = measured["training"], measured["peak"]
    ours = {kind: _middle(training[f"dragoman, {kind}"]["tokens_per_second"]) for kind in ("bf16", "fp32")}
    lines = [
        "## Training\n",
        f"{MODEL}; Multi30k in pieces, about 4,096 target tokens an update.\n",
        "| | target tokens a second | lowest, highest | ours to it | share of the peak | memory MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in sorted(training.items(), key=lambda item: -_middle(item[1]["tokens_per_second"])):
        rates, kind = found["tokens_per_second"], name[-4:]
        share = _middle(rates) * OPERATIONS / 1e9 / peak[kind]
        lines.append(
            f"| {name} | {_middle(rates):,.0f} | {min(rates):,.0f}, {max(rates):,.0f} | "
            f"{ours[kind] / _middle(rates):.2f} | {share:.0%} | {_middle(found['peak_mib']):,.0f} |"
        )
    return "\n".join(lines)


def _decoding(decoding: dict[str, Any]) -> str:
    lines = [
        "## Decoding\n",
        "The Transformer of `recipes/multi30k-en-de.yaml` (width 256, feed-forward 512, 4,000 pieces), its "
        "1,014 development sentences, the same weights for all. Many: two processes or workers of one thread "
        "each (Hugging Face: one process of two threads), the start not counted. One: a sentence alone, one "
        "thread, median of 100.\n",
        "| | many, sentences a second | lowest, highest | one, milliseconds | BLEU |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in ("beam 5", "greedy"):
        chosen = {name: found for name, found in decoding.items() if name.endswith(way)}
        for name, found in sorted(chosen.items(), key=lambda item: -_middle(item[1]["sentences_per_second"])):
            rates = found["sentences_per_second"]
            lines.append(
                f"| {name} | {_middle(rates):,.0f} | {min(rates):,.0f}, {max(rates):,.0f} | "
                f"{_middle(found['latency_ms']):.1f} | {found['bleu'][0]:.2f} |"
            )
    return "\n".join(lines)


def _middle(values: list[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    write_page(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
