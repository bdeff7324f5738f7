"""Random segmentations that repeat: a seed gives the same cut in every process.

SentencePiece's own sampling gives the same seed another cut in each process, so that a run could not be
repeated or resumed. What is sampled here follows its definitions: BPE-dropout (Provilkov et al. 2020) and
smoothed unigram sampling (Kudo 2018).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

_UNKNOWN_PENALTY = 10.0
"""SentencePiece's: an unknown character scores this much below the worst piece."""


@dataclass(frozen=True)
class Sampler:
    """Cuts text at random; `amount` is the share of merges dropped, or the smoothing of unigram scores.

    `scores` are those of the pieces (log-probabilities, or minus the rank of a merge), `ids` their ids and
    those of the bytes `<0x00>` to `<0xFF>` that stand for characters without a piece.
    """

    kind: Literal["bpe", "unigram"]
    amount: float
    scores: Mapping[str, float]
    ids: Mapping[str, int]

    def cut(self, letters: str, seed: int) -> list[int]:
        """Return the ids of a random segmentation, a pure function of text and seed.

        `letters` are the text as pieces write it, with U+2581 for spaces.
        """
        draw = random.Random(seed).random  # Mersenne Twister: the same numbers in every version of Python
        if self.kind == "bpe":
            pieces = _dropped_merges(letters, self.scores, self.amount, draw)
        else:
            pieces = _smoothed_path(letters, self.scores, self._longest, self.amount, draw)
        return [token for piece in pieces for token in self._ids_of(piece)]

    def _ids_of(self, piece: str) -> list[int]:
        if piece in self.scores:
            return [self.ids[piece]]
        return [self.ids[f"<0x{byte:02X}>"] for byte in piece.encode()]

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.scores))


def _dropped_merges(
    text: str, scores: Mapping[str, float], dropped: float, draw: Callable[[], float]
) -> list[str]:
    """Merge neighbours, best score first and then leftmost; each merge that comes up is dropped by chance."""
    parts: list[str] = list(text)
    after, before = list(range(1, len(parts) + 1)), list(range(-1, len(parts) - 1))
    agenda: list[tuple[float, int, int, str]] = []

    def consider(left: int, right: int) -> None:
        if left >= 0 and right < len(parts):
            merged = parts[left] + parts[right]
            if merged in scores:
                heapq.heappush(agenda, (-scores[merged], left, right, merged))

    for left in range(len(parts) - 1):
        consider(left, left + 1)
    while agenda:
        _, left, right, merged = heapq.heappop(agenda)
        if (
            not parts[left]
            or after[left] != right
            or parts[left] + parts[right] != merged
            or draw() < dropped
        ):
            continue
        parts[left], parts[right] = merged, ""
        after[left] = after[right]
        if after[left] < len(parts):
            before[after[left]] = left
        consider(before[left], left)
        consider(left, after[left])
    return [part for part in parts if part]


def _smoothed_path(
    text: str, scores: Mapping[str, float], longest: int, smoothing: float, draw: Callable[[], float]
) -> list[str]:
    """Filter forwards and sample backwards over all segmentations, each weighed to the power `smoothing`."""
    unknown = min(scores.values()) - _UNKNOWN_PENALTY
    total = [0.0]
    arcs: list[list[tuple[int, float]]] = [
        []
    ]  # that end after this many characters: where they start, log weight
    for end in range(1, len(text) + 1):
        found = []
        for start in range(max(0, end - longest), end):
            score = scores.get(text[start:end])
            if score is not None:
                found.append((start, total[start] + smoothing * score))
        if text[end - 1] not in scores:
            found.append((end - 1, total[end - 1] + smoothing * unknown))
        best = max(weight for _, weight in found)
        total.append(best + math.log(sum(math.exp(weight - best) for _, weight in found)))
        arcs.append(found)
    pieces, end = [], len(text)
    while end:
        chosen, left = arcs[end][-1][0], draw()
        for start, weight in arcs[end]:
            left -= math.exp(weight - total[end])
            if left < 0:
                chosen = start
                break
        pieces.append(text[chosen:end])
        end = chosen
    return pieces[::-1]
