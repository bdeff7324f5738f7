"""What losses ask of whole distributions over symbols, some positions at a time: memory stays bounded.

Shapes: X positions, C positions of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dragoman.model.cross_entropy import CHUNK_LOGITS
from dragoman.model.heads import VocabularyHead


def divergence(head: VocabularyHead, one_XD: Tensor, other_XD: Tensor) -> Tensor:
    """Return KL(p‖q) + KL(q‖p) of what a head makes of two outputs for each position, summed, in nats.

    Logits are those of `head`, in the precision of its weights, and computed again on the way back.
    """
    total = head.weight.new_zeros(())
    for chunk in _chunks(head, len(one_XD)):
        found: Tensor = checkpoint(
            _divergence, head, one_XD[chunk], other_XD[chunk], use_reentrant=False, preserve_rng_state=False
        )
        total = total + found
    return total


def log_probs_of(head: VocabularyHead, outputs_XD: Tensor, symbols_X: Tensor) -> Tensor:
    """Return the log-probability of a symbol at each position, (X,), in nats, as `divergence` computes."""
    found: list[Tensor] = [
        checkpoint(
            _log_probs,
            head,
            outputs_XD[chunk],
            symbols_X[chunk],
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for chunk in _chunks(head, len(outputs_XD))
    ]
    return torch.cat(found) if found else outputs_XD.new_zeros(0)


@torch.no_grad()
def likeliest(head: VocabularyHead, outputs_XD: Tensor, without: Sequence[int]) -> Tensor:
    """Return the likeliest symbol at each position, (X,), of all but some."""
    left_out = torch.tensor(without, device=outputs_XD.device)
    found = [
        head(outputs_XD[chunk]).index_fill(1, left_out, -math.inf).argmax(1)
        for chunk in _chunks(head, len(outputs_XD))
    ]
    return torch.cat(found) if found else left_out.new_zeros(0)


def _log_probs(head: VocabularyHead, outputs_CD: Tensor, symbols_C: Tensor) -> Tensor:
    log_probs_CV: Tensor = head(outputs_CD).log_softmax(-1)
    return log_probs_CV.gather(1, symbols_C[:, None]).squeeze(1)


def _divergence(head: VocabularyHead, one_CD: Tensor, other_CD: Tensor) -> Tensor:
    one_CV, other_CV = head(one_CD).log_softmax(-1), head(other_CD).log_softmax(-1)
    return torch.sum((one_CV.exp() - other_CV.exp()) * (one_CV - other_CV))


def _chunks(head: VocabularyHead, positions: int) -> Iterator[slice]:
    kind = "cuda" if head.weight.is_cuda else "cpu"
    step = max(1, CHUNK_LOGITS[kind] // len(head.weight))
    return (slice(start, start + step) for start in range(0, positions, step))
