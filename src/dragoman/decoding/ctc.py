"""Answers from CTC alone: the best path, and a beam over prefixes.

Shapes: N sources, S source steps, V vocabulary, K prefixes of a source (J where it is looked at twice), M
symbols that are tried at a step, X extensions, C candidates, B rows, T target steps.

PAD is the blank; UNKNOWN, BOS and EOS are never written. Every answer ends with EOS, where its source ends.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dragoman.decoding.choosing import Ids, Reals, top
from dragoman.decoding.search import FAILED
from dragoman.model.ctc import BLANK, blank_after_the_end
from dragoman.model.ctc_prefixes import empty_prefixes, prepare
from dragoman.records import BOS, EOS, PAD, UNKNOWN, Hypothesis

_NO_NODE, _NO_PARENT = -1, -2
"""Stand for prefixes that are not there, and for what is before the empty one; they equal nothing else."""


@torch.inference_mode()
def ctc_greedy(log_probs_NSV: Tensor, lengths_N: Tensor) -> list[Hypothesis]:
    """Return what the most probable path of each source writes.

    The score is the log-probability of that path. A token's own is the largest of the steps that write it,
    and that of EOS is 0. A source without probabilities gets `FAILED`.
    """
    values_NS, tokens_NS = _writable(log_probs_NSV).double().max(2)
    rows = zip(values_NS.cpu().numpy(), tokens_NS.cpu().numpy(), lengths_N.tolist(), strict=True)
    return [_collapsed(values_S[:steps], tokens_S[:steps]) for values_S, tokens_S, steps in rows]


def _collapsed(values_S: Reals, tokens_S: Ids) -> Hypothesis:
    """Read what a path writes."""
    if not np.isfinite(values_S).all():
        return FAILED
    tokens: list[int] = []
    log_probs: list[float] = []
    before = BLANK
    for token, value in zip(tokens_S.tolist(), values_S.tolist(), strict=True):
        if token == before != BLANK:
            log_probs[-1] = max(log_probs[-1], value)
        elif token != BLANK:
            tokens.append(token)
            log_probs.append(value)
        before = token
    return Hypothesis((*tokens, EOS), (*log_probs, 0.0), float(values_S.sum()), is_finished=True)


@torch.inference_mode()
def ctc_beam(
    log_probs_NSV: Tensor, lengths_N: Tensor, beam: int, nbest: int = 1
) -> list[tuple[Hypothesis, ...]]:
    """Return the `nbest` most probable answers of each source, best first (Hannun et al. 2014).

    Prefixes stay in the beam by the sum over all their paths that it has seen: one as wide as there are
    prefixes finds the best answers there are. The score is the log-probability of the answer over all its
    paths, seen or not. A token's own is what it takes from the score of the prefix, that of EOS what ending
    takes, and their sum is the score. A source without probabilities gets `FAILED`.
    """
    if not len(lengths_N):
        return []
    steps_S = torch.arange(log_probs_NSV.shape[1], device=lengths_N.device)
    mask_NS = steps_S < lengths_N[:, None]
    writable_NSV = _writable(log_probs_NSV)
    is_broken_N = (~writable_NSV.amax(2).isfinite() & mask_NS).any(1)
    # Without probabilities a source is all blanks, until its answer is replaced.
    mask_NS = mask_NS & ~is_broken_N[:, None]
    found = _best_prefixes(blank_after_the_end(writable_NSV, mask_NS), beam, nbest)
    answers = _scored(log_probs_NSV, mask_NS, found)
    return [
        (FAILED,) if is_broken else ranked
        for is_broken, ranked in zip(is_broken_N.tolist(), answers, strict=True)
    ]


def _writable(log_probs_NSV: Tensor) -> Tensor:
    never_written = torch.tensor([UNKNOWN, BOS, EOS], device=log_probs_NSV.device)
    return log_probs_NSV.index_fill(2, never_written, -math.inf)


# --- the beam


@dataclass(frozen=True)
class _Prefixes:
    """The best prefixes of each source; minus infinity where there are fewer.

    Sums, in logarithms, over paths that end with the last symbol or with a blank; nodes of the tree.
    """

    by_symbol_NK: Reals
    by_blank_NK: Reals
    nodes_NK: Ids
    parents_NK: Ids
    last_NK: Ids


@dataclass(frozen=True)
class _Tree:
    """Every prefix that has been in a beam, once: paths of one that was lost come back to the same node.

    The first nodes are the empty prefixes, one a source.
    """

    parents: list[int]
    symbols: list[int]
    children: dict[tuple[int, int], int] = field(default_factory=dict)

    def child(self, parent: int, symbol: int) -> int:
        """Return the node of a prefix with one more symbol."""
        node = self.children.setdefault((parent, symbol), len(self.parents))
        if node == len(self.parents):
            self.parents.append(parent)
            self.symbols.append(symbol)
        return node

    def tokens(self, node: int) -> list[int]:
        """Return the symbols of a prefix."""
        found = []
        while self.parents[node] != _NO_PARENT:
            found.append(self.symbols[node])
            node = self.parents[node]
        return found[::-1]


def _best_prefixes(log_probs_NSV: Tensor, beam: int, nbest: int) -> list[list[list[int]]]:
    """Return the tokens of the best prefixes of each source after the last step, best first."""
    sources, steps, size = log_probs_NSV.shape
    symbols_only_NSV = log_probs_NSV.index_fill(2, torch.tensor(PAD, device=log_probs_NSV.device), -math.inf)
    # Of one prefix's extensions no more can stay than the beam is wide; as many may be in it already, and one
    # may follow upon itself.
    tried = min(2 * beam + 1, size)
    tried_XM, symbols_XM = top(symbols_only_NSV.flatten(0, 1).contiguous(), tried)
    tried_NSM = tried_XM.double().view(sources, steps, tried).cpu().numpy()
    symbols_NSM = symbols_XM.view(sources, steps, tried).cpu().numpy()
    values_NSV = log_probs_NSV.cpu().numpy()
    tree = _Tree([_NO_PARENT] * sources, [BLANK] * sources)
    prefixes = _empty(sources, beam)
    sources_N1 = np.arange(sources)[:, None]
    for step in range(steps):
        blank_N1 = values_NSV[:, step, BLANK, None].astype(np.float64)
        own_NK = values_NSV[sources_N1, step, prefixes.last_NK].astype(np.float64)
        prefixes = _step(prefixes, blank_N1, own_NK, tried_NSM[:, step], symbols_NSM[:, step], tree)
    return [
        [tree.tokens(node) for node in nodes if node != _NO_NODE][:nbest]
        for nodes in prefixes.nodes_NK.tolist()
    ]


def _empty(sources: int, beam: int) -> _Prefixes:
    by_blank_NK = np.full((sources, beam), -math.inf)
    by_blank_NK[:, 0] = 0.0
    nodes_NK = np.full((sources, beam), _NO_NODE, dtype=np.int64)
    nodes_NK[:, 0] = np.arange(sources)
    return _Prefixes(
        np.full_like(by_blank_NK, -math.inf),
        by_blank_NK,
        nodes_NK,
        np.full_like(nodes_NK, _NO_PARENT),
        np.full_like(nodes_NK, BLANK),
    )


def _step(
    before: _Prefixes, blank_N1: Reals, own_NK: Reals, tried_NM: Reals, symbols_NM: Ids, tree: _Tree
) -> _Prefixes:
    """Let all paths take a step, and keep the best prefixes, best first.

    `own_NK` are the log-probabilities of the prefixes' last symbols, `tried_NM` those of `symbols_NM`.
    """
    total_NK = np.logaddexp(before.by_symbol_NK, before.by_blank_NK)
    stay_blank_NK = total_NK + blank_N1
    stay_symbol_NK = before.by_symbol_NK + own_NK
    # Upon itself a symbol follows only after a blank.
    is_again_NKM = symbols_NM[:, None, :] == before.last_NK[:, :, None]
    entering_NKM = np.where(is_again_NKM, before.by_blank_NK[:, :, None], total_NK[:, :, None])
    grown_NKM = entering_NKM + tried_NM[:, None, :]
    # What grows into a prefix that is in the beam already joins it.
    n_X, j_X, k_X = (before.parents_NK[:, :, None] == before.nodes_NK[:, None, :]).nonzero()
    last_X = before.last_NK[n_X, j_X]
    is_again_X = last_X == before.last_NK[n_X, k_X]
    joining_X = np.where(is_again_X, before.by_blank_NK[n_X, k_X], total_NK[n_X, k_X]) + own_NK[n_X, j_X]
    stay_symbol_NK[n_X, j_X] = np.logaddexp(stay_symbol_NK[n_X, j_X], joining_X)
    joined, places = (symbols_NM[n_X] == last_X[:, None]).nonzero()
    grown_NKM[n_X[joined], k_X[joined], places] = -math.inf
    return _chosen(before, stay_symbol_NK, stay_blank_NK, grown_NKM, symbols_NM, tree)


def _chosen(
    before: _Prefixes,
    stay_symbol_NK: Reals,
    stay_blank_NK: Reals,
    grown_NKM: Reals,
    symbols_NM: Ids,
    tree: _Tree,
) -> _Prefixes:
    """Keep the best of the prefixes that there were and those that have grown out of them."""
    sources, beam, tried = grown_NKM.shape
    stayed_NK = np.logaddexp(stay_symbol_NK, stay_blank_NK)
    candidates_NC = np.concatenate([stayed_NK, grown_NKM.reshape(sources, -1)], axis=1)
    order_NK = (-candidates_NC).argsort(axis=1, kind="stable")[:, :beam]
    best_NK = np.take_along_axis(candidates_NC, order_NK, 1)
    has_grown_NK = order_NK >= beam
    from_NK = np.where(has_grown_NK, (order_NK - beam) // tried, order_NK)
    nodes_NK, parents_NK, last_NK, by_symbol_NK, by_blank_NK = (
        np.take_along_axis(array_NK, from_NK, 1)
        for array_NK in (before.nodes_NK, before.parents_NK, before.last_NK, stay_symbol_NK, stay_blank_NK)
    )
    grown_symbols_NK = np.take_along_axis(symbols_NM, (order_NK - beam) % tried, 1)
    last_NK = np.where(has_grown_NK, grown_symbols_NK, last_NK)
    parents_NK = np.where(has_grown_NK, nodes_NK, parents_NK)
    is_lost_NK = best_NK == -math.inf
    is_new_NK = has_grown_NK & ~is_lost_NK
    nodes_NK[is_new_NK] = [
        tree.child(parent, symbol)
        for parent, symbol in zip(parents_NK[is_new_NK].tolist(), last_NK[is_new_NK].tolist(), strict=True)
    ]
    return _Prefixes(
        np.where(has_grown_NK, best_NK, by_symbol_NK),
        np.where(has_grown_NK, -math.inf, by_blank_NK),
        np.where(is_lost_NK, _NO_NODE, nodes_NK),
        np.where(is_lost_NK, _NO_PARENT, parents_NK),
        np.where(is_lost_NK, BLANK, last_NK),
    )


# --- scores


def _scored(
    log_probs_NSV: Tensor, mask_NS: Tensor, found: list[list[list[int]]]
) -> list[tuple[Hypothesis, ...]]:
    """Make hypotheses of the answers to each source, with exact scores, best first."""
    most = max(len(answers) for answers in found)
    padded = [[*answers, *[[]] * (most - len(answers))] for answers in found]
    longest = max(len(tokens) for answers in padded for tokens in answers)
    rows = [[*tokens, *[EOS] * (longest - len(tokens))] for answers in padded for tokens in answers]
    tokens_BT = torch.tensor(rows, device=log_probs_NSV.device).view(len(rows), longest)
    paths = prepare(log_probs_NSV, mask_NS)
    prefixes = empty_prefixes(paths, most)
    scores, ends = [prefixes.scores_B], [prefixes.ends_B]
    for tokens_B in tokens_BT.unbind(1):
        prefixes = prefixes.extend(paths, tokens_B)
        scores.append(prefixes.scores_B)
        ends.append(prefixes.ends_B)
    scores_BT, ends_BT = torch.stack(scores, 1).tolist(), torch.stack(ends, 1).tolist()
    ranked = []
    for source, answers in enumerate(found):
        places = range(source * most, source * most + len(answers))
        hypotheses = [
            _hypothesis(tokens, scores_BT[place], ends_BT[place])
            for place, tokens in zip(places, answers, strict=True)
        ]
        ranked.append(tuple(sorted(hypotheses, key=lambda one: one.score, reverse=True)))
    return ranked


def _hypothesis(tokens: list[int], scores_T: list[float], ends_T: list[float]) -> Hypothesis:
    """Make a hypothesis from the scores of its prefixes, and from how probable it is that each is all."""
    totals = [*scores_T[: len(tokens) + 1], ends_T[len(tokens)]]
    log_probs = [later - earlier for earlier, later in itertools.pairwise(totals)]
    return Hypothesis((*tokens, EOS), tuple(log_probs), totals[-1], is_finished=True)
