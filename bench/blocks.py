"""Times behind docs/decisions/0010: what whole blocks and equal types are worth, on one thread.

python bench/blocks.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

HEADS, WIDTH, POSITIONS = 464, 64, (1740, 256)


def main() -> None:
    """Print microseconds: the first quartile of 60 calls each."""
    torch.set_num_threads(1)
    for steps in (15, 16):
        scores, query = torch.randn(HEADS, steps, steps), torch.randn(HEADS, steps, WIDTH)
        report(f"softmax over {steps}", lambda scores=scores: scores.softmax(-1))
        report(f"queries by keys, {steps} x {steps}", lambda query=query: query @ query.transpose(1, 2))
    low, keep = torch.randn(POSITIONS).bfloat16(), torch.rand(POSITIONS) > 0.1
    same = keep.bfloat16()
    report("bfloat16 by boolean", lambda: low * keep)
    report("bfloat16 by bfloat16", lambda: low * same)


def report(name: str, call: Callable[[], object]) -> None:
    """Time a call and print it."""
    seconds = []
    for _ in range(60):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    print(f"{name:30s} {sorted(seconds)[15] * 1e6:8.0f} us")


if __name__ == "__main__":
    main()
