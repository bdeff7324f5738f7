"""Where a run stands: the numbers of a checkpoint, as a value that each step replaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dragoman.data.batching import Position
from dragoman.recipe.run import Plateau, Schedule


@dataclass(frozen=True)
class Watch:
    """The best value of the watched metric so far, and how long nothing beat it, counted in validations."""

    best: float | None = None
    best_step: int = 0
    since_best: int = 0
    since_plateau: int = 0
    plateau_factor: float = 1.0

    def seen(self, value: float, step: int, higher_is_better: bool, schedule: Schedule) -> Watch:
        """Return the watch after a validation; a plateau lasts more than `patience` validations."""
        if math.isfinite(value) and (self.best is None or _beats(value, self.best, higher_is_better)):
            return replace(self, best=value, best_step=step, since_best=0, since_plateau=0)
        later = replace(self, since_best=self.since_best + 1, since_plateau=self.since_plateau + 1)
        if isinstance(schedule, Plateau) and later.since_plateau > schedule.patience:
            return replace(later, since_plateau=0, plateau_factor=later.plateau_factor * schedule.factor)
        return later


def _beats(value: float, best: float, higher_is_better: bool) -> bool:
    return value > best if higher_is_better else value < best


@dataclass(frozen=True)
class Interval:
    """Sums since the last line of the log."""

    loss: float = 0.0
    target_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a run is; `position` is where its data goes on."""

    step: int = 0
    position: Position = field(default_factory=lambda: Position(0, 0, 0))
    tokens_seen: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    failed_saves: int = 0
    validated: int = 0
    """The step of the last validation."""
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    """What the validation of the best weights found."""
    watch: Watch = Watch()
    interval: Interval = Interval()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "position": self.position.as_dict()}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Progress:
        """Read what `as_dict` returned."""
        return Progress(
            **{
                **record,
                "position": Position.from_dict(record["position"]),
                "watch": Watch(**record["watch"]),
                "interval": Interval(**record["interval"]),
            }
        )
