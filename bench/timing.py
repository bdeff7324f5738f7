"""How long a call takes at best: what else the machine does makes it longer, never shorter."""

from __future__ import annotations

import time
from collections.abc import Callable


def shortest(call: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the shortest of so many calls."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
