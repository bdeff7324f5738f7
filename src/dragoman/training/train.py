"""From a recipe to a bundle: the whole of training on one page.

Every step is a function of what the checkpoint before it holds, so a run that was killed and started again
takes the same steps, to the bit, as one that never stopped (same machine, same threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from dragoman.bundle import Bundle
from dragoman.errors import DataError, Interrupted
from dragoman.recipe.sections import Recipe
from dragoman.training.beginning import begun
from dragoman.training.finishing import finish
from dragoman.training.interruption import StopRequest, listening, locked
from dragoman.training.progress import telling
from dragoman.training.resuming import RECIPE, finished_bundle
from dragoman.training.run import Run
from dragoman.training.step import take_step


def train(recipe: Recipe, *, say: Callable[[str], None] | None = None) -> Bundle:
    """Train what a recipe says and return the bundle, which lies in the folder `recipe.run`.

    Goes on from the last checkpoint where the folder holds one of the same recipe; a finished run is loaded.
    `say` hears every message; by default they go to standard error. Raises DataError; CheckpointError for a
    folder that is in use, damaged, or holds another run; MissingExtra; Interrupted after Ctrl-C or SIGTERM,
    when all is saved; Diverged when the loss stays not finite.
    """
    folder = Path(recipe.run)
    with telling(say) as teller, locked(folder, teller.say), _threads(recipe.training.threads):
        finished = finished_bundle(recipe, folder, teller.say)
        if finished is not None:
            return finished
        with begun(recipe, folder, teller) as run, _reading(run):
            with listening(teller.say) as stop:
                reason = _learn(run, stop)
            return finish(run, reason)


def _learn(run: Run, stop: StopRequest) -> str:
    """Take steps, validating and saving where they fall due, until something ends the run; return what."""
    while True:
        reached = run.limit_reached()
        if run.validation_is_due(at_the_end=reached is not None):
            with _saving(run):
                run.validate()
        reached = reached or run.patience_lost()
        if run.checkpoint_is_due(at_the_end=reached is not None):
            run.save()
        if reached is not None:
            return reached
        take_step(run)
        run.tell()
        if stop.signal is not None:
            _interrupt(run, stop.signal.name)


@contextmanager
def _saving(run: Run) -> Iterator[None]:
    """Save what is learnt where data to validate on can no longer be read: a validation changes nothing."""
    try:
        yield
    except DataError:
        if run.saved_step < run.state.step:
            run.save()
        raise


@contextmanager
def _reading(run: Run) -> Iterator[None]:
    """Say what is kept and how to go on where data can no longer be read."""
    try:
        yield
    except DataError as fault:
        run.log.write("stop", run.state, {"reason": str(fault)})
        kept = f"all up to step {run.saved_step:,} is saved" if run.saved_step else "nothing is saved yet"
        raise DataError(
            f"{fault}\nstopped after step {run.state.step:,}; {kept}. Where the data are again as they were, "
            f"continue with: dragoman train {run.folder / RECIPE}"
        ) from fault


def _interrupt(run: Run, cause: str) -> None:
    saved = run.save()
    run.log.write("stop", run.state, {"reason": cause})
    kept = "everything is saved" if saved else "the disk refused this state, the checkpoint before it stands"
    raise Interrupted(
        f"stopped by {cause} after step {run.state.step:,}; {kept}. "
        f"Continue with: dragoman train {run.folder / RECIPE}"
    )


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """Compute with this many threads inside the block."""
    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
