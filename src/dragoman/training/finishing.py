"""The end of a run: the best weights, what they score, and the bundle."""

from __future__ import annotations

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

    Raises UserError where the disk refuses the bundle; started again, the run tries only that.
    """
    best = run.best if run.best is not None else run.averager.average()
    if best is not None:
        load_weights(run.model, best)
    run.model.eval()
    bundle = Bundle(run.recipe, run.prepared.codecs, run.model, run.folder)
    metrics = {"validation": {**run.state.best_metrics, **final_scores(bundle, run.decoded)}}
    sample = stored_sample(bundle, run.prepared.dev[:_SAMPLE])
    try:
        save_bundle(bundle, run.folder, metrics, sample, _facts(run, reason))
    except (OSError, SafetensorError) as fault:
        raise UserError(
            f"{run.folder}: trained, but the bundle cannot be saved: {fault}; make room and start again"
        ) from fault
    end = {"reason": reason, "limits": limits_of(run.recipe), "best_step": run.state.watch.best_step}
    run.log.write("end", run.state, {**end, "seconds": run.elapsed(), "metrics": metrics})
    run.teller.say(f"finished ({reason}): best step {run.state.watch.best_step:,}, bundle in {run.folder}")
    return bundle


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
