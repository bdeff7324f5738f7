"""What the log of a run says about its training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.doctor.findings import Finding, Severity

_FEWEST = 5
"""Lines of a log below which nothing is said of a curve."""
_RISEN = 1.3
_STILL_FALLING = 0.02
_GAP = 0.5
_UNUSED = 0.02


@dataclass(frozen=True)
class Yardsticks:
    """Losses, in nats a target step, that a run's are held against; None where they cannot be had."""

    unigram: float | None = None
    """Of answers that do not look at their source nor at what stands before: the entropy of symbols."""
    dev: float | None = None
    dev_shuffled: float | None = None
    """Of the bundle on development targets, each beside the source of another."""


def loss_findings(
    log: Sequence[Mapping[str, Any]], yardsticks: Yardsticks, max_steps: int | None = None
) -> Iterator[Finding]:
    """Diagnose a run by the lines of its log."""
    trained = [line for line in log if line["kind"] == "train"]
    validated = [line for line in log if line["kind"] == "validation"]
    losses = [_number(line["loss"]) for line in trained]
    yield from _skipped(log)
    if not trained:
        yield _finding(
            "warning",
            "the log has no training steps",
            "nothing was learnt, or log_every is larger than the run is long",
            "train on, or lower training.log_every",
        )
        return
    yield from _diverging(losses, trained)
    if not validated:
        yield _finding(
            "warning",
            f"never validated in {trained[-1]['step']:,} steps",
            "nobody knows whether it learns what is new to it, and no weights are the best",
            "a smaller training.validate_every",
        )
        return
    yield from _unigram(validated, yardsticks)
    yield from _source(yardsticks)
    yield from _gap(losses, validated)
    yield from _end(validated, log, max_steps)
    yield from _naive(validated)


def _finding(severity: Severity, found: str, means: str = "", mend: str = "") -> Finding:
    return Finding("losses", severity, found, means, mend)


def _number(value: object) -> float:
    """Read a number of the log, where what is not finite is text."""
    return float(str(value))


def _skipped(log: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    skips = [line for line in log if line["kind"] == "skip"]
    stopped = any(line["kind"] == "stop" and "not finite" in str(line.get("reason")) for line in log)
    if stopped:
        yield _finding(
            "fault",
            "the run gave up: loss or gradient was not finite again and again",
            "the weights have run away, or the data hold numbers that are too large",
            "a learning rate of a third, a longer warm-up; training.precision=fp32 shows if bf16 is to blame",
        )
    elif skips:
        yield _finding(
            "warning",
            f"{len(skips)} steps were skipped, not being finite, the first after step {skips[0]['step']:,}",
            "single batches overflow: nothing was learnt from them",
            f"look at the examples {', '.join(map(str, skips[0].get('first_ids', ())))}; a smaller clip_norm",
        )


def _diverging(losses: Sequence[float], trained: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    if len(losses) < _FEWEST:
        return
    best = min(range(len(losses)), key=lambda at: losses[at])
    last = sorted(losses[-3:])[1]
    risen = last > _RISEN * losses[best] if losses[best] > 0 else last > losses[best] + 1
    if risen and best < len(losses) - 3:
        step, rate = trained[best]["step"], _number(trained[best]["learning_rate"])
        yield _finding(
            "fault",
            f"the training loss rose from {losses[best]:.3g} at step {step:,} to {last:.3g}",
            f"the run diverges: a learning rate of {rate:.2g} and more is too high for it",
            "a learning rate of a third, or a longer warm-up",
        )
    elif last > 0.98 * losses[0] and losses[0] > 0:
        yield _finding(
            "warning",
            f"the training loss did not fall: {losses[0]:.3g} at first, {last:.3g} at the end",
            "nothing is learnt: the learning rate is far too high or far too low, or targets do not follow "
            "from sources",
            "dragoman check of its recipe learns one batch by heart and tells these apart",
        )


def _unigram(validated: Sequence[Mapping[str, Any]], yardsticks: Yardsticks) -> Iterator[Finding]:
    if yardsticks.unigram is None:
        return
    best = min(_number(line["loss"]) for line in validated)
    if best > 0.97 * yardsticks.unigram:
        yield _finding(
            "fault",
            f"the best development loss, {best:.3g}, is no better than guessing by how frequent symbols are "
            f"({yardsticks.unigram:.3g})",
            "neither the source nor what stands before is used: all answers are alike",
            "check that sources and targets stand on the same lines; then a lower learning rate",
        )


def _source(yardsticks: Yardsticks) -> Iterator[Finding]:
    if yardsticks.dev is None or yardsticks.dev_shuffled is None:
        return
    if yardsticks.dev_shuffled < yardsticks.dev + _UNUSED * max(abs(yardsticks.dev), 0.1):
        yield _finding(
            "fault",
            f"with the source of another example the development loss is {yardsticks.dev_shuffled:.3g}, with "
            f"its own {yardsticks.dev:.3g}",
            "the source is not used: the model only knows what targets look like",
            "check that sources and targets belong together; a decoder with attention; train longer",
        )


def _gap(losses: Sequence[float], validated: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    found = [_number(line["loss"]) for line in validated]
    best = min(range(len(found)), key=lambda at: found[at])
    gap = found[-1] - losses[-1]
    has_risen = best < len(found) - 2 and found[-1] > found[best] + 0.05 * abs(found[best])
    if has_risen and gap > _GAP * max(losses[-1], 0.05):
        step = validated[best]["step"]
        yield _finding(
            "warning",
            f"development loss was best at step {step:,} ({found[best]:.3g}) and rose to {found[-1]:.3g}, "
            f"training fell to {losses[-1]:.3g}",
            "the model learns its training examples by heart: what comes after that step is lost on it",
            "more dropout, a smaller model, more data, or training.early_stopping={patience: 5}",
        )


def _end(
    validated: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]], max_steps: int | None
) -> Iterator[Finding]:
    found = [_number(line["loss"]) for line in validated]
    has_ended = log[-1]["kind"] == "end" and max_steps is not None and log[-1]["step"] >= max_steps
    if has_ended and len(found) >= 3 and found[-1] < found[-2] - _STILL_FALLING * abs(found[-2]):
        yield _finding(
            "note",
            f"the development loss still fell when the run ended ({found[-2]:.3g}, then {found[-1]:.3g})",
            "more steps would buy more",
            f"training.max_steps={2 * (max_steps or 0)} with another `run`",
        )


def _naive(validated: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    found = validated[-1].get("metrics", {}).get("mase")
    if found is not None and _number(found) >= 1:
        yield _finding(
            "warning",
            f"mase {_number(found):.3g} on development: no better than repeating the last season",
            "the model is not worth its time yet",
            "model.rollout.linear=true, a longer context, scale: window",
        )


def unigram_entropy(counts: Sequence[int]) -> float:
    """Return the entropy of symbols with these counts, in nats."""
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts if count)
