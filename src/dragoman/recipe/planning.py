"""What all plans share: a choice with its reason, files, time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dragoman.recipe.facts import Files

FLOPS_A_SECOND = 9e10
"""Multiply-and-adds times six a weight and position, as the runs of docs/results.md did on two cores."""
LONGEST_MINUTES = 120
_HELD_OUT_ROWS = 2000


@dataclass(frozen=True)
class Choice:
    """A key of the recipe by its dotted path, a plain value, and the reason."""

    key: str
    value: object
    why: str = ""


def split_choices(files: Files, rows: int) -> Iterator[Choice]:
    """Choose what is learnt from and what is scored on."""
    yield Choice("data.train", [dict(files.train)])
    share = _share(rows)
    if files.dev is not None:
        yield Choice("data.dev", dict(files.dev))
    else:
        yield Choice(
            "data.held_out_dev",
            share,
            "No development file was found: this share of the rows is held out by a hash of the source, so "
            "that no source is both learnt from and validated on.",
        )
    if files.test is not None:
        yield Choice("data.test", dict(files.test))
    elif files.dev is None:
        yield Choice("data.held_out_test", share, "The same for the final score, which is taken once.")


def _share(rows: int) -> float:
    """Hold out about 2,000 rows, but no more than a tenth: an interval of 2 points needs that many."""
    return min(0.1, max(0.001, round(_HELD_OUT_ROWS / max(rows, 1), 3)))


@dataclass(frozen=True)
class Effort:
    """How long a run learns."""

    steps: int
    minutes: float
    is_cut: bool
    epochs: float


def effort(rows: int, rows_a_batch: float, epochs: float, batch_tokens: int, weights: float) -> Effort:
    """Count the steps of so many epochs, within LONGEST_MINUTES on two cores as docs/results.md measured."""
    seconds_a_step = 6 * weights * batch_tokens / FLOPS_A_SECOND
    wanted = max(1500, rows * epochs / rows_a_batch)
    affordable = LONGEST_MINUTES * 60 / seconds_a_step
    steps = max(500, round(min(wanted, affordable) / 500) * 500)
    return Effort(
        steps, steps * seconds_a_step / 60, affordable < wanted, steps * rows_a_batch / max(rows, 1)
    )


def steps_why(found: Effort) -> str:
    """Say where the steps come from and what they take."""
    took = f"about {_rounded(found.minutes)} minutes on two cores with bfloat16 units"
    passes = f"{found.epochs:.0f}" if found.epochs >= 1 else f"{found.epochs:.1f}"
    why = f"About {passes} passes over the data, {took}, within a factor of two."
    if found.is_cut:
        why += f" More would help: the time is held to {LONGEST_MINUTES} minutes; with a GPU raise it."
    return why


def _rounded(minutes: float) -> int:
    return max(5, round(minutes / 5) * 5)
