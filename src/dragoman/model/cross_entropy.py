"""The fused cross-entropy, which never holds the logits of a whole batch, and its reference.

Shapes: X positions, C positions of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.passes import passes, softmax_pull
from dragoman.model.products import (
    add_weight_gradients,
    computes_bf16,
    multiply,
    pack_inputs,
    pack_outputs,
    type_of_products,
)
from dragoman.records import PAD

CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**27}
"""Logits that exist at any one time: enough for products at full speed."""
_BLOCK_LOGITS = {"cpu": 2**18, "cuda": 2**27}
"""Logits that are normalised at a time: on a CPU what fits the cache of a core."""


def cross_entropy(
    outputs_XD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_X: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return sums over real targets, in nats: the smoothed loss (differentiable) and -log p (detached).

    Logits are `outputs · weightᵀ + bias`, computed in chunks, so that those of the whole batch never exist.
    Positions whose target is PAD count nothing. Smoothing gives its share to all V symbols alike (Szegedy et
    al. 2016), as torch's `label_smoothing` does. Gradients come from the forward pass and cannot be
    differentiated again.
    """
    real_X = (targets_X != PAD).nonzero().squeeze(1)
    outputs_XD, targets_X = outputs_XD.index_select(0, real_X), targets_X.index_select(0, real_X)
    if torch.is_grad_enabled() and (outputs_XD.requires_grad or weight_VD.requires_grad):
        total, nll = _FusedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            outputs_XD, weight_VD, bias_V, targets_X, smoothing
        )
        return total, nll
    return _chunked(outputs_XD, weight_VD, bias_V, targets_X, smoothing)


def reference_cross_entropy(
    outputs_XD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_X: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute `cross_entropy` from all logits at once."""
    logits_XV = F.linear(outputs_XD.to(weight_VD.dtype), weight_VD, bias_V)
    total = F.cross_entropy(
        logits_XV, targets_X, ignore_index=PAD, label_smoothing=smoothing, reduction="sum"
    )
    return total, F.cross_entropy(logits_XV.detach(), targets_X, ignore_index=PAD, reduction="sum")


class _FusedCrossEntropy(torch.autograd.Function):
    """The smoothed loss with its gradients from the same pass: no logits are kept or computed twice."""

    @staticmethod
    def forward(
        ctx: Any,
        outputs_XD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_X: Tensor,
        smoothing: float,
    ) -> tuple[Tensor, Tensor]:
        gradients = _Gradients(
            torch.empty_like(outputs_XD),
            torch.zeros_like(weight_VD),
            torch.zeros_like(bias_V) if bias_V is not None else None,
        )
        total, nll = _chunked(outputs_XD, weight_VD, bias_V, targets_X, smoothing, gradients)
        ctx.save_for_backward(gradients.outputs_XD, gradients.weight_VD, gradients.bias_V)
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if saved is None else saved * gradient.to(saved.dtype) for saved in ctx.saved_tensors]
        return (*scaled, None, None)


@dataclass(frozen=True)
class _Gradients:
    """Where a pass over the chunks writes gradients of the loss."""

    outputs_XD: Tensor
    weight_VD: Tensor
    bias_V: Tensor | None


@dataclass(frozen=True)
class _Room:
    """Memory that all chunks and blocks use in turn: fresh memory costs as much as what is done in it."""

    logits_CV: Tensor
    exact_BV: Tensor
    probs_BV: Tensor

    @classmethod
    def of(cls, positions: int, weight_VD: Tensor, product: torch.dtype) -> _Room:
        """Take room for the chunks of this many positions."""
        symbols, kind = len(weight_VD), "cuda" if weight_VD.is_cuda else "cpu"
        chunk = max(1, min(positions, CHUNK_LOGITS[kind] // symbols))
        block = max(1, min(chunk, _BLOCK_LOGITS[kind] // symbols))
        return cls(
            weight_VD.new_empty(chunk, symbols, dtype=product),
            weight_VD.new_empty(block, symbols),
            weight_VD.new_empty(block, symbols),
        )


def _chunked(
    outputs_XD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_X: Tensor,
    smoothing: float,
    gradients: _Gradients | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the smoothed loss and -log p; fill the gradients where some are given."""
    product = torch.bfloat16 if computes_bf16(weight_VD) else weight_VD.dtype
    low_XD = outputs_XD.to(product)
    packs = gradients is not None and type_of_products(outputs_XD, weight_VD) is product
    table = _PackedTable(weight_VD, product) if packs else _Table(weight_VD, product)
    nll, log_normaliser = weight_VD.new_zeros(()), weight_VD.new_zeros(())
    room = _Room.of(len(targets_X), weight_VD, product)
    for chunk in _slices(len(targets_X), len(room.logits_CV)):
        low_CD, gold_C = low_XD[chunk], targets_X[chunk]
        logits_CV = room.logits_CV[: len(low_CD)]
        table.score(low_CD, logits_CV)
        log_normaliser_C, gold_logits_C = _normalise(logits_CV, bias_V, gold_C, room, smoothing, gradients)
        nll += (log_normaliser_C - gold_logits_C).sum()
        log_normaliser += log_normaliser_C.sum()
        if gradients is not None:
            table.pull_back(logits_CV, low_CD, gradients.outputs_XD[chunk], gradients.weight_VD)
    mean_logits = _mean_logits(outputs_XD, weight_VD, bias_V, smoothing, gradients)
    return (1 - smoothing) * nll + smoothing * (log_normaliser - mean_logits), nll


class _Table:
    """Products with a table of symbols, in torch."""

    def __init__(self, weight_VD: Tensor, product: torch.dtype) -> None:
        self._low_VD = weight_VD.to(product)

    def score(self, low_CD: Tensor, logits_CV: Tensor) -> None:
        torch.mm(low_CD, self._low_VD.t(), out=logits_CV)

    def pull_back(self, pull_CV: Tensor, low_CD: Tensor, of_outputs_CD: Tensor, of_weight_VD: Tensor) -> None:
        of_outputs_CD.copy_(pull_CV @ self._low_VD)
        of_weight_VD.add_(pull_CV.t() @ low_CD)


class _PackedTable:
    """The same by kernels in C, which sum gradients of the table in float32."""

    def __init__(self, weight_VD: Tensor, product: torch.dtype) -> None:
        self._outputs, self._inputs = pack_outputs(weight_VD, product), pack_inputs(weight_VD, product)

    def score(self, low_CD: Tensor, logits_CV: Tensor) -> None:
        multiply(low_CD, self._outputs, logits_CV)

    def pull_back(self, pull_CV: Tensor, low_CD: Tensor, of_outputs_CD: Tensor, of_weight_VD: Tensor) -> None:
        multiply(pull_CV, self._inputs, of_outputs_CD)
        add_weight_gradients(pull_CV, low_CD, of_weight_VD)


def _normalise(
    logits_CV: Tensor,
    bias_V: Tensor | None,
    gold_C: Tensor,
    room: _Room,
    smoothing: float,
    gradients: _Gradients | None,
) -> tuple[Tensor, Tensor]:
    """Return logarithms of the normalisers (C) and logits of the targets (C).

    With gradients, turn the logits into softmax - (1 - smoothing) at the target.
    """
    if passes(logits_CV):
        normalised = softmax_pull(logits_CV, bias_V, gold_C, smoothing, gradients is not None)
        if gradients is not None and gradients.bias_V is not None:
            gradients.bias_V.add_(logits_CV.sum(0, dtype=gradients.bias_V.dtype))
        return normalised
    found = [
        _normalise_block(logits_CV[block], bias_V, gold_C[block, None], room, smoothing, gradients)
        for block in _slices(len(logits_CV), len(room.exact_BV))
    ]
    log_normaliser_C, gold_logits_C = (torch.cat(part) for part in zip(*found, strict=True))
    return log_normaliser_C, gold_logits_C


def _normalise_block(
    logits_BV: Tensor,
    bias_V: Tensor | None,
    gold_B1: Tensor,
    room: _Room,
    smoothing: float,
    gradients: _Gradients | None,
) -> tuple[Tensor, Tensor]:
    exact_BV = room.exact_BV[: len(logits_BV)].copy_(logits_BV)
    if bias_V is not None:
        exact_BV += bias_V
    probs_BV = torch.softmax(exact_BV, -1, out=room.probs_BV[: len(logits_BV)])
    # The likeliest symbol says what all were divided by: its probability is never too small for a number.
    log_normaliser_B = exact_BV.amax(1) - probs_BV.amax(1).log()
    gold_logits_B1 = exact_BV.gather(1, gold_B1)
    if gradients is not None:
        pull_BV = probs_BV.scatter_add_(1, gold_B1, torch.full_like(gold_logits_B1, smoothing - 1))
        if gradients.bias_V is not None:
            gradients.bias_V.add_(pull_BV.sum(0))
        logits_BV.copy_(pull_BV)
    return log_normaliser_B, gold_logits_B1.squeeze(1)


def _mean_logits(
    outputs_XD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    smoothing: float,
    gradients: _Gradients | None,
) -> Tensor:
    """Return the sum over positions of mean logits, and take its smoothed share from the gradients.

    Smoothing sees the single logits in this mean only, and the mean is linear in outputs, weights and bias:
    sums over positions and over symbols are all it takes, rather than another pass over all logits.
    """
    positions, symbols = len(outputs_XD), len(weight_VD)
    outputs_sum_D, weight_sum_D = outputs_XD.sum(0, dtype=weight_VD.dtype), weight_VD.sum(0)
    mean_logits = outputs_sum_D.dot(weight_sum_D) / symbols
    if bias_V is not None:
        mean_logits = mean_logits + positions * bias_V.mean()
    if gradients is not None:
        share = smoothing / symbols
        gradients.outputs_XD.sub_(share * weight_sum_D)
        gradients.weight_VD.sub_(share * outputs_sum_D)
        if gradients.bias_V is not None:
            gradients.bias_V.sub_(share * positions)
    return mean_logits


def _slices(length: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, length, step))
