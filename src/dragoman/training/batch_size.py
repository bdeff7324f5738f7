"""`batch_tokens: auto`: measure which budget of a batch trains the most tokens a second, and fits."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import torch

from dragoman.data.batching import BatchStream
from dragoman.data.prepare import Prepared
from dragoman.model.kernels import Precision, compute
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.sections import Recipe
from dragoman.records import Batch
from dragoman.model.objectives import objective_loss, target_steps

CANDIDATES = (1024, 2048, 4096, 8192, 16384)
_WORTHWHILE = 1.05
"""A larger batch must train at least so many times the tokens a second: large ones learn less a token."""
_BATCHES_AN_EPOCH = 32
"""A batch that leaves an epoch fewer steps than this is not tried: speed is no use to a run without steps."""
_MEASURED = 3


def find_batch_tokens(
    model: Seq2Seq,
    prepared: Prepared,
    recipe: Recipe,
    device: torch.device,
    precision: Precision,
    say: Callable[[str], None],
) -> int:
    """Return the fastest of CANDIDATES that fits, by forward and backward passes over real batches.

    Uses up `model` and random numbers: seed and build anew afterwards.
    """
    best, best_speed = CANDIDATES[0], 0.0
    for candidate in CANDIDATES:
        stream = BatchStream(prepared.train, prepared.codecs, recipe, candidate, sampling=True)
        if candidate != CANDIDATES[0] and stream.steps_in_epoch < _BATCHES_AN_EPOCH:
            break
        speed = _speed(
            model, [batch for batch, _ in islice(stream.iterate(), 1 + _MEASURED)], recipe, device, precision
        )
        if speed is None:
            say(f"batch_tokens: {candidate:,} does not fit in memory")
            break
        say(f"batch_tokens: {candidate:,} trains {speed:,.0f} target tokens a second")
        if speed < best_speed * _WORTHWHILE:
            break
        best, best_speed = candidate, speed
    say(f"batch_tokens: auto is {best:,}")
    return best


def _speed(
    model: Seq2Seq, batches: list[Batch], recipe: Recipe, device: torch.device, precision: Precision
) -> float | None:
    """Return target tokens a second, the first batch not counted; None where memory is not enough."""
    model.train()
    try:
        _pass(model, batches[0], recipe, device, precision)
        start = time.perf_counter()
        for batch in batches[1:]:
            _pass(model, batch, recipe, device, precision)
        return target_steps(batches[1:]) / (time.perf_counter() - start)
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as fault:
        if "memory" in str(fault).lower():  # a CPU has no error of its own for it
            return None
        raise
    finally:
        model.zero_grad(set_to_none=True)


def _pass(model: Seq2Seq, batch: Batch, recipe: Recipe, device: torch.device, precision: Precision) -> None:
    with compute(precision, device):
        loss = objective_loss(model, batch.to(device), recipe.training.objective)
    torch.autograd.backward(loss.total)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
