"""Policy: which token may come next, how long an answer may be, what a score pays for length and coverage.

N sources, K rows of each source, B = N·K rows, T target steps so far, S source steps, V vocabulary, P prefix
steps.

PAD, BOS and UNKNOWN are never written, since none of them stands for anything a reader could use. Rules never
change what the model thinks: probabilities given for a token are the model's own, over its whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import UserError
from dragoman.recipe.decoding import Limits
from dragoman.records import BOS, EOS, PAD, UNKNOWN

Ids = NDArray[np.int64]

NEVER_WRITTEN = (PAD, UNKNOWN, BOS)
_FREE = -1  # stands in a table of prefixes where nothing is forced
_UNSEEN = 1e-9  # attention that a source step has at least, so that its logarithm is finite


@dataclass(frozen=True)
class Rules:
    """What holds for the answers to a batch of sources.

    `longest_N` counts the end symbol. Of two rules that contradict each other the earlier in this list wins:
    a forced prefix; never PAD, BOS or UNKNOWN; an answer can always end where nothing else may follow;
    `min_length`; no repeated n-gram.
    """

    longest_N: Ids
    prefixes_NP: Ids
    min_length: int
    no_repeat_ngram: int

    def keep(self, sources: Ids) -> Rules:
        """Keep the rules of the given sources."""
        return replace(self, longest_N=self.longest_N[sources], prefixes_NP=self.prefixes_NP[sources])

    def apply(self, logits_BV: Tensor, tokens_BT: Ids) -> None:
        """Set the logits of what may not follow the given tokens to minus infinity, in place."""
        step = tokens_BT.shape[1]
        may_be_stuck = self.no_repeat_ngram > 0 or step < self.min_length
        eos_B = logits_BV[:, EOS].clone() if may_be_stuck else None
        own_BV = logits_BV.clone() if step < self.prefixes_NP.shape[1] else None
        _forbid(logits_BV, NEVER_WRITTEN)
        if step < self.min_length:
            logits_BV[:, EOS] = -math.inf
        if self.no_repeat_ngram:
            _block_repeats(logits_BV, tokens_BT, self.no_repeat_ngram)
        if eos_B is not None:
            stuck_B = logits_BV.amax(dim=1) == -math.inf
            logits_BV[:, EOS] = torch.where(stuck_B, eos_B, logits_BV[:, EOS])
        if own_BV is not None:
            beams = len(logits_BV) // len(self.longest_N)
            _force(logits_BV, own_BV, self.prefixes_NP[:, step].repeat(beams))


def rules_for(lengths_N: Ids, section: Limits, prefixes: Sequence[Sequence[int]] | None) -> Rules:
    """Make the rules for sources of the given lengths.

    An answer is at most `max_ratio` times its source's length plus `max_extra` long, and never longer than
    `max_length`; the former gives way to `min_length` and to a prefix. Raises UserError for a prefix that
    leaves no room under `max_length`.
    """
    table_NP = _prefix_table(prefixes, lengths_N, section)
    by_source_N = (lengths_N * float(section.max_ratio)).astype(np.int64) + section.max_extra
    prefixed_N = (table_NP != _FREE).sum(axis=1)
    shortest_N = np.maximum(prefixed_N, section.min_length) + 1
    longest_N = np.minimum(np.maximum(by_source_N, shortest_N), section.max_length)
    return Rules(longest_N, table_NP, section.min_length, section.no_repeat_ngram)


def _prefix_table(prefixes: Sequence[Sequence[int]] | None, lengths_N: Ids, section: Limits) -> Ids:
    if prefixes is None:
        prefixes = [()] * len(lengths_N)
    if len(prefixes) != len(lengths_N):
        raise ValueError(f"{len(prefixes)} prefixes for {len(lengths_N)} sources")
    steps = max(map(len, prefixes), default=0)
    if steps >= section.max_length:
        raise UserError(
            f"a prefix of {steps} tokens leaves no room under `decoding.max_length` {section.max_length}; "
            "shorten it or raise the limit"
        )
    if any({PAD, BOS, EOS} & set(prefix) for prefix in prefixes):
        raise ValueError("a prefix holds tokens of an answer: no PAD, BOS or EOS")
    rows = [[*map(int, prefix), *[_FREE] * (steps - len(prefix))] for prefix in prefixes]
    return np.array(rows, dtype=np.int64).reshape(len(lengths_N), steps)


def _forbid(logits_BV: Tensor, symbols: Sequence[int]) -> None:
    """Do so in NumPy where it can: its calls are several times cheaper than torch's."""
    is_here = logits_BV.device.type == "cpu" and logits_BV.dtype in (torch.float32, torch.float64)
    scores_BV = logits_BV.numpy() if is_here else logits_BV
    for symbol in symbols:
        scores_BV[:, symbol] = -math.inf


def _block_repeats(logits_BV: Tensor, tokens_BT: Ids, size: int) -> None:
    """Forbid each token that would complete a run of `size` tokens which the row already has."""
    steps = tokens_BT.shape[1]
    if steps < size:
        return
    runs_BWX = np.lib.stride_tricks.sliding_window_view(tokens_BT, size, axis=1)
    last_BX = tokens_BT[:, steps - size + 1 :]
    rows, windows = (runs_BWX[..., :-1] == last_BX[:, None, :]).all(axis=-1).nonzero()
    _set(logits_BV, rows, runs_BWX[rows, windows, -1], -math.inf)


def _force(logits_BV: Tensor, own_BV: Tensor, forced_B: Ids) -> None:
    """Leave only the forced token, with the model's own logit, in rows that have one."""
    rows = (forced_B != _FREE).nonzero()[0]
    rows_R = torch.from_numpy(rows).to(logits_BV.device)
    forced_R = torch.from_numpy(forced_B[rows]).to(logits_BV.device)
    logits_BV[rows_R] = -math.inf
    logits_BV[rows_R, forced_R] = own_BV[rows_R, forced_R]


def _set(logits_BV: Tensor, rows: Ids, tokens: Ids, value: float) -> None:
    places = torch.from_numpy(np.stack([rows, tokens])).to(logits_BV.device)
    logits_BV[places[0], places[1]] = value


def length_divisor(lengths: Ids | int, power: float) -> NDArray[np.float64]:
    """Return ((5 + length) / 6) to a power, what log-probabilities are divided by (Wu et al. 2016).

    The length counts the end symbol.
    """
    return ((5 + np.asarray(lengths, dtype=np.float64)) / 6) ** power


def coverage_penalty(reads_BTS: Tensor, mask_BS: Tensor, weight: float) -> Tensor:
    """Return what a score pays for source steps that got less attention than 1 (Wu et al. 2016), (B,).

    It is the weight times the sum of -log min(attention over all target steps, 1) over real source steps.
    """
    seen_BS = reads_BTS.double().sum(dim=1).clamp(min=_UNSEEN, max=1)
    return -weight * torch.where(mask_BS, seen_BS.log(), 0).sum(dim=1)
