"""What travels: examples, sequences, batches, hypotheses.

Shapes: B batch, S steps, T target steps, F features, V variables of a series, C known covariates, M samples
of audio, H horizon, L links, K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import DataError


@dataclass(frozen=True, eq=False)
class Recording:
    """Audio in memory: samples (M,) or (M, channels), float32 within -1 and 1, at `sample_rate_hz`."""

    samples: NDArray[np.float32]
    sample_rate_hz: int


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers in order: `values` (S, V) float64 with NaN where one is missing, `names` of the V variables.

    `times` (S + H,) datetime64 and `known_values` (S + H, C) float64, where there are any, go on for the H
    steps that are to be forecast: dates, and what is known beforehand (prices, holidays). `id` names the
    series. Of a window, `before` (P, V) is what came before it, which a model does not see.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...] = ()
    id: str = ""
    times: NDArray[np.datetime64] | None = None
    known_values: NDArray[np.float64] | None = None
    known_names: tuple[str, ...] = ()
    before: NDArray[np.float64] | None = None


Value = str | Recording | Series
"""A raw source or target as the user has it.

Text is a string. Audio is the path of a file, perhaps with `#t=begin,end` in seconds behind it (W3C media
fragments), or a Recording. Numbers are a Series, or written out: a JSON list, or numbers between spaces.
"""


def text_of(value: Value) -> str:
    """Return a value that is text, as it is; DataError for one that is held in memory as numbers."""
    if isinstance(value, str):
        return value
    raise DataError(f"expected text, found {type(value).__name__}")


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
    """One raw source, its targets (none, one, or several references), an id, and where it came from.

    `links` pair words of the source with words of its only target, by their numbers from 0, where an
    alignment is given.
    """

    source: Value
    targets: tuple[Value, ...] = ()
    id: str = ""
    origin: Origin | None = None
    links: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """All that a model knows of a codec: `tokens` of a vocabulary size, or `frames` of a width.

    Where every value has one number of `steps` the port says so. `ahead` is the width of what a source says
    of its target's steps beforehand.
    """

    kind: Literal["tokens", "frames"]
    size: int
    steps: int | None = None
    ahead: int = 0


@dataclass(frozen=True)
class Sequence:
    """Padded values and lengths: tokens (B, S) int64, or frames (B, S, F) float32; lengths (B,) int64.

    Of numbers: `units_BF` says what one unit of a target's frames is worth where all targets are measured
    alike (they may be scaled each in its own way), and `ahead_BTC` stands beside a source and holds what is
    known of the target's steps beforehand. `end_BX` stands beside a target and is the last patch of its
    context.
    """

    values: Tensor
    lengths_B: Tensor
    units_BF: Tensor | None = None
    ahead_BTC: Tensor | None = None
    end_BX: Tensor | None = None

    @property
    def mask_BS(self) -> Tensor:
        """True where a step is real."""
        steps_S = torch.arange(self.values.shape[1], device=self.values.device)
        return steps_S[None, :] < self.lengths_B[:, None]

    def to(self, device: torch.device) -> Sequence:
        """Move to a device."""
        units_BF, ahead_BTC, end_BX = self.units_BF, self.ahead_BTC, self.end_BX
        return Sequence(
            self.values.to(device, non_blocking=True),
            self.lengths_B.to(device, non_blocking=True),
            None if units_BF is None else units_BF.to(device, non_blocking=True),
            None if ahead_BTC is None else ahead_BTC.to(device, non_blocking=True),
            None if end_BX is None else end_BX.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Candidates:
    """Answers that a model might give, K for each source, side by side: `answers` has B·K rows.

    `costs_BK` says how bad each is, `mask_BK` is True where there is one.
    """

    answers: Sequence
    costs_BK: Tensor
    mask_BK: Tensor


@dataclass(frozen=True)
class Batch:
    """Sources and targets of the same examples, in the same order, with their ids.

    `links_L3`, where alignments are learnt from: the row, target step and source step of each link.
    `candidates`, where it is learnt from what answers cost, lie on the device of the model.
    """

    source: Sequence
    target: Sequence
    ids: tuple[str, ...]
    links_L3: Tensor | None = None
    candidates: Candidates | None = None

    def to(self, device: torch.device) -> Batch:
        """Move sources, targets and links to a device."""
        links_L3 = None if self.links_L3 is None else self.links_L3.to(device, non_blocking=True)
        return replace(self, source=self.source.to(device), target=self.target.to(device), links_L3=links_L3)


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


@dataclass(frozen=True, eq=False)
class Forecast:
    """One answer in numbers: `values` (T, F) the point forecast, in the frames of the target's codec.

    `samples` (number, T, F) are drawn from the model's distribution; `quantiles` maps a level to (T, F).
    """

    values: NDArray[np.float32]
    samples: NDArray[np.float32] | None = None
    quantiles: Mapping[float, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answers to one example, best first: raw values beside the hypotheses they were decoded from.

    Numbers have one answer, its `forecast` instead of hypotheses.
    """

    example: Example
    values: tuple[Value, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    forecast: Forecast | None = None
