"""Times behind docs/decisions/0011: a linear map in float32, bfloat16 and 8-bit integers, on one thread.

python bench/products.py [hold]

With `hold` the process keeps the memory that it frees.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from timing import shortest
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.int8_linear import Int8Linear
from dragoman.model.kernels import hold_memory

INPUTS, OUTPUTS, ROWS = 256, 1024, (1, 5, 60, 500)


@torch.inference_mode()
def main() -> None:
    """Print microseconds of a call, the best of many; that of 8 bits with all that is around its product."""
    torch.set_num_threads(1)
    if sys.argv[1:] == ["hold"]:
        hold_memory()
    weight, bias = torch.randn(OUTPUTS, INPUTS) / 16, torch.randn(OUTPUTS)
    low_weight, low_bias = weight.bfloat16(), bias.bfloat16()
    small, small_weight = Int8Linear(weight, bias), (weight * 127).to(torch.int8).t()
    print("rows  float32  bfloat16  8 bits  8 bits, product only")
    for rows in ROWS:
        x = torch.randn(rows, INPUTS)
        low_x, small_x = x.bfloat16(), (x * 30).to(torch.int8)
        calls: list[Callable[[], object]] = [
            lambda x=x: F.linear(x, weight, bias),
            lambda low_x=low_x: F.linear(low_x, low_weight, low_bias),
            lambda x=x: small(x),
            lambda small_x=small_x: torch._int_mm(small_x, small_weight),
        ]
        print(f"{rows:4}" + "".join(f"{_best(call):9.0f}" for call in calls))


def _best(call: Callable[[], object]) -> float:
    return shortest(call, 200) * 1e6


if __name__ == "__main__":
    main()
