"""Connectionist temporal classification (Graves et al. 2006): a head on the encoder, and its loss.

Shapes: N sources, S source steps, T target steps, D width of the memory, V vocabulary.

A path writes one symbol or a blank at every source step; the answer is what is left when symbols that follow
upon themselves become one and blanks go. PAD is the blank. The end of an answer is the end of its source, so
EOS is never written, nor BOS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.contracts import Memory
from dragoman.model.heads import VocabularyHead
from dragoman.records import BOS, EOS, PAD

BLANK = PAD
_HIDDEN_LOGIT = -1e4
"""Logit of what is never written: its probability is zero, and gradients of the loss are numbers."""


class CtcHead(nn.Module):
    """Scores symbols and the blank at every step of a memory."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.symbols = VocabularyHead(width, size)

    def log_probs(self, memory: Memory) -> Tensor:
        """Return log-probabilities (N, S, V), float32 whatever `compute` says (float64 for a float64 model).

        The probabilities of BOS and EOS are zero. What stands in padding means nothing.
        """
        logits_NSV: Tensor = self.symbols(memory.values_NSD)
        is_control_V = torch.zeros(logits_NSV.shape[-1], dtype=torch.bool, device=logits_NSV.device)
        is_control_V[[BOS, EOS]] = True
        with torch.autocast(logits_NSV.device.type, enabled=False):
            return logits_NSV.masked_fill(is_control_V, _HIDDEN_LOGIT).log_softmax(-1)


@dataclass(frozen=True)
class CtcLoss:
    """The negative log-likelihood of the targets of a batch in nats, summed, with a gradient.

    `impossible` counts targets that have more symbols, with a blank between equal neighbours, than there are
    steps: no path writes them, and they add nothing to `total` and its gradient.
    """

    total: Tensor
    impossible: int


def ctc_loss(log_probs_NSV: Tensor, mask_NS: Tensor, targets_NT: Tensor, target_lengths_N: Tensor) -> CtcLoss:
    """Return the loss of targets, whose lengths count the EOS that they end with.

    Gradients are right for log-probabilities that a softmax has normalised. On a CPU results repeat to the
    bit; on a GPU torch sums some gradients in any order.
    """
    symbols_N = target_lengths_N - 1
    nll_N = ctc_nll(log_probs_NSV, mask_NS, targets_NT, symbols_N)
    impossible_N = symbols_N + _repeats(targets_NT, symbols_N) > mask_NS.sum(1)
    return CtcLoss(nll_N.masked_fill(impossible_N, 0.0).sum(), int(impossible_N.sum()))


def ctc_nll(log_probs_NSV: Tensor, mask_NS: Tensor, targets_NT: Tensor, symbols_N: Tensor) -> Tensor:
    """Return the negative log-likelihood of each target (N,), 0 where no path writes it; see `ctc_loss`."""
    with torch.autocast(log_probs_NSV.device.type, enabled=False):
        return F.ctc_loss(
            log_probs_NSV.transpose(0, 1),
            targets_NT,
            mask_NS.sum(1),
            symbols_N,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )


def _repeats(targets_NT: Tensor, symbols_N: Tensor) -> Tensor:
    """Count the symbols of each target that equal the one before: a path has a blank between these."""
    places_X = torch.arange(1, targets_NT.shape[1], device=targets_NT.device)
    is_real_NX = places_X < symbols_N[:, None]
    return ((targets_NT[:, 1:] == targets_NT[:, :-1]) & is_real_NX).sum(1)


def blank_after_the_end(log_probs_NSV: Tensor, mask_NS: Tensor) -> Tensor:
    """Make a blank certain in padding: then neither answers nor their probabilities depend on it."""
    blank_V = log_probs_NSV.new_full(log_probs_NSV.shape[2:], -math.inf)
    blank_V[BLANK] = 0.0
    return torch.where(mask_NS[:, :, None], log_probs_NSV, blank_V)
