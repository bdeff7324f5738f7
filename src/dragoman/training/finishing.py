"""The end of a run: the best weights, what they score, and the bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError

from dragoman.bundle import Bundle, save_bundle
from dragoman.errors import UserError
from dragoman.training.averaging import load_weights
from dragoman.training.progress import duration
from dragoman.training.resuming import limits_of
from dragoman.training.run import Run
from dragoman.training.validation import final_scores, stored_sample

_SAMPLE = 20
"""Development inputs that a bundle carries with its answers, to test itself."""


def finish(run: Run, reason: str) -> Bundle:
    """Load the best weights, score them with the recipe's decoding, save the bundle, and return it.

    Raises UserError where the disk refuses the bundle; started again, the run tries only that. Where it
    refused the last checkpoint too, the bundle goes among temporary files: nothing else has what was learnt.
    """
    best = run.best if run.best is not None else run.averager.average()
    if best is not None:
        load_weights(run.model, best)
    run.model.eval()
    bundle = Bundle(run.recipe, run.prepared.codecs, run.model, run.folder)
    metrics = {"validation": {**run.state.best_metrics, **final_scores(bundle, run.decoded)}}
    sample = stored_sample(bundle, run.prepared.dev[:_SAMPLE])
    save = partial(save_bundle, bundle, metrics=metrics, sample=sample, facts=_facts(run, reason))
    try:
        run.with_room(lambda: save(run.folder))
    except (OSError, SafetensorError) as fault:
        cure = "make room and start again" if run.saved_step == run.state.step else _rescued(run, save)
        raise UserError(f"{run.folder}: trained, but the bundle cannot be saved: {fault}; {cure}") from fault
    end = {"reason": reason, "limits": limits_of(run.recipe), "best_step": run.state.watch.best_step}
    run.log.write("end", run.state, {**end, "seconds": run.elapsed(), "metrics": metrics})
    run.teller.say(f"finished ({reason}): best step {run.state.watch.best_step:,}, bundle in {run.folder}")
    return bundle


def _rescued(run: Run, save: Callable[[Path], None]) -> str:
    """Save a bundle of which no checkpoint is left among temporary files, and say what is to be done."""
    folder = Path(tempfile.mkdtemp(prefix=f"{run.folder.name}-"))
    try:
        save(folder)
    except (OSError, SafetensorError):
        shutil.rmtree(folder, ignore_errors=True)
        return f"make room and start again: it goes on from step {run.saved_step:,} of {run.state.step:,}"
    return f"it is in {folder}: move it to where there is room"


def _facts(run: Run, reason: str) -> dict[str, object]:
    state, prepared = run.state, run.prepared
    return {
        "training examples": len(prepared.train),
        "development examples": len(prepared.dev),
        "test examples": len(prepared.test),
        "rejected rows": sum(prepared.rejects.values()),
        "rejected": dict(prepared.rejects),
        "parameters": sum(tensor.numel() for tensor in run.weights.values()),
        "ended by": reason,
        "steps": state.step,
        "best step": state.watch.best_step,
        "epochs": run.epoch,
        "target tokens seen": state.tokens_seen,
        "steps skipped": state.skipped,
        "checkpoints not saved": state.failed_saves,
        "log lines lost": run.log.lost,
        "time": duration(run.elapsed()),
        "seconds": run.elapsed(),
        "batch_tokens": run.recipe.training.batch_tokens,
        "precision": f"{run.precision} ({run.precision_reason})",
        "device": run.device.type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
