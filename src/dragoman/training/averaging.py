"""Averages of weights: what is validated and kept instead of the last weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from dragoman.errors import CheckpointError
from dragoman.recipe.run import Average, CheckpointAverage, ExponentialAverage, NoAverage

Weights = dict[str, Tensor]
"""Every tensor of a model under one name; tied tables come once."""


def weights_of(model: nn.Module) -> Weights:
    """Name each tensor of a model once, without copying; a tied table is one tensor under several names."""
    seen: set[int] = set()
    weights = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            weights[name] = tensor.detach()
    return weights


def copied(weights: Mapping[str, Tensor]) -> Weights:
    """Copy weights to memory of their own on the processor."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model, in place. Raises CheckpointError where names or shapes differ."""
    own = weights_of(model)
    expected = {name: list(tensor.shape) for name, tensor in own.items()}
    found = {name: list(tensor.shape) for name, tensor in weights.items()}
    wrong = [n for n in sorted(expected.keys() | found.keys()) if expected.get(n) != found.get(n)]
    if wrong:
        lines = [f"{n}: expected {expected.get(n, 'none')}, found {found.get(n, 'none')}" for n in wrong[:5]]
        raise CheckpointError("the weights do not fit this model:\n  " + "\n  ".join(lines))
    for name, tensor in own.items():
        tensor.copy_(weights[name])


@contextmanager
def holding(model: nn.Module, weights: Weights | None) -> Iterator[None]:
    """Lend a model other weights for a while; None leaves it its own."""
    if weights is None:
        yield
        return
    own = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    load_weights(model, weights)
    try:
        yield
    finally:
        load_weights(model, own)


class Averager(Protocol):
    """Follows the weights of a run."""

    def update(self, step: int, weights: Weights) -> None:
        """Take in the weights after a step (1, 2, ...)."""
        ...

    def average(self) -> Weights | None:
        """Return what is to be validated, or None for the last weights as they are."""
        ...

    def tensors(self) -> Weights:
        """Return all that is remembered, for a checkpoint."""
        ...

    def restore(self, tensors: Weights) -> None:
        """Put back what `tensors` returned."""
        ...


def build_averager(section: Average, weights: Weights, checkpoint_every: int) -> Averager:
    """Build the recipe's average over a model that has these weights now."""
    match section:
        case NoAverage():
            return Last()
        case ExponentialAverage():
            return Exponential(section.decay, weights)
        case CheckpointAverage():
            return CheckpointMean(section.count, checkpoint_every)


class Last:
    """The last weights as they are."""

    def update(self, step: int, weights: Weights) -> None:
        """Remember nothing."""

    def average(self) -> Weights | None:
        """Return None: the weights themselves."""
        return None

    def tensors(self) -> Weights:
        """Return nothing."""
        return {}

    def restore(self, tensors: Weights) -> None:
        """Put back nothing."""
        assert not tensors


class Exponential:
    """An exponential moving average; early steps decay faster, so that the start is soon forgotten."""

    def __init__(self, decay: float, weights: Weights) -> None:
        """Start from the weights of the first step."""
        self._decay = decay
        self._average = {name: tensor.clone() for name, tensor in weights.items()}

    def update(self, step: int, weights: Weights) -> None:
        """Move towards the weights; the decay grows like TensorFlow's moving averages, (1 + t) / (10 + t)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, average in self._average.items():
            if average.is_floating_point():
                average.lerp_(weights[name], 1 - decay)
            else:
                average.copy_(weights[name])

    def average(self) -> Weights | None:
        """Return the average."""
        return self._average

    def tensors(self) -> Weights:
        """Return the average."""
        return self._average

    def restore(self, tensors: Weights) -> None:
        """Continue from a stored average."""
        for name, average in self._average.items():
            average.copy_(tensors[name])


class CheckpointMean:
    """The mean of the weights at the last `count` checkpoint steps; each checkpoint carries them all."""

    def __init__(self, count: int, every: int) -> None:
        """Start with none."""
        self._every = every
        self._snapshots: deque[Weights] = deque(maxlen=count)

    def update(self, step: int, weights: Weights) -> None:
        """Remember the weights where a checkpoint falls due: by the step alone, saved or not."""
        if step % self._every == 0:
            self._snapshots.append(copied(weights))

    def average(self) -> Weights | None:
        """Return the mean, or None before the first checkpoint step."""
        if not self._snapshots:
            return None
        return {name: self._mean(name, tensor) for name, tensor in self._snapshots[-1].items()}

    def _mean(self, name: str, last: Tensor) -> Tensor:
        if not last.is_floating_point():
            return last
        total = torch.zeros_like(last, dtype=torch.float64)
        for snapshot in self._snapshots:
            total += snapshot[name]
        return (total / len(self._snapshots)).to(last.dtype)

    def tensors(self) -> Weights:
        """Return every snapshot, named `<number>/<tensor>`, oldest first."""
        return {f"{i}/{name}": t for i, kept in enumerate(self._snapshots) for name, t in kept.items()}

    def restore(self, tensors: Weights) -> None:
        """Put the snapshots back in their order."""
        self._snapshots.clear()
        for number in sorted({int(name.partition("/")[0]) for name in tensors}):
            mine = {n.partition("/")[2]: t.clone() for n, t in tensors.items() if n.startswith(f"{number}/")}
            self._snapshots.append(mine)
