"""How fast a bundle answers on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dragoman.bundle import Bundle
from dragoman.decoding.decode import decode
from dragoman.recipe.decoding import Decoding
from dragoman.records import Example, Prediction

MOST = 64
"""Examples that are answered to measure speed."""
_WARM = 2
"""Answers before the clock starts, which load what is loaded once."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How long answers took, all of them asked for together, by how many threads on what device."""

    examples: int
    seconds: float
    threads: int
    device: str

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.examples / self.seconds


def spread(examples: Sequence[Example], most: int = MOST) -> list[int]:
    """Return the numbers of some examples, spread over all of them."""
    count = min(most, len(examples))
    return [place * len(examples) // count for place in range(count)]


def measured(
    bundle: Bundle, examples: Sequence[Example], decoding: Decoding
) -> tuple[Speed, tuple[Prediction, ...]]:
    """Answer examples and say how long it took; `decoding` is the way that scores are of."""
    list(decode(bundle, examples[:_WARM], decoding))
    begin = time.perf_counter()
    found = tuple(decode(bundle, examples, decoding))
    seconds = time.perf_counter() - begin
    return Speed(len(examples), seconds, torch.get_num_threads(), bundle.device.type), found
