"""One mechanism for greedy search, beam search and sampling; it knows nothing of what a decoder remembers.

N sources still being answered, K rows of each, B = N·K rows, G groups of rows, T target steps so far, S
source steps, V vocabulary, M answers wanted of a group.

Every step continues all rows by one token. They differ only in how the tokens are chosen: the most probable
one, the K best continuations of a source's rows together or of each group of them, or a draw for each row.
A continuation with the end symbol is put aside as finished and frees its row; sources that are done leave
the batch, some at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Listed
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.decoding.choosing import (
    Bounds,
    Choice,
    Ids,
    Reals,
    best_continuations,
    continue_rows,
    normalisers,
)
from dragoman.decoding.constrained import Followed, constrained_continuations
from dragoman.decoding.diverse import diverse_continuations, in_turn
from dragoman.decoding.front import Front
from dragoman.decoding.greedy import greedy_at_once
from dragoman.decoding.rules import coverage_penalty, length_divisor, rules_for
from dragoman.decoding.sampling import draw, streams, uniforms
from dragoman.decoding.tracing import Trace
from dragoman.errors import UserError
from dragoman.model.contracts import Memory, State
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.decoding import Beam, Greedy, Sample, TokenDecoding
from dragoman.records import BOS, EOS, Hypothesis, Sequence

_LEAVING = 8
"""Sources leave the batch when one in so many is done."""
Answers = list[list[Hypothesis]]
"""What was found so far for each group of each source."""
FAILED = Hypothesis((), (), -math.inf, False)
"""What a source gets where the model computes no probabilities: NaN, or infinite logits."""


@torch.inference_mode()
def search(
    model: Seq2Seq,
    source: Sequence,
    section: TokenDecoding,
    *,
    prefixes: list[list[int]] | None = None,
    keys: list[int] | None = None,
    reads: bool = False,
    followed: Followed | None = None,
    trace: Trace | None = None,
) -> list[tuple[Hypothesis, ...]]:
    """Return the hypotheses of each source, best first: finished ones, then those cut at the length limit.

    Greedy search gives one, a beam at most `nbest` different ones, sampling `samples`. A hypothesis starts
    with its source's prefix, if there is one; `keys` name the sources for sampling (by default 0, 1, 2...):
    same key, same draws. The score is the sum of log-probabilities, in a beam divided by ((5 + length) /
    6)^`length_penalty` less the coverage penalty (Wu et al. 2016).

    A beam in `groups` searches in each of them, and a token costs `diversity` for each time that an earlier
    group has chosen it at this step (Vijayakumar et al. 2018); scores are without that cost. Of the groups'
    best answers come first the best of each, then the next.

    `followed` are phrases that a beam writes, or keeps from writing: what is finished has all that it must
    have, and nothing contains what it must not.

    A beam is done with a source when no live hypothesis, were it to lose nothing on its way to the longest
    length, could beat the worst of the `nbest` best finished; or when `beam` have finished and none that is
    live, were it to end at once, would beat it. So a beam of one is greedy, and a beam as wide as the tree of
    answers finds the best answer there is.

    Rows do not see each other: in float64 the answers do not depend on the batch. In float32 and below the
    model's own sums may round differently in batches of another shape, which can decide between candidates
    that are as good as equal.

    `model` is in eval mode and on the device of `source`; `trace` is told what was considered, of one source.
    A source without probabilities gets one empty, unfinished hypothesis that scores minus infinity, and does
    not touch the others. Raises UserError for a coverage penalty where the decoder attends to nothing, and
    for a prefix as long as `max_length`.
    """
    if not len(source.lengths_B):
        return []
    if trace is not None and len(source.lengths_B) > 1:
        raise ValueError(f"a trace is of one source, found {len(source.lengths_B)}")
    memory = model.encode(source)
    if isinstance(section, Greedy) and not reads and trace is None:
        at_once = greedy_at_once(model, memory, section, prefixes)
        if at_once is not None:
            return [(one or FAILED,) for one in at_once]
    front = replace(_start(model, memory, section, prefixes, keys), followed=followed)
    answers: Answers = [[] for _ in range(len(source.lengths_B) * front.groups)]
    while len(front.sources_N):
        front = _step(model, front, section, reads, answers, trace)
    if trace is not None:
        trace.ended = tuple(answers[0])
    groups = front.groups
    return [_best(answers[at : at + groups], section) for at in range(0, len(answers), groups)]


def _best(found: Answers, section: TokenDecoding) -> tuple[Hypothesis, ...]:
    match section:
        case Beam() if section.groups > 1:
            ranked = _ranked(in_turn([_ranked(group) for group in found], section.nbest))
        case Beam():
            ranked = _ranked(found[0])[: section.nbest]
        case Greedy() | Sample():
            ranked = _ranked(found[0])
    return tuple(ranked) or (FAILED,)


def _ranked(found: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(found, key=lambda hypothesis: (hypothesis.is_finished, hypothesis.score), reverse=True)


def _start(
    model: Seq2Seq,
    memory: Memory,
    section: TokenDecoding,
    prefixes: Listed[Listed[int]] | None,
    keys: Listed[int] | None,
) -> Front:
    groups = 1
    match section:
        case Greedy():
            rows, wanted, seed = 1, 1, 0
        case Beam():
            rows, wanted, seed = 1, section.nbest, 0  # all would start alike: the first step makes more
            groups = section.groups
        case Sample():
            rows, wanted, seed = section.samples, section.samples, section.seed
    lengths_N = memory.mask_NS.sum(dim=1).cpu().numpy()
    sources = len(lengths_N)
    rules = rules_for(lengths_N, section, prefixes)
    return Front(
        sources_N=np.arange(sources),
        state=model.start(memory, rows),
        rules=rules,
        streams_NK=streams(seed, range(sources) if keys is None else keys, rows),
        lengths_N=lengths_N,
        groups=groups,
        best_GM=np.full((sources * groups, -(-wanted // groups)), -math.inf),
        finished_G=np.zeros(sources * groups, dtype=np.int64),
        totals_NK=np.zeros((sources, rows)),
        tokens_BT=np.zeros((sources * rows, 0), dtype=np.int64),
        log_probs_BT=np.zeros((sources * rows, 0)),
        device=memory.mask_NS.device,
    )


def _step(
    model: Seq2Seq,
    front: Front,
    section: TokenDecoding,
    reads: bool,
    answers: Answers,
    trace: Trace | None,
) -> Front:
    coverage = section.coverage_penalty if isinstance(section, Beam) else 0.0
    rows = len(front.tokens_BT)
    last_B = front.tokens_BT[:, -1] if front.step else np.full(rows, BOS, dtype=np.int64)
    decoded, state = model.advance(front.there(last_B)[:, None], front.state, reads=reads or coverage > 0)
    if coverage and decoded.reads_BTS is None:
        raise UserError("`decoding.coverage_penalty` needs a decoder that attends to its source; set it to 0")
    logits_BV = model.logits(decoded.outputs_BTD[:, -1])
    normaliser_B, bounds_BX = normalisers(logits_BV)
    front = _without_broken(front, normaliser_B, answers)
    front.rules.apply(logits_BV, front.tokens_BT)
    choice = _choose(logits_BV, normaliser_B, bounds_BX, front, section)
    if trace is not None:
        trace.note(front.tokens_BT, front.totals_NK, logits_BV, normaliser_B, choice)
    beams = front.rows_per_source
    front = _append(front, state, choice, decoded.reads_BTS)
    front = _put_aside(front, section, reads, answers)
    return _go_on(front, choice.parents_NK, beams, section)


def _without_broken(front: Front, normaliser_B: Reals, answers: Answers) -> Front:
    """Give up sources that have a live row without probabilities, with all that was found for them."""
    is_finite_B = np.isfinite(normaliser_B)
    if is_finite_B.all():
        return front
    is_fine_NK = is_finite_B.reshape(front.totals_NK.shape) | ~front.is_live_NK
    is_broken_N = np.logical_not(is_fine_NK.all(axis=1))
    for source in front.sources_N[is_broken_N].tolist():
        for found in answers[source * front.groups : (source + 1) * front.groups]:
            found.clear()
    return front.rest(is_broken_N)


def _choose(
    logits_BV: Tensor, normaliser_B: Reals, bounds_BX: Bounds | None, front: Front, section: TokenDecoding
) -> Choice:
    match section:
        case Beam() if front.followed is not None:
            is_last_N = front.rules.longest_N <= front.step + 1
            given = logits_BV, normaliser_B, front.totals_NK, section.beam, front.followed, is_last_N
            return constrained_continuations(*given, bounds_BX)
        case Beam() if section.groups > 1:
            return diverse_continuations(logits_BV, normaliser_B, front.totals_NK, section, bounds_BX)
        case Beam() if section.beam > 1:
            return best_continuations(logits_BV, normaliser_B, front.totals_NK, section.beam, bounds_BX)
        case Sample():
            numbers_B = uniforms(front.streams_NK, front.step).reshape(-1)
            tokens_B = draw(logits_BV, torch.from_numpy(numbers_B).to(front.device), section)
            logits_B = logits_BV.gather(1, tokens_B[:, None])[:, 0]
        case _:
            choice = best_continuations(logits_BV, normaliser_B, front.totals_NK, 1, bounds_BX)
            return replace(choice, parents_NK=None)
    return continue_rows(logits_B, normaliser_B, front.totals_NK, tokens_B)


def _append(front: Front, state: State, choice: Choice, reads_B1S: Tensor | None) -> Front:
    """Move what was written to the rows that continue it, and write the chosen tokens there."""
    tokens_BT, log_probs_BT, reads_BTS = front.tokens_BT, front.log_probs_BT, front.reads_BTS
    followed = front.followed
    if reads_B1S is not None:
        reads_BTS = reads_B1S if reads_BTS is None else torch.cat([reads_BTS, reads_B1S], dim=1)
    if choice.parents_NK is not None:
        rows_B = _rows(choice.parents_NK, front.rows_per_source)
        tokens_BT, log_probs_BT = tokens_BT[rows_B], log_probs_BT[rows_B]
        reads_BTS = None if reads_BTS is None else reads_BTS[front.there(rows_B)]
        followed = followed and followed.after(rows_B, choice.tokens_NK.reshape(-1))
    return replace(
        front,
        state=state,
        totals_NK=choice.totals_NK,
        tokens_BT=np.concatenate([tokens_BT, choice.tokens_NK.reshape(-1, 1)], axis=1),
        log_probs_BT=np.concatenate([log_probs_BT, choice.log_probs_NK.reshape(-1, 1)], axis=1),
        reads_BTS=reads_BTS,
        followed=followed,
    )


def _put_aside(front: Front, section: TokenDecoding, reads: bool, answers: Answers) -> Front:
    """Collect what has ended, by the end symbol or at the length limit, and free its rows."""
    has_end_NK = (front.tokens_BT[:, -1] == EOS).reshape(front.totals_NK.shape)
    if not has_end_NK.any() and front.rules.longest_N.min() > front.step:
        return front
    is_finished_NK = has_end_NK & front.is_live_NK
    is_cut_N1 = front.rules.longest_N[:, None] <= front.step
    is_ended_NK = is_finished_NK | (front.is_live_NK & is_cut_N1)
    rows = is_ended_NK.reshape(-1).nonzero()[0]
    if not len(rows):
        return front
    scores_R = _scores(front, rows, section)
    scores_NK = np.full_like(front.totals_NK, -math.inf)
    scores_NK.reshape(-1)[rows] = scores_R
    _collect(front, rows, scores_R, reads, answers)
    found_NK = np.where(is_finished_NK, scores_NK, -math.inf)
    groups = len(front.best_GM)
    best_GX = np.sort(np.concatenate([front.best_GM, found_NK.reshape(groups, -1)], axis=1), axis=1)
    return replace(
        front,
        totals_NK=np.where(is_ended_NK, -math.inf, front.totals_NK),
        best_GM=best_GX[:, ::-1][:, : front.best_GM.shape[1]],
        finished_G=front.finished_G + is_finished_NK.reshape(groups, -1).sum(axis=1),
    )


def _scores(front: Front, rows: Ids, section: TokenDecoding) -> Reals:
    totals_R = front.totals_NK.reshape(-1)[rows]
    if not isinstance(section, Beam):
        return totals_R
    scores_R: Reals = totals_R / length_divisor(front.step, section.length_penalty)
    if section.coverage_penalty and front.reads_BTS is not None:
        lengths_R1 = torch.from_numpy(front.lengths_N[rows // front.rows_per_source])[:, None]
        reads_RTS = front.reads_BTS[front.there(rows)].cpu()
        mask_RS = torch.arange(reads_RTS.shape[2]) < lengths_R1
        scores_R = scores_R - coverage_penalty(reads_RTS, mask_RS, section.coverage_penalty).numpy()
    return scores_R


def _collect(front: Front, rows: Ids, scores_R: Reals, reads: bool, answers: Answers) -> None:
    held = rows // front.rows_per_source
    source_lengths = front.lengths_N[held].tolist()
    shown = reads and front.reads_BTS is not None
    reads_RTS = front.reads_BTS[front.there(rows)].cpu() if shown and front.reads_BTS is not None else None
    groups = front.groups
    group_R = rows % front.rows_per_source * groups // front.rows_per_source
    found = zip(
        (front.sources_N[held] * groups + group_R).tolist(),
        front.tokens_BT[rows].tolist(),
        front.log_probs_BT[rows].tolist(),
        scores_R.tolist(),
        strict=True,
    )
    for place, (group, tokens, log_probs, score) in enumerate(found):
        reads_TS = None if reads_RTS is None else reads_RTS[place, :, : source_lengths[place]]
        answers[group].append(Hypothesis(tuple(tokens), tuple(log_probs), score, tokens[-1] == EOS, reads_TS))


def _go_on(front: Front, parents_NK: Ids | None, beams: int, section: TokenDecoding) -> Front:
    """Let sources go that are done, then let each remaining state follow the hypothesis that continues it.

    `beams` is how many rows each source had before. Whatever is held of the others is copied when sources go,
    so the first to be done wait, without a live row, for some more.
    """
    is_done_N = is_done_G = _is_done(front, section)
    if front.groups > 1:
        front = front.rest(is_done_G)
        is_done_N = is_done_G.reshape(-1, front.groups).min(axis=1)  # all of them
    done = int(is_done_N.sum())
    if done * _LEAVING >= len(is_done_N):
        staying = (~is_done_N).nonzero()[0]
        if not len(staying):
            return replace(front, sources_N=staying)
        front = front.keep(staying)
        parents_NK = None if parents_NK is None else parents_NK[staying]
    elif done:
        front = front.rest(is_done_N)
    if parents_NK is None:
        return front
    own_K = np.arange(front.rows_per_source)
    if beams == len(own_K) and (front.is_live_NK & (parents_NK == own_K)).all():
        return front
    rows_B = np.where(front.is_live_NK.reshape(-1), _rows(parents_NK, beams), -1)
    return replace(front, state=front.state.select(front.there(rows_B)))


def _is_done(front: Front, section: TokenDecoding) -> NDArray[np.bool_]:
    """Whether in a group no live hypothesis can still be among the best, or enough have finished.

    The bound: log-probabilities only fall, the divisor is largest at the longest length, and coverage costs
    nothing at best. Once as many have finished as a group is wide, what counts is how a live one would score
    if it ended now: a count alone would let poor early ends crowd out a better answer still being written.
    """
    if not front.finished_G.any() and front.is_live_NK.all():
        return np.zeros(len(front.finished_G), dtype=np.bool_)
    power, enough = 0.0, front.rows_per_source
    if isinstance(section, Beam):
        power, enough = section.length_penalty, section.beam // section.groups
    longest_G = front.rules.longest_N if front.groups == 1 else front.rules.longest_N.repeat(front.groups)
    worst_G = front.best_GM[:, -1]
    totals_G: Reals = front.totals_NK.reshape(len(worst_G), -1).max(axis=1)
    cannot_win_G = totals_G / length_divisor(longest_G, power) <= worst_G
    looks_lost_G = totals_G / length_divisor(front.step + 1, power) <= worst_G
    done_G: NDArray[np.bool_] = cannot_win_G | (looks_lost_G & (front.finished_G >= enough))
    return done_G


def _rows(parents_NK: Ids, beams: int) -> Ids:
    """Turn rows counted within their source, of `beams` each, into rows of the batch."""
    rows_B: Ids = (np.arange(len(parents_NK))[:, None] * beams + parents_NK).reshape(-1)
    return rows_B
