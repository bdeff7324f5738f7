"""Print what this machine's matrix products reach: billions of operations a second on all threads, as JSON.

    python bench/peak.py

The best of many products of 2,048 x 1,024 by 1,024 x 1,024, in each type that torch multiplies on a CPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from timing import shortest

ROWS, INNER, COLUMNS = 2048, 1024, 1024
ROUNDS = 40


def main() -> None:
    """Measure and print."""
    x, y = torch.randn(ROWS, INNER), torch.randn(COLUMNS, INNER)
    low_x, low_y = x.bfloat16(), y.bfloat16()
    small_x, small_y = (x * 30).to(torch.int8), (y * 30).to(torch.int8)
    print(
        json.dumps(
            {
                "threads": torch.get_num_threads(),
                "fp32": _best(lambda: x @ y.t()),
                "bf16": _best(lambda: low_x @ low_y.t()),
                "int8": _best(lambda: torch._int_mm(small_x, small_y.t())),
            }
        )
    )


def _best(call: Callable[[], object]) -> float:
    return 2 * ROWS * INNER * COLUMNS / shortest(call, ROUNDS) / 1e9


if __name__ == "__main__":
    main()
