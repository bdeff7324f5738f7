"""One mechanism for greedy search, beam search and sampling; it knows nothing of what a decoder remembers.

N sources still being answered, K rows of each, B = N·K rows, T target steps so far, S source steps, V
vocabulary, M answers wanted.

Every step continues all rows by one token. They differ only in how the tokens are chosen: the most probable
one, the K best continuations of a source's rows together, or a draw for each row. A continuation with the end
symbol is put aside as finished and frees its row; sources that are done leave the batch, some at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace

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
    top,
)
from dragoman.decoding.rules import Rules, coverage_penalty, length_divisor, rules_for
from dragoman.decoding.sampling import Words, draw, streams, uniforms
from dragoman.decoding.tracing import Trace
from dragoman.errors import UserError
from dragoman.model.contracts import State, rows_of
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.decoding import Beam, Greedy, Sample, TokenDecoding
from dragoman.records import BOS, EOS, Hypothesis, Sequence

_LEAVING = 8
"""Sources leave the batch when one in so many is done."""
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
    trace: Trace | None = None,
) -> list[tuple[Hypothesis, ...]]:
    """Return the hypotheses of each source, best first: finished ones, then those cut at the length limit.

    Greedy search gives one, a beam at most `nbest` different ones, sampling `samples`. A hypothesis starts
    with its source's prefix, if there is one; `keys` name the sources for sampling (by default 0, 1, 2...):
    same key, same draws. The score is the sum of log-probabilities, in a beam divided by ((5 + length) /
    6)^`length_penalty` less the coverage penalty (Wu et al. 2016).

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
    front = _start(model, source, section, prefixes, keys)
    answers: list[list[Hypothesis]] = [[] for _ in range(len(source.lengths_B))]
    while len(front.sources_N):
        front = _step(model, front, section, reads, answers, trace)
    if trace is not None:
        trace.ended = tuple(answers[0])
    return [_best(found, section) for found in answers]


def _best(found: list[Hypothesis], section: TokenDecoding) -> tuple[Hypothesis, ...]:
    ranked = sorted(found, key=lambda hypothesis: (hypothesis.is_finished, hypothesis.score), reverse=True)
    match section:
        case Beam():
            ranked = ranked[: section.nbest]
        case Greedy() | Sample():
            pass
    return tuple(ranked) or (FAILED,)


@dataclass(frozen=True)
class _Front:
    """All that is live. Rows of ended hypotheses stay in place, with a total of minus infinity.

    What decides is held in NumPy, on the host; where the model computes there are only its own state and, on
    request, where it looked.
    """

    sources_N: Ids
    """Which inputs these are."""
    state: State
    rules: Rules
    streams_NK: Words
    lengths_N: Ids
    """Steps of the memory of each source."""
    best_NM: Reals
    """Best scores of finished hypotheses, largest first; minus infinity where there are fewer."""
    finished_N: Ids
    totals_NK: Reals
    tokens_BT: Ids
    log_probs_BT: Reals
    device: torch.device
    reads_BTS: Tensor | None = None

    @property
    def rows_per_source(self) -> int:
        return int(self.totals_NK.shape[1])

    @property
    def is_live_NK(self) -> NDArray[np.bool_]:
        return np.not_equal(self.totals_NK, -math.inf)

    @property
    def step(self) -> int:
        return int(self.tokens_BT.shape[1])

    def there(self, ids: Ids) -> Tensor:
        """Return these numbers where the model computes."""
        return torch.from_numpy(ids).to(self.device)

    def keep(self, sources: Ids) -> _Front:
        kept, beams = self.there(sources), self.rows_per_source
        rows_B = (sources[:, None] * beams + np.arange(beams)).reshape(-1)
        return replace(
            self,
            sources_N=self.sources_N[sources],
            state=self.state.keep(kept),
            rules=self.rules.keep(sources),
            streams_NK=self.streams_NK[sources],
            lengths_N=self.lengths_N[sources],
            best_NM=self.best_NM[sources],
            finished_N=self.finished_N[sources],
            totals_NK=self.totals_NK[sources],
            tokens_BT=self.tokens_BT[rows_B],
            log_probs_BT=self.log_probs_BT[rows_B],
            reads_BTS=None if self.reads_BTS is None else self.reads_BTS[rows_of(kept, beams)],
        )


def _start(
    model: Seq2Seq,
    source: Sequence,
    section: TokenDecoding,
    prefixes: Listed[Listed[int]] | None,
    keys: Listed[int] | None,
) -> _Front:
    match section:
        case Greedy():
            rows, wanted, seed = 1, 1, 0
        case Beam():
            rows, wanted, seed = 1, section.nbest, 0  # all would start alike: the first step makes more
        case Sample():
            rows, wanted, seed = section.samples, section.samples, section.seed
    memory = model.encode(source)
    lengths_N = memory.mask_NS.sum(dim=1).cpu().numpy()
    sources = len(lengths_N)
    rules = rules_for(lengths_N, section, prefixes)
    return _Front(
        sources_N=np.arange(sources),
        state=model.start(memory, rows),
        rules=rules,
        streams_NK=streams(seed, range(sources) if keys is None else keys, rows),
        lengths_N=lengths_N,
        best_NM=np.full((sources, wanted), -math.inf),
        finished_N=np.zeros(sources, dtype=np.int64),
        totals_NK=np.zeros((sources, rows)),
        tokens_BT=np.zeros((sources * rows, 0), dtype=np.int64),
        log_probs_BT=np.zeros((sources * rows, 0)),
        device=source.lengths_B.device,
    )


def _step(
    model: Seq2Seq,
    front: _Front,
    section: TokenDecoding,
    reads: bool,
    answers: list[list[Hypothesis]],
    trace: Trace | None,
) -> _Front:
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


def _without_broken(front: _Front, normaliser_B: Reals, answers: list[list[Hypothesis]]) -> _Front:
    """Give up sources that have a live row without probabilities, with all that was found for them."""
    is_finite_B = np.isfinite(normaliser_B)
    if is_finite_B.all():
        return front
    is_fine_NK = is_finite_B.reshape(front.totals_NK.shape) | ~front.is_live_NK
    is_broken_N = np.logical_not(is_fine_NK.all(axis=1))
    for source in front.sources_N[is_broken_N].tolist():
        answers[source].clear()
    return replace(front, totals_NK=np.where(is_broken_N[:, None], -math.inf, front.totals_NK))


def _choose(
    logits_BV: Tensor, normaliser_B: Reals, bounds_BX: Bounds | None, front: _Front, section: TokenDecoding
) -> Choice:
    match section:
        case Beam() if section.beam > 1:
            return best_continuations(logits_BV, normaliser_B, front.totals_NK, section.beam, bounds_BX)
        case Sample():
            numbers_B = uniforms(front.streams_NK, front.step).reshape(-1)
            tokens_B = draw(logits_BV, torch.from_numpy(numbers_B).to(front.device), section)
            logits_B = logits_BV.gather(1, tokens_B[:, None])[:, 0]
        case _:
            logits_B, tokens_B = (found_B1[:, 0] for found_B1 in top(logits_BV, 1, bounds_BX))
    return continue_rows(logits_B, normaliser_B, front.totals_NK, tokens_B)


def _append(front: _Front, state: State, choice: Choice, reads_B1S: Tensor | None) -> _Front:
    """Move what was written to the rows that continue it, and write the chosen tokens there."""
    tokens_BT, log_probs_BT, reads_BTS = front.tokens_BT, front.log_probs_BT, front.reads_BTS
    if reads_B1S is not None:
        reads_BTS = reads_B1S if reads_BTS is None else torch.cat([reads_BTS, reads_B1S], dim=1)
    if choice.parents_NK is not None:
        rows_B = _rows(choice.parents_NK, front.rows_per_source)
        tokens_BT, log_probs_BT = tokens_BT[rows_B], log_probs_BT[rows_B]
        reads_BTS = None if reads_BTS is None else reads_BTS[front.there(rows_B)]
    return replace(
        front,
        state=state,
        totals_NK=choice.totals_NK,
        tokens_BT=np.concatenate([tokens_BT, choice.tokens_NK.reshape(-1, 1)], axis=1),
        log_probs_BT=np.concatenate([log_probs_BT, choice.log_probs_NK.reshape(-1, 1)], axis=1),
        reads_BTS=reads_BTS,
    )


def _put_aside(front: _Front, section: TokenDecoding, reads: bool, answers: list[list[Hypothesis]]) -> _Front:
    """Collect what has ended, by the end symbol or at the length limit, and free its rows."""
    is_finished_NK = (front.tokens_BT[:, -1].reshape(front.totals_NK.shape) == EOS) & front.is_live_NK
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
    best_NX = np.sort(np.concatenate([front.best_NM, found_NK], axis=1), axis=1)
    return replace(
        front,
        totals_NK=np.where(is_ended_NK, -math.inf, front.totals_NK),
        best_NM=best_NX[:, ::-1][:, : front.best_NM.shape[1]],
        finished_N=front.finished_N + is_finished_NK.sum(axis=1),
    )


def _scores(front: _Front, rows: Ids, section: TokenDecoding) -> Reals:
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


def _collect(front: _Front, rows: Ids, scores_R: Reals, reads: bool, answers: list[list[Hypothesis]]) -> None:
    held = rows // front.rows_per_source
    source_lengths = front.lengths_N[held].tolist()
    shown = reads and front.reads_BTS is not None
    reads_RTS = front.reads_BTS[front.there(rows)].cpu() if shown and front.reads_BTS is not None else None
    found = zip(
        front.sources_N[held].tolist(),
        front.tokens_BT[rows].tolist(),
        front.log_probs_BT[rows].tolist(),
        scores_R.tolist(),
        strict=True,
    )
    for place, (source, tokens, log_probs, score) in enumerate(found):
        reads_TS = None if reads_RTS is None else reads_RTS[place, :, : source_lengths[place]]
        answers[source].append(
            Hypothesis(tuple(tokens), tuple(log_probs), score, tokens[-1] == EOS, reads_TS)
        )


def _go_on(front: _Front, parents_NK: Ids | None, beams: int, section: TokenDecoding) -> _Front:
    """Let sources go that are done, then let each remaining state follow the hypothesis that continues it.

    `beams` is how many rows each source had before. Whatever is held of the others is copied when sources go,
    so the first to be done wait, without a live row, for some more.
    """
    is_done_N = _is_done(front, section)
    done = int(is_done_N.sum())
    if done * _LEAVING >= len(is_done_N):
        staying = (~is_done_N).nonzero()[0]
        if not len(staying):
            return replace(front, sources_N=staying)
        front = front.keep(staying)
        parents_NK = None if parents_NK is None else parents_NK[staying]
    elif done:
        front = replace(front, totals_NK=np.where(is_done_N[:, None], -math.inf, front.totals_NK))
    if parents_NK is None:
        return front
    own_K = np.arange(front.rows_per_source)
    if beams == len(own_K) and (front.is_live_NK & (parents_NK == own_K)).all():
        return front
    rows_B = np.where(front.is_live_NK.reshape(-1), _rows(parents_NK, beams), -1)
    return replace(front, state=front.state.select(front.there(rows_B)))


def _is_done(front: _Front, section: TokenDecoding) -> NDArray[np.bool_]:
    """Whether no live hypothesis can still be among the best, or enough have finished and none looks like it.

    The bound: log-probabilities only fall, the divisor is largest at the longest length, and coverage costs
    nothing at best. Once as many have finished as a beam is wide, what counts is how a live one would score
    if it ended now: a count alone would let poor early ends crowd out a better answer still being written.
    """
    power, enough = 0.0, front.rows_per_source
    if isinstance(section, Beam):
        power, enough = section.length_penalty, section.beam
    totals_N, worst_N = front.totals_NK.max(axis=1), front.best_NM[:, -1]
    cannot_win_N = totals_N / length_divisor(front.rules.longest_N, power) <= worst_N
    looks_lost_N = totals_N / length_divisor(front.step + 1, power) <= worst_N
    done_N: NDArray[np.bool_] = cannot_win_N | (looks_lost_N & (front.finished_N >= enough))
    return done_N


def _rows(parents_NK: Ids, beams: int) -> Ids:
    """Turn rows counted within their source, of `beams` each, into rows of the batch."""
    rows_B: Ids = (np.arange(len(parents_NK))[:, None] * beams + parents_NK).reshape(-1)
    return rows_B
