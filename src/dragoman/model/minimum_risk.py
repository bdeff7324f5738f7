"""The expected cost of what a model would answer.

Shapes: N sources, K candidates of each, B = N·K rows, T target steps, D width, X real positions.
"""

from __future__ import annotations

import math

from torch import Tensor

from dragoman.model.contracts import Memory
from dragoman.model.distributions import log_probs_of
from dragoman.model.frontends import tokens_before
from dragoman.model.heads import VocabularyHead
from dragoman.model.seq2seq import Seq2Seq
from dragoman.records import Candidates


def risks(model: Seq2Seq, memory: Memory, candidates: Candidates, sharpness: float) -> Tensor:
    """Return the expected cost of the candidates of each source, (N,), given what was read."""
    log_probs_NK = _log_probs(model, memory, candidates)
    return expected_costs(log_probs_NK, candidates.costs_BK, candidates.mask_BK, sharpness)


def expected_costs(log_probs_NK: Tensor, costs_NK: Tensor, mask_NK: Tensor, sharpness: float) -> Tensor:
    """Return the mean cost under probabilities to the power of `sharpness`, which share 1."""
    shares_NK = (sharpness * log_probs_NK).masked_fill(~mask_NK, -math.inf).softmax(1)
    return (shares_NK * costs_NK).sum(1)


def _log_probs(model: Seq2Seq, memory: Memory, candidates: Candidates) -> Tensor:
    """Return the log-probability of each whole candidate, (N, K)."""
    assert isinstance(model.head, VocabularyHead), "candidates are tokens"
    answers, mask_BT = candidates.answers, candidates.answers.mask_BS
    state = model.start(memory, candidates.costs_BK.shape[1])
    decoded, _ = model.advance(tokens_before(answers.values), state)
    log_probs_X = log_probs_of(model.head, decoded.outputs_BTD[mask_BT], answers.values[mask_BT])
    rows_X = mask_BT.nonzero()[:, 0]
    totals_B = log_probs_X.new_zeros(len(mask_BT)).index_add(0, rows_X, log_probs_X)
    return totals_B.view(candidates.costs_BK.shape)
