"""What travels: examples, sequences, batches, hypotheses. Shapes: B batch, S steps, F features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Value = str
"""A raw source or target as the user has it. Text is a string."""

PAD, UNKNOWN, BOS, EOS = 0, 1, 2, 3
"""Ids of the control symbols, the same in every vocabulary."""
CONTROL_SYMBOLS = ("<pad>", "<unk>", "<bos>", "<eos>")
"""Names of the control symbols in the order of their ids; user text never encodes to PAD, BOS or EOS."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an example came from; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        """Write it as compilers do."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Example:
    """One raw source, its targets (none, one, or several references), an id, and where it came from."""

    source: Value
    targets: tuple[Value, ...] = ()
    id: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """All that a model knows of a codec: `tokens` of a vocabulary size, or `frames` of a width."""

    kind: Literal["tokens", "frames"]
    size: int


@dataclass(frozen=True)
class Sequence:
    """Padded values and lengths: tokens (B, S) int64, or frames (B, S, F) float32; lengths (B,) int64."""

    values: Tensor
    lengths_B: Tensor

    @property
    def mask_BS(self) -> Tensor:
        """True where a step is real."""
        steps_S = torch.arange(self.values.shape[1], device=self.values.device)
        return steps_S[None, :] < self.lengths_B[:, None]

    def to(self, device: torch.device) -> Sequence:
        """Move to a device."""
        return Sequence(
            self.values.to(device, non_blocking=True), self.lengths_B.to(device, non_blocking=True)
        )


@dataclass(frozen=True)
class Batch:
    """Sources and targets of the same examples, in the same order, with their ids."""

    source: Sequence
    target: Sequence
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        return Batch(self.source.to(device), self.target.to(device), self.ids)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One candidate answer as the search leaves it.

    `tokens` excludes BOS and includes EOS where the model wrote one (`is_finished`). `log_probs` has one
    natural log-probability a token. `score` ranks hypotheses of one source: the sum of log-probabilities
    after length and coverage penalties. `reads` (T, S) is where the decoder looked at each token, where
    that was asked for.
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    score: float
    is_finished: bool
    reads: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answers to one example, best first: raw values beside the hypotheses they were decoded from."""

    example: Example
    values: tuple[Value, ...]
    hypotheses: tuple[Hypothesis, ...]
