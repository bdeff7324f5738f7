"""How good a model is on development examples, without touching the training's random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from dragoman.bundle import Bundle
from dragoman.data.batching import batches_of
from dragoman.data.portable import portable, value_of
from dragoman.decoding.decode import decode
from dragoman.decoding.selftest import sampled
from dragoman.evaluation.evaluate import evaluate
from dragoman.evaluation.metrics import higher_is_better
from dragoman.model.kernels import compute
from dragoman.model.objectives import objective_loss, plain
from dragoman.recipe.decoding import CtcBeam, CtcGreedy, Decoding, Forecasting, Greedy, Limits
from dragoman.recipe.sections import Recipe
from dragoman.records import Example
from dragoman.training.compiling import as_written

_FEWEST_RESAMPLES = 100
"""Resamples for the intervals, which no validation shows; the fewest that a recipe may ask for."""


@contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Evaluate inside the block: no dropout, no gradients, and the random state is afterwards what it was."""
    was_training = model.training
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    model.eval()
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), as_written(model):
            yield
    finally:
        model.train(was_training)


def validate(bundle: Bundle, dev: Sequence[Example], decoded: Sequence[Example]) -> dict[str, float]:
    """Return the loss on all of `dev` and the recipe's metrics of greedy answers to `decoded`, by label.

    Greedy, because validations come often; the finished model is scored with the recipe's decoding.
    """
    section = bundle.recipe.evaluation.model_copy(update={"bootstrap_samples": _FEWEST_RESAMPLES})
    with undisturbed(bundle.model):
        found = {"loss": development_loss(bundle, dev)}
        if section.metrics:
            report = evaluate(bundle, decoded, greedy(bundle.recipe.decoding), section)
            found |= {score.label: score.value for score in report.scores}
    return found


def development_loss(bundle: Bundle, dev: Sequence[Example]) -> float:
    """Return the negative log-likelihood a target token in nats, without smoothing, in float32."""
    budget = bundle.recipe.training.batch_tokens
    assert isinstance(budget, int), "`auto` is resolved before a run begins"
    section = plain(bundle.recipe.training.objective)
    total, tokens = 0.0, 0
    for batch in batches_of(dev, bundle.codecs, budget):
        with compute("fp32", bundle.device):
            loss = objective_loss(bundle.model, batch.to(bundle.device), section)
        total, tokens = total + float(loss.nll), tokens + loss.tokens
    return total / max(1, tokens)


def greedy(section: Decoding) -> Decoding:
    """Return the quickest decoding within the limits of another way: greedy, or point forecasts."""
    match section:
        case CtcGreedy() | CtcBeam():
            return CtcGreedy(
                method="ctc_greedy", batch_tokens=section.batch_tokens, precision=section.precision
            )
        case Forecasting():
            return section.model_copy(update={"samples": 0, "quantiles": ()})
        case _:
            return Greedy(
                method="greedy", **{name: value for name, value in section if name in Limits.model_fields}
            )


def watched_rises(recipe: Recipe) -> bool:
    """Say whether the watched metric is better when higher."""
    watched = {metric.label: higher_is_better(metric) for metric in recipe.evaluation.metrics}
    return watched.get(recipe.training.watch, False)


def fixed_sample(dev: Sequence[Example], count: int, seed: int) -> tuple[Example, ...]:
    """Choose examples by a hash of place and source, so that all validations decode the same."""

    def lot(number: int) -> bytes:
        source = dev[number].source
        named = source if isinstance(source, str) else dev[number].id
        return hashlib.sha256(f"{seed}\t{number}\t{named}".encode(errors="surrogatepass")).digest()

    chosen = sorted(sorted(range(len(dev)), key=lot)[:count])
    return tuple(dev[number] for number in chosen)


def final_scores(bundle: Bundle, decoded: Sequence[Example]) -> dict[str, object]:
    """Return the recipe's metrics with their intervals, of answers by the recipe's own decoding."""
    if not bundle.recipe.evaluation.metrics:
        return {}
    with undisturbed(bundle.model):
        report = evaluate(bundle, decoded)
    return {
        s.label: {"value": s.value, "low": s.low, "high": s.high, "signature": s.signature}
        for s in report.scores
    }


def stored_sample(bundle: Bundle, dev: Sequence[Example]) -> list[dict[str, object]]:
    """Return inputs with the answers and scores of the recipe's decoding: what a bundle tests itself with."""
    sources = [portable(bundle.codecs.source, example.source) for example in dev]
    with undisturbed(bundle.model):
        found = decode(bundle, [Example(value_of(source)) for source in sources])
        return [{"source": source, **sampled(p)} for source, p in zip(sources, found, strict=True)]
