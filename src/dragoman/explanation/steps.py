"""What the model would have written instead, step by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another token that the model considered at a step, with its natural log-probability."""

    piece: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class StepChoice:
    """A target token, its natural log-probability, its rank from 1 in the vocabulary, and the best others."""

    piece: str
    log_prob: float
    rank: int
    alternatives: tuple[Alternative, ...]
