"""A model of the recipe learns one small batch by heart, or something between data and loss is broken."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from dragoman.data.batching import collate
from dragoman.data.codec import Codecs, learn_codecs, ports_of
from dragoman.data.frames import Encoded
from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import is_of_series, read_training_windows
from dragoman.doctor.data_checks import training_examples
from dragoman.doctor.findings import Finding
from dragoman.errors import DataError
from dragoman.model.build import build_model
from dragoman.model.objectives import objective_loss, plain
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.model import Model
from dragoman.recipe.sections import Recipe
from dragoman.records import Batch
from dragoman.training.optimization import build_optimizer, gradient_norm, set_learning_rate

LONGEST_SECONDS = 60.0
_MOST_STEPS = 300
_EXAMPLES = 8
_LEARNT_FROM = 2_000
_LEARNT = 0.1
"""Share of the first loss that is left when a batch is learnt by heart."""
_SAFE_RATE = 0.001
_WARMUP = 10
_PATIENCE = 50


@dataclass(frozen=True)
class Trial:
    """How the loss on the one batch went."""

    first: float
    last: float
    steps: int
    is_timed_out: bool

    @property
    def is_learnt(self) -> bool:
        """Whether next to nothing of the loss is left."""
        return math.isfinite(self.last) and self.last < _LEARNT * max(self.first, 0.0) + 1e-3


def overfit_findings(recipe: Recipe, longest_seconds: float = LONGEST_SECONDS) -> Iterator[Finding]:
    """Train a fresh model of the recipe on one batch, at the recipe's learning rate, without dropout."""
    try:
        codecs, batch = _small_batch(recipe)
    except DataError as error:
        yield Finding("overfit", "note", f"not tried: {error}")
        return
    rate = recipe.training.optimizer.learning_rate
    with _threads(recipe.training.threads):
        started = time.monotonic()
        trial = learn_by_heart(recipe, codecs, batch, rate, longest_seconds)
        if not trial.is_learnt and not trial.is_timed_out and rate != _SAFE_RATE:
            left = longest_seconds - (time.monotonic() - started)
            safe = learn_by_heart(recipe, codecs, batch, _SAFE_RATE, left)
        else:
            safe = trial
    yield _verdict(trial, safe, rate, len(batch.ids))


def _verdict(trial: Trial, safe: Trial, rate: float, rows: int) -> Finding:
    went = (
        f"the loss on {rows} examples went from {trial.first:.3g} to {trial.last:.3g} in {trial.steps} steps"
    )
    if trial.is_learnt:
        return Finding("overfit", "note", f"{went}: learnt by heart, as it should be")
    if safe.is_learnt:
        return Finding(
            "overfit",
            "fault" if not trial.last < trial.first / 2 else "warning",
            f"{went}, with a learning rate of {_SAFE_RATE:g} to {safe.last:.3g}",
            f"the learning rate of {rate:g} is too {'high' if rate > _SAFE_RATE else 'low'} for this model",
            f"training.optimizer.learning_rate={_SAFE_RATE:g}",
        )
    if trial.is_timed_out and trial.last < 0.9 * trial.first:
        return Finding(
            "overfit", "note", f"{went}; it falls, and time was up before it could be learnt by heart"
        )
    return Finding(
        "overfit",
        "fault" if not min(trial.last, safe.last) < trial.first / 2 else "warning",
        went,
        "a model that cannot learn a few examples by heart will not learn more of them: its inputs do not "
        "tell its targets apart, or no gradient reaches it",
        "look at the data findings, then try a wider model: model.encoder.width, model.decoder.width",
    )


def learn_by_heart(
    recipe: Recipe, codecs: Codecs, batch: Batch, learning_rate: float, longest_seconds: float
) -> Trial:
    """Take steps on one batch until it is learnt, the steps are spent or the time is up."""
    torch.manual_seed(recipe.seed)
    model = build_model(_without_dropout(recipe.model), *ports_of(recipe, codecs), recipe.training.objective)
    model.train()
    optimizer = build_optimizer(model, recipe.training.optimizer)
    deadline = time.monotonic() + longest_seconds
    first = last = math.nan
    for step in range(1, _MOST_STEPS + 1):
        last = _step(model, optimizer, batch, recipe, learning_rate * min(1.0, step / _WARMUP))
        first = last if step == 1 else first
        trial = Trial(first, last, step, False)
        if trial.is_learnt or not math.isfinite(last) or _has_run_away(trial):
            return trial
        if time.monotonic() > deadline:
            return Trial(first, last, step, True)
    return Trial(first, last, _MOST_STEPS, False)


def _has_run_away(trial: Trial) -> bool:
    """Say whether more steps would only show the same: a loss that is higher than it ever began."""
    return trial.steps >= _PATIENCE and trial.last > 1.5 * max(trial.first, 0.0) + 1


def _step(
    model: Seq2Seq, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe, learning_rate: float
) -> float:
    loss = objective_loss(model, batch, plain(recipe.training.objective))
    torch.autograd.backward(loss.total / loss.tokens)
    gradient_norm(model, recipe.training.clip_norm)
    set_learning_rate(optimizer, learning_rate)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.total.detach()) / loss.tokens


def _without_dropout(model: Model) -> Model:
    """Return the same model without dropout, which is there to keep models from what is tried here."""
    rates = ("dropout", "attention_dropout", "feedforward_dropout")
    parts = {
        name: part.model_copy(update={rate: 0.0 for rate in rates if rate in type(part).model_fields})
        for name, part in (("encoder", model.encoder), ("decoder", model.decoder))
    }
    return model.model_copy(update=parts)


def _small_batch(recipe: Recipe) -> tuple[Codecs, Batch]:
    """Encode a few training examples: the shortest of the first thousands, no two with one source."""
    if is_of_series(recipe):
        codecs, entries = read_training_windows(recipe, Rejects(), lambda _: None)
        chosen = [len(entries) * number // _EXAMPLES for number in range(_EXAMPLES)]
        return codecs, _collated([entries.encoded(entry) for entry in sorted(set(chosen))])
    examples = training_examples(recipe, _LEARNT_FROM)
    if not examples:
        raise DataError("data.train: not one row can be used")
    codecs = learn_codecs(recipe, lambda: examples)
    distinct = {str(one.source): one for one in reversed(examples)}
    encoded: list[tuple[Encoded, Encoded]] = []
    for example in list(distinct.values())[-4 * _EXAMPLES :]:
        try:
            target = codecs.target.encode(example.targets[0], source=example.source)
            encoded.append((codecs.source.encode(example.source), target))
        except DataError:
            continue
    if not encoded:
        raise DataError("not one of the first training examples can be encoded")
    encoded.sort(key=lambda pair: max(len(pair[0]), len(pair[1])))
    return codecs, _collated(encoded[:_EXAMPLES])


def _collated(pairs: Sequence[tuple[Encoded, Encoded]]) -> Batch:
    ids = [str(number) for number in range(len(pairs))]
    return collate([source for source, _ in pairs], [target for _, target in pairs], ids)


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        with torch.random.fork_rng([]):
            yield
    finally:
        torch.set_num_threads(before)
