"""What all plans share: a choice with its reason, files, time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dragoman.recipe.facts import Files

FLOPS_A_SECOND = 9e10
"""Multiply-and-adds times six a weight and position, as the runs of docs/results.md did on two cores."""
LONGEST_MINUTES = 120
_HELD_OUT_ROWS = 2000
_FEW_ROWS = 100
"""Of fewer a tenth is too little to score, and may be not one row."""
_FEWEST_ROWS = 20
_MOST_PASSES = 500
"""Over rows that fit into a batch or two: they are known by heart long before."""


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
    elif files.dev is None and rows >= _FEW_ROWS:
        yield Choice("data.held_out_test", share, "The same for the final score, which is taken once.")


def notes_of_few(rows: int) -> tuple[str, ...]:
    """Say what so few rows are good for; nothing where there are enough to learn from."""
    if rows >= _FEW_ROWS:
        return ()
    return (
        f"FEW ROWS: {rows:,} are enough to see that everything works. They are learnt by heart, and scores "
        "on a handful of others say nothing; some thousands of rows are what a task is learnt from.",
    )


def _share(rows: int) -> float:
    """Hold out about 2,000 rows, but no more than a tenth: an interval of 2 points needs that many.

    Of few rows more are held out, so that there are some, and all of these to validate on.
    """
    if rows < _FEW_ROWS:
        return 0.33 if rows < _FEWEST_ROWS else 0.2
    return min(0.1, max(0.001, round(_HELD_OUT_ROWS / rows, 3)))


@dataclass(frozen=True)
class Effort:
    """How long a run learns."""

    steps: int
    minutes: float
    is_cut: bool
    epochs: float


def effort(rows: int, rows_a_batch: float, epochs: float, batch_tokens: int, weights: float) -> Effort:
    """Count the steps of so many epochs, within LONGEST_MINUTES on two cores as docs/results.md measured.

    A batch ends with the epoch: it has no row twice.
    """
    fill = min(1.0, max(rows, 1) / rows_a_batch)
    steps_a_pass = max(rows, 1) / (rows_a_batch * fill)
    seconds_a_step = 6 * weights * batch_tokens * fill / FLOPS_A_SECOND
    wanted = min(max(1500, epochs * steps_a_pass), _MOST_PASSES * steps_a_pass)
    affordable = LONGEST_MINUTES * 60 / seconds_a_step
    steps = max(500, round(min(wanted, affordable) / 500) * 500)
    return Effort(steps, steps * seconds_a_step / 60, affordable < wanted, steps / steps_a_pass)


def steps_why(found: Effort) -> str:
    """Say where the steps come from and what they take."""
    rounded = round(found.minutes / 5) * 5
    took = f"about {rounded} minutes" if rounded else "less than 5 minutes"
    passes = f"{found.epochs:,.0f}" if found.epochs >= 1 else f"{found.epochs:.1f}"
    why = f"About {passes} passes over the data, {took} on two cores with bfloat16 units, "
    why += "within a factor of two."
    if found.is_cut:
        why += f" More would help: the time is held to {LONGEST_MINUTES} minutes; with a GPU raise it."
    return why
