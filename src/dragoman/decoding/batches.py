"""How inputs are put together for decoding and scoring: in windows that grow, in batches of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from torch import nn

from dragoman.errors import DataError
from dragoman.model.seq2seq import parts_of
from dragoman.records import Example

FIRST_WINDOW = 64
"""The first answers come after this many inputs..."""
LARGEST_WINDOW = 4096
"""...and the windows grow to this many, so that batches of one length fill up."""
_GROWTH = 4


def windows(examples: Iterable[Example]) -> Iterator[list[tuple[int, Example]]]:
    """Cut a stream into windows, each input with its number from 0; nothing is read ahead of its window.

    Where reading fails, what was read before comes first.
    """
    numbered = enumerate(examples)
    size = FIRST_WINDOW
    while True:
        window: list[tuple[int, Example]] = []
        fault: Exception | None = None
        try:
            window.extend(islice(numbered, size))
        except Exception as found:  # noqa: BLE001 - raised again, after the answers before it
            fault = found
        if window:
            yield window
        if fault is not None:
            raise fault
        if not window:
            return
        size = min(size * _GROWTH, LARGEST_WINDOW)


def batches(
    lengths: Sequence[int], budget: int, rows: int = 1, shares: Sequence[float] = ()
) -> Iterator[list[int]]:
    """Put inputs of similar length together, `rows` rows each, the shortest first.

    Rows times longest length is at most the budget, but a batch has at least one input. The first batches get
    but these shares of the budget. Yields places in `lengths`.
    """
    batch: list[int] = []
    made = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        share = shares[made] if made < len(shares) else 1.0
        if batch and (len(batch) + 1) * rows * lengths[place] > budget * share:
            yield batch
            batch, made = [], made + 1
        batch.append(place)
    if batch:
        yield batch


@contextmanager
def answering(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode, and every part of it back into its own mode afterwards."""
    was_training = [part for part in parts_of(model) if part.training]
    for part in was_training:
        part.training = False
    try:
        yield
    finally:
        for part in was_training:
            part.training = True


def where(number: int, example: Example) -> str:
    """Name an input for people: where it came from, or its number from 1."""
    return str(example.origin) if example.origin else f"input {number + 1}"


def named(fault: DataError, number: int, example: Example) -> DataError:
    """Say of a fault which input has it."""
    return DataError(f"{where(number, example)}: {fault}")
