"""How probable CTC finds it that an answer begins with a prefix, or is it (Graves 2008, Hori et al. 2017).

Shapes: N sources, K rows of each source, B = N·K rows, S source steps, X = S + 1 steps, with one before the
first, V vocabulary.

All is in float64: sums run over hundreds of steps, and differences of them decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.model.ctc import BLANK, blank_after_the_end

_NEVER = -1e8
"""Stands for the logarithm of zero: less than any path has, and differences of it are numbers."""
_IMPOSSIBLE = _NEVER / 10
_TINY = 1e-300
"""Sums of probabilities are at least this large, so that they have a logarithm."""


@dataclass(frozen=True)
class Paths:
    """What CTC says of each source at each step, made ready: logarithms and probabilities."""

    log_probs_NSV: Tensor
    probs_NSV: Tensor

    def keep(self, sources: Tensor) -> Paths:
        """Keep the given sources."""
        return Paths(self.log_probs_NSV.index_select(0, sources), self.probs_NSV.index_select(0, sources))


def prepare(log_probs_NSV: Tensor, mask_NS: Tensor) -> Paths:
    """Make log-probabilities of padded sources ready."""
    certain_NSV = blank_after_the_end(log_probs_NSV.double(), mask_NS).clamp(min=_NEVER)
    return Paths(certain_NSV, certain_NSV.exp())


@dataclass(frozen=True)
class Prefixes:
    """A prefix for each row: all its paths, summed.

    `by_symbol_BX` and `by_blank_BX` are logarithms of the sums over paths that have written just the prefix
    after so many steps and end with its last symbol or with a blank (Graves 2008, chapter 7). `scores_B` is
    how probable it is that an answer begins with it.
    """

    by_symbol_BX: Tensor
    by_blank_BX: Tensor
    scores_B: Tensor
    last_B: Tensor

    def take(self, rows_B: Tensor) -> Prefixes:
        """Keep the given rows, in the given order."""
        return Prefixes(
            self.by_symbol_BX.index_select(0, rows_B),
            self.by_blank_BX.index_select(0, rows_B),
            self.scores_B.index_select(0, rows_B),
            self.last_B.index_select(0, rows_B),
        )

    @property
    def is_possible_B(self) -> Tensor:
        """Whether any path writes the prefix: its scores mean nothing otherwise."""
        return self.scores_B > _IMPOSSIBLE

    @property
    def ends_B(self) -> Tensor:
        """How probable it is that the prefix is the whole answer."""
        return torch.logaddexp(self.by_symbol_BX[:, -1], self.by_blank_BX[:, -1])

    def extend(self, paths: Paths, tokens_B: Tensor) -> Prefixes:
        """Return the prefixes that have one more symbol each, which is not the blank."""
        own_BS = _at(paths, tokens_B)
        blank_BS = _at(paths, torch.full_like(tokens_B, BLANK))
        # Upon itself a symbol follows only after a blank.
        before_BX = torch.where(
            (tokens_B == self.last_B)[:, None],
            self.by_blank_BX,
            torch.logaddexp(self.by_symbol_BX, self.by_blank_BX),
        )
        entering_BS = before_BX[:, :-1] + own_BS
        by_symbol_BX = _begun(_carried(entering_BS, own_BS))
        by_blank_BX = _begun(_carried(by_symbol_BX[:, :-1] + blank_BS, blank_BS))
        return Prefixes(by_symbol_BX, by_blank_BX, entering_BS.logsumexp(1), tokens_B)

    def next_scores(self, paths: Paths) -> Tensor:
        """Return the scores of these prefixes with each symbol behind them (B, V).

        What stands at the blank means nothing.
        """
        sources, steps, size = paths.probs_NSV.shape
        before_BS = torch.logaddexp(self.by_symbol_BX, self.by_blank_BX)[:, :-1]
        # The sum over steps is a product of matrices, of numbers scaled so that the largest weight is one.
        largest_B1 = before_BS.amax(1, keepdim=True)
        weights_NKS = (before_BS - largest_B1).exp().view(sources, -1, steps)
        summed_BV = (weights_NKS @ paths.probs_NSV).view(-1, size)
        scores_BV = summed_BV.clamp(min=_TINY).log() + largest_B1
        again_B = (self.by_blank_BX[:, :-1] + _at(paths, self.last_B)).logsumexp(1)
        return scores_BV.scatter(1, self.last_B[:, None], again_B[:, None])


def empty_prefixes(paths: Paths, beams: int) -> Prefixes:
    """Return the empty prefix for `beams` rows of each source: any answer begins with it."""
    sources = len(paths.log_probs_NSV)
    blanks_NS = paths.log_probs_NSV[:, :, BLANK].cumsum(1)
    by_blank_BX = torch.cat([blanks_NS.new_zeros(sources, 1), blanks_NS], 1).repeat_interleave(beams, 0)
    none_B = torch.full((sources * beams,), BLANK, device=blanks_NS.device)
    certain_B = by_blank_BX.new_zeros(len(none_B))
    return Prefixes(torch.full_like(by_blank_BX, _NEVER), by_blank_BX, certain_B, none_B)


def _at(paths: Paths, tokens_B: Tensor) -> Tensor:
    """Return the log-probabilities (B, S) of each row's symbol at every step."""
    sources, steps, _ = paths.log_probs_NSV.shape
    tokens_NK = tokens_B.view(sources, -1)
    found_NSK = paths.log_probs_NSV.gather(2, tokens_NK[:, None, :].expand(-1, steps, -1))
    return found_NSK.transpose(1, 2).reshape(len(tokens_B), steps)


def _carried(entering_BS: Tensor, stay_BS: Tensor) -> Tensor:
    """Return r with r(s) = r(s - 1)·stay(s) + entering(s), all in logarithms, without a loop over steps."""
    stayed_BS = stay_BS.cumsum(1)
    return stayed_BS + (entering_BS - stayed_BS).logcumsumexp(1)


def _begun(sums_BS: Tensor) -> Tensor:
    """Put the step before the first in front, where nothing has been written yet."""
    return torch.cat([torch.full_like(sums_BS[:, :1], _NEVER), sums_BS], 1)
