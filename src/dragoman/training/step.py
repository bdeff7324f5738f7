"""One optimizer step: batches, their gradient, the update; or none, where a number is not finite."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

import torch

from dragoman.data.codec import Codec
from dragoman.data.text import TextCodec
from dragoman.errors import Diverged
from dragoman.model.kernels import compute
from dragoman.model.objectives import objective_loss, target_steps
from dragoman.recipe.objectives import CrossEntropy, Objective
from dragoman.records import Batch
from dragoman.records import Sequence as Padded
from dragoman.training.checkpoint import write_whole
from dragoman.training.minimum_risk import with_candidates
from dragoman.training.optimization import gradient_norm, set_learning_rate
from dragoman.training.run import Run
from dragoman.training.schedules import objective_at, rate_factor
from dragoman.training.state import Interval

_MOST_SKIPPED = 5
"""Steps in a row whose loss or gradient may be not finite before the run gives up."""


def take_step(run: Run) -> None:
    """Learn from the next batches. Raises Diverged where too many steps in a row had to be skipped."""
    start = time.perf_counter()
    batches = _draw(run)
    nll = _accumulate_gradient(run, batches)
    norm = gradient_norm(run.model, run.recipe.training.clip_norm)
    if math.isfinite(nll) and math.isfinite(norm):
        run.learning_rate = _update(run)
        run.gradient_norm = norm
        _count(run, batches, nll, start)
    else:
        _skip(run, batches, nll, norm)
    run.optimizer.zero_grad(set_to_none=True)


def _draw(run: Run) -> list[Batch]:
    """Take the batches of a step from the stream, and note where it goes on."""
    batches = []
    for batch, position in islice(run.batches, run.recipe.training.accumulate):
        run.state = replace(run.state, position=position)
        batches.append(batch)
    return batches


def _accumulate_gradient(run: Run, batches: Sequence[Batch]) -> float:
    """Return the summed negative log-likelihood; the gradient is that of the mean over all tokens."""
    tokens = target_steps(batches)
    section = objective_at(run.recipe.training.objective, run.state.step + 1)
    nlls = []
    for number, batch in enumerate(batches):
        for part in _parts(run, batch.to(run.device), section, number):
            with compute(run.precision, run.device):
                loss = objective_loss(run.model, part, section)
            torch.autograd.backward(loss.total / tokens)
            nlls.append(loss.nll)
    return float(sum(nlls))


def _parts(run: Run, batch: Batch, section: Objective, number: int) -> Iterable[Batch]:
    """Return what a batch of this number within its step is learnt from, one part after the other."""
    if not isinstance(section, CrossEntropy) or section.minimum_risk is None:
        return [batch]
    draw = run.state.step * run.recipe.training.accumulate + number
    return with_candidates(run.bundle(), batch, section.minimum_risk, draw)


def _update(run: Run) -> float:
    """Move the weights and their average; return the learning rate used."""
    training, step = run.recipe.training, run.state.step + 1
    factor = rate_factor(training.schedule, step, training.max_steps, run.state.watch.plateau_factor)
    learning_rate = training.optimizer.learning_rate * factor
    set_learning_rate(run.optimizer, learning_rate)
    run.optimizer.step()
    run.averager.update(step, run.weights)
    return learning_rate


def _count(run: Run, batches: Sequence[Batch], nll: float, start: float) -> None:
    state, tokens = run.state, target_steps(batches)
    interval = Interval(
        state.interval.loss + nll,
        state.interval.target_tokens + tokens,
        state.interval.seconds + time.perf_counter() - start,
    )
    run.state = replace(
        state,
        step=state.step + 1,
        tokens_seen=state.tokens_seen + tokens,
        skipped_in_a_row=0,
        seconds=run.elapsed(),
        interval=interval,
    )


def _skip(run: Run, batches: Sequence[Batch], nll: float, norm: float) -> None:
    """Leave the weights as they are and count; give up where it repeats."""
    state = run.state
    run.state = replace(state, skipped=state.skipped + 1, skipped_in_a_row=state.skipped_in_a_row + 1)
    tokens = target_steps(batches)
    ids = [name for batch in batches for name in batch.ids]
    run.log.write("skip", run.state, {"loss": nll / tokens, "gradient_norm": norm, "first_ids": ids[:5]})
    run.teller.say(f"step {state.step + 1:,} skipped: loss {nll / tokens:.4g}, gradient norm {norm:.4g}")
    if run.state.skipped_in_a_row >= _MOST_SKIPPED:
        path = _write_batches(run, batches)
        run.log.write("stop", run.state, {"reason": f"not finite {_MOST_SKIPPED} times in a row"})
        raise Diverged(
            f"loss or gradient was not finite {_MOST_SKIPPED} times in a row after step {state.step:,}; the "
            f"last batch is in {path}. A lower learning rate, a longer warm-up or a smaller clip_norm may do"
        )


def _write_batches(run: Run, batches: Sequence[Batch]) -> str:
    codecs = run.prepared.codecs
    rows = []
    for batch in batches:
        sources = _written(codecs.source, batch.source)
        targets = _written(codecs.target, batch.target)
        for name, source, target in zip(batch.ids, sources, targets, strict=True):
            rows.append({"id": name, "source": source, "target": target})
    path = run.folder / "diverged.json"
    content = {"after_step": run.state.step, "examples": rows}
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    return str(path)


def _written(codec: Codec, padded: Padded) -> list[object]:
    """Return the values of one side as JSON can hold them: text, or frames as the model took them."""
    lengths = padded.lengths_B.tolist()
    rows = [row[:length] for row, length in zip(padded.values, lengths, strict=True)]
    if isinstance(codec, TextCodec):
        return [codec.decode(row.tolist()) for row in rows]
    return [[[x if math.isfinite(x) else None for x in frame] for frame in row.tolist()] for row in rows]
