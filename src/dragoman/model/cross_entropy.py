"""The fused cross-entropy, which never holds the logits of a whole batch, and its reference.

Shapes: X positions, C positions of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.kernels import computes_bf16
from dragoman.records import PAD

CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**27}
"""Logits that exist at any one time: on a CPU what about fits its caches, on a GPU enough to keep it busy."""


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
    total, nll, *_ = _chunked(outputs_XD, weight_VD, bias_V, targets_X, smoothing, learning=False)
    return total, nll


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
        total, nll, *gradients = _chunked(outputs_XD, weight_VD, bias_V, targets_X, smoothing, learning=True)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if saved is None else saved * gradient.to(saved.dtype) for saved in ctx.saved_tensors]
        return (*scaled, None, None)


def _chunked(
    outputs_XD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_X: Tensor,
    smoothing: float,
    learning: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the smoothed loss, -log p and, if learning, the gradients of outputs, weight and bias.

    In the smoothing term the logits of a position enter through their mean only, which is linear in outputs
    and weights: its value and its gradients come from sums over positions and over symbols, not from each
    logit.
    """
    product = torch.bfloat16 if computes_bf16(weight_VD) else weight_VD.dtype
    low_XD, low_VD = outputs_XD.to(product), weight_VD.to(product)
    nll, log_normaliser = weight_VD.new_zeros(()), weight_VD.new_zeros(())
    outputs_gradient, weight_gradient = (
        torch.empty_like(low_XD),
        torch.zeros_like(weight_VD if learning else nll),
    )
    bias_gradient = torch.zeros_like(bias_V) if bias_V is not None else None
    for chunk in _chunks(len(targets_X), weight_VD):
        logits_CV = F.linear(low_XD[chunk], low_VD).to(weight_VD.dtype)
        if bias_V is not None:
            logits_CV += bias_V
        gold_C1 = targets_X[chunk, None]
        gold_logits_C1 = logits_CV.gather(1, gold_C1)
        log_probs_CV = logits_CV.log_softmax(-1)
        gold_log_probs_C1 = log_probs_CV.gather(1, gold_C1)
        nll -= gold_log_probs_C1.sum()
        log_normaliser += (gold_logits_C1 - gold_log_probs_C1).sum()
        if not learning:
            continue
        gradient_CV = log_probs_CV.exp_()
        gradient_CV.scatter_add_(1, gold_C1, torch.full_like(gold_log_probs_C1, smoothing - 1))
        if bias_gradient is not None:
            bias_gradient += gradient_CV.sum(0)
        low_CV = gradient_CV.to(product)
        outputs_gradient[chunk] = low_CV @ low_VD
        weight_gradient += low_CV.t() @ low_XD[chunk]

    positions, symbols = len(targets_X), weight_VD.shape[0]
    outputs_sum_D, weight_sum_D = outputs_XD.sum(0, dtype=weight_VD.dtype), weight_VD.sum(0)
    mean_logits = outputs_sum_D.dot(weight_sum_D) / symbols
    if bias_V is not None:
        mean_logits = mean_logits + positions * bias_V.mean()
    total = (1 - smoothing) * nll + smoothing * (log_normaliser - mean_logits)
    if not learning:
        return total, nll, None, None, None
    share = smoothing / symbols
    weight_gradient -= share * outputs_sum_D
    if bias_gradient is not None:
        bias_gradient -= share * positions
    return (
        total,
        nll,
        outputs_gradient.to(outputs_XD.dtype) - share * weight_sum_D,
        weight_gradient,
        bias_gradient,
    )


def _chunks(positions: int, weight_VD: Tensor) -> Iterator[slice]:
    """Cut positions into chunks whose logits stay within CHUNK_LOGITS."""
    limit = CHUNK_LOGITS["cuda" if weight_VD.is_cuda else "cpu"]
    rows = max(1, limit // weight_VD.shape[0])
    return (slice(start, start + rows) for start in range(0, positions, rows))
