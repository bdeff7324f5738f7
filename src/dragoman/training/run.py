"""A run in memory: what it is made of, how it begins or goes on, and what falls due between its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from dragoman.bundle import Bundle
from dragoman.data.batching import BatchStream, Position
from dragoman.data.prepare import Prepared
from dragoman.model.kernels import Precision
from dragoman.model.seq2seq import Seq2Seq
from dragoman.native.training import kernels_here
from dragoman.recipe.sections import Recipe
from dragoman.records import Batch, Example
from dragoman.training.averaging import (
    Averager,
    Weights,
    copied,
    holding,
    load_weights,
)
from dragoman.training.checkpoint import Checkpoint, is_full, make_room, save_checkpoint
from dragoman.training.optimization import load_optimizer, optimizer_tensors
from dragoman.training.progress import Log, Teller, duration
from dragoman.training.state import Interval, Progress
from dragoman.training.validation import validate, watched_rises


@dataclass
class Run:
    """All that changes while training, and what it needs; `state` is replaced as a whole."""

    recipe: Recipe
    folder: Path
    teller: Teller
    log: Log
    prepared: Prepared
    data: str
    """Fingerprint of the prepared data."""
    device: torch.device
    precision: Precision
    precision_reason: str
    model: Seq2Seq
    weights: Weights
    """The model's tensors themselves, by name."""
    optimizer: torch.optim.Optimizer
    averager: Averager
    stream: BatchStream
    batches: Iterator[tuple[Batch, Position]]
    decoded: tuple[Example, ...]
    state: Progress
    best: Weights | None
    began: float
    saved_step: int
    learning_rate: float = 0.0
    gradient_norm: float = 0.0

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def epoch(self) -> float:
        """How many epochs have passed."""
        return self.stream.epochs_before(self.state.position)

    def elapsed(self) -> float:
        """Return the seconds of the whole run, interruptions not counted."""
        return time.perf_counter() - self.began

    # --- ends

    def limit_reached(self) -> str | None:
        """Return the limit that ends the run now, if one does."""
        training = self.recipe.training
        if training.max_steps is not None and self.state.step >= training.max_steps:
            return f"max_steps {training.max_steps:,}"
        if training.max_epochs is not None and self.epoch >= training.max_epochs:
            return f"max_epochs {training.max_epochs:g}"
        if training.max_minutes is not None and self.state.seconds >= 60 * training.max_minutes:
            return f"max_minutes {training.max_minutes:g}"
        return None

    def patience_lost(self) -> str | None:
        """Return that early stopping ends the run, if it does."""
        section = self.recipe.training.early_stopping
        if section is None or self.state.watch.since_best < section.patience:
            return None
        return f"no better {self.recipe.training.watch} in {section.patience} validations"

    def seconds_left(self) -> float | None:
        """Estimate the time to the nearest limit, where there is one."""
        training, state = self.recipe.training, self.state
        shares = [
            done / limit
            for done, limit in (
                (state.step, training.max_steps),
                (self.epoch, training.max_epochs),
                (state.seconds / 60, training.max_minutes),
            )
            if limit
        ]
        share = max(shares, default=0.0)
        return state.seconds * max(0.0, 1 - share) / share if share else None

    # --- validation

    def validation_is_due(self, at_the_end: bool) -> bool:
        """Say whether this step is to be validated, and was not yet."""
        falls_due = at_the_end or self.state.step % self.recipe.training.validate_every == 0
        return falls_due and self.state.validated < self.state.step

    def validate(self) -> None:
        """Measure the (averaged) weights, and keep them where they are the best so far."""
        training, step = self.recipe.training, self.state.step
        with holding(self.model, self.averager.average()):
            found = validate(self.bundle(), self.prepared.dev, self.decoded)
            watch = self.state.watch.seen(
                found[training.watch], step, watched_rises(self.recipe), training.schedule
            )
            is_best = watch.best_step == step
            if is_best:
                self.best = copied(self.weights)
        self.state = replace(
            self.state,
            validated=step,
            watch=watch,
            best_metrics=found if is_best else self.state.best_metrics,
            seconds=self.elapsed(),
        )
        scores = {label: value for label, value in found.items() if label != "loss"}
        fields = {"loss": found["loss"], "metrics": scores, "is_best": is_best, "seconds": self.state.seconds}
        self.log.write("validation", self.state, fields)
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
        self.teller.say(f"step {step:,}  validation  {numbers}{'  (best)' if is_best else ''}")

    def bundle(self) -> Bundle:
        """Return the model as it is now with what it needs to answer."""
        return Bundle(self.recipe, self.prepared.codecs, self.model)

    # --- checkpoints

    def checkpoint_is_due(self, at_the_end: bool) -> bool:
        """Say whether this step is to be saved, and was not yet."""
        falls_due = at_the_end or self.state.step % self.recipe.training.checkpoint_every == 0
        return falls_due and self.saved_step < self.state.step

    def save(self) -> bool:
        """Save all of it; where the disk refuses, say so, count, and go on with the older checkpoint.

        On a full disk a new checkpoint is worth more than all old ones but the last.
        """
        self.state = replace(self.state, seconds=self.elapsed())
        self.log.write("checkpoint", self.state, {"seconds": self.state.seconds})
        self.log.flush()
        try:
            self.with_room(self._write_checkpoint)
        except OSError as fault:
            self.state = replace(self.state, failed_saves=self.state.failed_saves + 1)
            self.log.write("checkpoint_failed", self.state, {"reason": str(fault)})
            self.teller.say(
                f"CHECKPOINT NOT SAVED at step {self.state.step:,}: {fault}; the one before it stands, "
                "training goes on"
            )
            return False
        self.saved_step = self.state.step
        return True

    def with_room(self, write: Callable[[], object]) -> None:
        """Write something; where the disk is full, once more without the checkpoints before the last."""
        try:
            write()
        except (OSError, SafetensorError) as fault:
            gone = make_room(self.checkpoints) if is_full(fault) else 0
            if not gone:
                raise
            self.teller.say(f"{fault}: checkpoints before the last are removed to make room ({gone})")
            write()

    def _write_checkpoint(self) -> None:
        save_checkpoint(self.checkpoints, self._checkpoint(), self.recipe.training.keep_checkpoints)

    def _checkpoint(self) -> Checkpoint:
        record = {
            "recipe": self.recipe.model_dump(mode="json"),
            "data": self.data,
            "progress": self.state.as_dict(),
            "device": self.device.type,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "kernels": kernels_here(),
            "torch": str(torch.__version__),
        }
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        tensors = {
            "weights": self.weights,
            "optimizer": optimizer_tensors(self.model, self.optimizer),
            "average": self.averager.tensors(),
            "best": self.best or {},
            "random": random,
        }
        return Checkpoint(self.state.step, record, tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put everything back as it was when the checkpoint was saved."""
        load_weights(self.model, checkpoint.group("weights"))
        load_optimizer(self.model, self.optimizer, checkpoint.group("optimizer"))
        self.averager.restore(checkpoint.group("average"))
        best = checkpoint.group("best")
        self.best = copied(best) if best else None
        self.state = Progress.from_dict(checkpoint.record["progress"])
        self.batches = self.stream.iterate(self.state.position)
        self.began = time.perf_counter() - self.state.seconds
        self.saved_step = self.state.step
        random = checkpoint.group("random")
        torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)

    # --- telling

    def tell(self) -> None:
        """Log what fell due since the last line, and show how far the run is."""
        state, interval = self.state, self.state.interval
        if not interval.target_tokens:
            return
        loss = interval.loss / interval.target_tokens
        speed = interval.target_tokens / interval.seconds
        left = self.seconds_left()
        line = f"step {state.step:,}  epoch {self.epoch:.2f}  loss {loss:.4f}  {speed:,.0f} tokens/s" + (
            f"  {duration(left)} left" if left is not None else ""
        )
        self.teller.show(line)
        if state.step % self.recipe.training.log_every:
            return
        fields = {
            "epoch": self.epoch,
            "loss": loss,
            "learning_rate": self.learning_rate,
            "gradient_norm": self.gradient_norm,
            "tokens_seen": state.tokens_seen,
            "tokens_per_second": speed,
            "seconds": state.seconds,
        }
        self.log.write("train", state, fields)
        self.teller.say(line)
        self.state = replace(state, interval=Interval())
