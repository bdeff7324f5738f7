"""The beginning of a run: data, model and optimizer, anew or as its last checkpoint left them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import torch

from dragoman.bundle import MANIFEST
from dragoman.data.batching import BatchStream
from dragoman.data.codec import ports_of
from dragoman.data.prepare import Prepared, prepare
from dragoman.errors import CheckpointError, UserError
from dragoman.model.build import build_model
from dragoman.model.kernels import resolve_precision
from dragoman.model.seq2seq import Seq2Seq
from dragoman.native.library import SWITCH
from dragoman.native.training import kernels_here
from dragoman.recipe.sections import Recipe
from dragoman.training.averaging import build_averager, weights_of
from dragoman.training.batch_size import find_batch_tokens
from dragoman.training.checkpoint import Checkpoint, load_latest
from dragoman.training.compiling import compile_layers
from dragoman.training.highway import fit_highway
from dragoman.training.optimization import build_optimizer
from dragoman.training.progress import Events, Log, Teller
from dragoman.training.resuming import (
    as_before,
    fingerprint,
    refuse_other_data,
    with_batch_tokens,
    write_recipe,
)
from dragoman.training.run import Run
from dragoman.training.state import Progress
from dragoman.training.transfer import begin_with
from dragoman.training.validation import fixed_sample

_GPU_MULTIPLE = 8


@contextmanager
def begun(recipe: Recipe, folder: Path, teller: Teller) -> Iterator[Run]:
    """Begin a run, or take it up where its last checkpoint left it."""
    checkpoint = load_latest(folder / "checkpoints", teller.say)
    if checkpoint is None and (folder / MANIFEST).exists():
        raise CheckpointError(
            f"{folder} holds a finished bundle of another recipe, and no checkpoint to go on from; "
            "give another `run`"
        )
    recipe = as_before(recipe, folder, checkpoint)
    step = checkpoint.step if checkpoint else 0
    events = Events(folder, step) if recipe.training.tensorboard else None
    try:
        with _kernels_under_way(recipe):
            prepared = prepare(recipe, folder, teller.say)
        if checkpoint is not None:
            refuse_other_data(checkpoint, prepared, folder)
        run = _assembled(recipe, folder, teller, Log(folder, teller.say, events), prepared, step)
        _take_up(run, checkpoint)
        yield run
    finally:
        if events is not None:
            events.close()


def _assembled(recipe: Recipe, folder: Path, teller: Teller, log: Log, prepared: Prepared, step: int) -> Run:
    """Build a run at step 0, to be put at the step of its checkpoint."""
    device = _device(recipe)
    precision, reason = resolve_precision(recipe.training.precision, device)
    teller.say(f"device {device.type}, {torch.get_num_threads()} threads, precision {precision}: {reason}")
    if device.type == "cpu" and kernels_here() == "torch":
        teller.say(
            f"torch alone computes, more slowly: kernels in C need Linux and a C compiler, not {SWITCH}=0"
        )
    if recipe.training.batch_tokens == "auto":
        model = _fresh_model(recipe, prepared, device)
        found = find_batch_tokens(model, prepared, recipe, device, precision, teller.say)
        recipe = with_batch_tokens(recipe, found)
    assert isinstance(recipe.training.batch_tokens, int)
    with _writing(folder):
        write_recipe(recipe, folder)
    model = _fresh_model(recipe, prepared, device)
    if step == 0 and recipe.training.begin_with is not None:
        begin_with(model, prepared.codecs, recipe.training.begin_with, teller.say)
    rollout = recipe.model.rollout
    if step == 0 and rollout is not None and rollout.linear:
        fit_highway(model, prepared.train, rollout.ridge, rollout.ridge_growth)
        teller.say("the linear highway is fitted; training begins there")
    training = recipe.training
    if training.compile:
        teller.say(f"{compile_layers(model, device)} layers are compiled when they are first used")
    stream = BatchStream(
        *(prepared.train, prepared.codecs, recipe, recipe.training.batch_tokens),
        sampling=True,
        pad_to=_multiple(recipe, device),
    )
    expected = stream.statistics
    uncut = " (before pieces are sampled, which makes more)" if stream.samples else ""
    teller.say(
        f"an epoch is about {expected.steps_in_epoch:,} batches{uncut}, {expected.fill:.1%} of each real"
    )
    return Run(
        recipe=recipe,
        folder=folder,
        teller=teller,
        log=log,
        prepared=prepared,
        data=fingerprint(prepared),
        device=device,
        precision=precision,
        precision_reason=reason,
        model=model,
        weights=weights_of(model),
        optimizer=build_optimizer(model, training.optimizer),
        averager=build_averager(training.average, weights_of(model), training.checkpoint_every),
        stream=stream,
        batches=stream.iterate(),
        decoded=fixed_sample(prepared.dev, training.validation_examples, recipe.seed),
        state=Progress(),
        best=None,
        began=time.perf_counter(),
        saved_step=0,
    )


@contextmanager
def _kernels_under_way(recipe: Recipe) -> Iterator[None]:
    """Have the kernels compiled, on a machine that never did, while something else is done."""
    if _device(recipe).type != "cpu":
        yield
        return
    compiling = Thread(target=kernels_here, name="compile kernels")
    compiling.start()
    try:
        yield
    finally:
        compiling.join()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Name the folder where the disk refuses what a run cannot begin without."""
    try:
        yield
    except OSError as fault:
        raise CheckpointError(
            f"{folder}: the run cannot begin, the disk refuses its files: {fault}; make room and start again"
        ) from fault


def _device(recipe: Recipe) -> torch.device:
    wanted = recipe.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "training.device: `cuda` was asked for, but torch sees no GPU; `auto` or `cpu` would do"
        )
    device = torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type != "cpu" and recipe.decoding.precision == "int8":
        raise UserError(
            "decoding.precision: `int8` is for a CPU, this run would validate on a GPU; train with `fp32` "
            "and say `decoding.precision=int8` where the run answers, or `training.device: cpu`"
        )
    return device


def _multiple(recipe: Recipe, device: torch.device) -> int:
    wanted = recipe.training.pad_to
    if wanted == "auto":
        return _GPU_MULTIPLE if device.type == "cuda" else 1
    return wanted


def _fresh_model(recipe: Recipe, prepared: Prepared, device: torch.device) -> Seq2Seq:
    torch.manual_seed(recipe.seed)
    ports = ports_of(recipe, prepared.codecs)
    model = build_model(recipe.model, *ports, recipe.training.objective)
    return model.to(device).train()


def _take_up(run: Run, checkpoint: Checkpoint | None) -> None:
    """Log the beginning of a new run, or put an old one back where its checkpoint left it."""
    facts = {"data": run.data, "device": run.device.type, "precision": run.precision}
    if checkpoint is None:
        with _writing(run.folder):
            run.log.begin()
        run.log.write("start", run.state, {**facts, "entries": len(run.prepared.train)})
        return
    run.restore(checkpoint)
    with _writing(run.folder):
        run.log.rewind(run.state)
    run.log.write("resume", run.state, facts)
    run.teller.say(f"going on from the checkpoint of step {run.state.step:,}")
    here = {
        "device": run.device.type,
        "precision": run.precision,
        "threads": torch.get_num_threads(),
        "kernels": kernels_here(),
    }
    before = {"kernels": "torch", **checkpoint.record}  # older versions had no others
    changed = [f"{name} {before[name]} -> {now}" for name, now in here.items() if before[name] != now]
    if changed:
        run.teller.say(
            f"not the machine of before ({', '.join(changed)}): the run goes on, but not to the same bits"
        )
