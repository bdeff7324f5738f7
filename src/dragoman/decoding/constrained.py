"""A beam whose answers contain some phrases and not others: dynamic beam allocation (Post and Vilar 2018).

N sources, K rows of each source, B = N·K rows, V vocabulary, C candidates of a row.

Phrases are followed through the text of each row, so that it does not matter how it is cut into tokens. Of
each row, its best tokens are candidates, and those that write more of a phrase that is missing. Candidates
are put into banks by how many phrases they have, and whether they have begun one; each bank in its turn gives
the best that it has, and the row that is furthest always goes on. An answer that has all its phrases ends at
its longest length rather than be cut there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.decoding.choosing import Bounds, Choice, Ids, Reals, continuations, top
from dragoman.decoding.phrases import Phrase, Place, Spelling
from dragoman.records import EOS

_SPARE = 2
"""So many times the width of the beam is looked at first of each row: some tokens may be forbidden."""


class Wanted(NamedTuple):
    """Phrases that the answer to a source must and must not contain."""

    must: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    whole_words: bool = True


@dataclass(frozen=True)
class Demand:
    """Phrases that the answer to a source must and must not contain, ready to be followed."""

    must: tuple[Phrase, ...]
    never: tuple[Phrase, ...]

    def after(self, places: tuple[Place, ...], token: int) -> tuple[Place, ...]:
        """Return where each phrase, of `must` and then of `never`, is after one more token."""
        phrases = self.must + self.never
        return tuple(phrase.after(place, token) for phrase, place in zip(phrases, places, strict=True))

    def allows(self, places: tuple[Place, ...], is_last: bool, is_finished: bool) -> bool:
        """Say whether a text may stand as it is; the last token, the end symbol among them, ends a word."""
        behind = places[len(self.must) :]
        for phrase, place in zip(self.never, behind, strict=True):
            if phrase.is_in(place) if is_last or is_finished else phrase.is_past(place):
                return False
        return not is_finished or not self.missing(places)

    def missing(self, places: tuple[Place, ...]) -> list[tuple[Phrase, Place]]:
        """Return the phrases that must still be written, and how far they are."""
        pairs = zip(self.must, places, strict=False)
        return [(phrase, place) for phrase, place in pairs if not phrase.is_in(place)]

    def is_open(self, places: tuple[Place, ...]) -> bool:
        """Say whether a phrase has been written that a longer word would spoil."""
        pairs = zip(self.must, places, strict=False)
        return any(phrase.is_in(place) and not phrase.is_past(place) for phrase, place in pairs)


@dataclass(frozen=True)
class Followed:
    """What is demanded of each source, and how far each row is with it."""

    demands: tuple[Demand, ...]
    places: tuple[tuple[Place, ...], ...]
    spelling: Spelling

    def keep(self, sources: Ids, rows_B: Ids) -> Followed:
        """Keep the given sources and their rows."""
        demands = tuple(self.demands[source] for source in sources.tolist())
        return replace(self, demands=demands, places=tuple(self.places[row] for row in rows_B.tolist()))

    def after(self, rows_B: Ids, tokens_B: Ids) -> Followed:
        """Return how far rows are that continue the given ones by the given tokens."""
        each = len(rows_B) // len(self.demands)
        pairs = enumerate(zip(rows_B.tolist(), tokens_B.tolist(), strict=True))
        places = (self.demands[at // each].after(self.places[row], token) for at, (row, token) in pairs)
        return replace(self, places=tuple(places))


def followed_from(wanted: Sequence[Wanted], spelling: Spelling) -> Followed:
    """Prepare to follow the phrases of each source, from one empty row of each."""
    demands = []
    for must, never, whole_words in wanted:
        phrases = [tuple(spelling.phrase(text, whole_words) for text in texts) for texts in (must, never)]
        demands.append(Demand(*phrases))
    starts = (tuple(Phrase.START for _ in demand.must + demand.never) for demand in demands)
    return Followed(tuple(demands), tuple(starts), spelling)


class _Candidate(NamedTuple):
    """A token after a row of its source; `bank` and `advance` say how far it is with its phrases."""

    total: float
    log_prob: float
    row: int
    token: int
    bank: int
    advance: tuple[int, int]


def constrained_continuations(
    logits_BV: Tensor,
    normaliser_B: Reals,
    totals_NK: Reals,
    beam: int,
    followed: Followed,
    is_last_N: NDArray[np.bool_],
    bounds_BX: Bounds | None = None,
) -> Choice:
    """Choose `beam` continuations of each source that keep to what is demanded of it.

    Where `is_last_N`, answers are cut after this token. Some rows may come without a hypothesis.
    """
    sources, beams = totals_NK.shape
    best = continuations(logits_BV, normaliser_B, totals_NK, _SPARE * beam, bounds_BX)
    tokens_NKC, log_probs_NKC, totals_NKC = (part.tolist() for part in best)
    forced = _forced(logits_BV, normaliser_B, totals_NK, followed, is_last_N)
    chosen = []
    for source, demand in enumerate(followed.demands):
        found: dict[tuple[int, int], _Candidate] = {}
        for row in (totals_NK[source] > -math.inf).nonzero()[0].tolist():
            at = source * beams + row
            look = _Look(demand, followed.places[at], row, bool(is_last_N[source]))
            columns = (tokens_NKC[source][row], log_probs_NKC[source][row], totals_NKC[source][row])
            allowed = look.allowed(zip(*columns, strict=True), beam)
            if len(allowed) < beam and len(columns[0]) < logits_BV.shape[1]:
                total, normaliser = float(totals_NK[source, row]), float(normaliser_B[at])
                allowed = look.allowed(_all_tokens(logits_BV[at], normaliser, total), beam)
            allowed += look.allowed(forced.get(at, ()), logits_BV.shape[1])
            found |= {(row, one.token): one for one in allowed}
        chosen.append(_allocate(list(found.values()), beam))
    return _as_choice(chosen, beam)


class _Look(NamedTuple):
    """What is looked at where a row goes on."""

    demand: Demand
    places: tuple[Place, ...]
    row: int
    is_last: bool

    def allowed(self, tokens: Iterable[tuple[int, float, float]], most: int) -> list[_Candidate]:
        """Return candidates of (token, log-probability, total), best first, that keep to the demand."""
        found: list[_Candidate] = []
        for token, log_prob, total in tokens:
            if len(found) == most:
                break
            if total == -math.inf:
                continue
            places = self.demand.after(self.places, token)
            if self.demand.allows(places, self.is_last, token == EOS):
                found.append(_Candidate(total, log_prob, self.row, token, *self._rank(places, token)))
        return found

    def _rank(self, places: tuple[Place, ...], token: int) -> tuple[int, tuple[int, int]]:
        missing = self.demand.missing(places)
        bank = 2 * (len(self.demand.must) - len(missing))
        if not missing:
            is_timely = bool(self.demand.must) and self.is_last and token == EOS
            return bank + is_timely, (int(is_timely), 0)
        furthest = max(phrase.progress(place) for phrase, place in missing)
        return bank + (furthest > 0), (furthest, int(any(place.is_free for _, place in missing)))


def _allocate(candidates: list[_Candidate], beam: int) -> list[_Candidate]:
    """Give rows to the furthest, then to the banks in turn, those with the most phrases first."""
    if not candidates:
        return []
    ranked = sorted(candidates, key=lambda one: (-one.total, one.row, one.token))
    furthest = max(ranked, key=lambda one: (one.bank // 2, one.advance))
    banks: dict[int, list[_Candidate]] = {}
    for one in ranked:
        if one is not furthest:
            banks.setdefault(one.bank, []).append(one)
    by_turn = chain.from_iterable(zip_longest(*(banks[bank] for bank in sorted(banks, reverse=True))))
    return [furthest, *(one for one in by_turn if one is not None)][:beam]


def _forced(
    logits_BV: Tensor,
    normaliser_B: Reals,
    totals_NK: Reals,
    followed: Followed,
    is_last_N: NDArray[np.bool_],
) -> dict[int, list[tuple[int, float, float]]]:
    """Return for each row the tokens that write more of what it misses: the best and the longest of each.

    A row that misses nothing may end before it is cut, and where the word of a phrase must end, the word may.
    """
    beams = totals_NK.shape[1]
    asked: list[tuple[int, list[int]]] = []
    for row in np.isfinite(totals_NK).reshape(-1).nonzero()[0].tolist():
        demand = followed.demands[row // beams]
        missing = demand.missing(followed.places[row])
        asked += [(row, phrase.next_tokens(place)) for phrase, place in missing]
        is_open = demand.is_open(followed.places[row])
        if demand.must and not missing and (is_open or is_last_N[row // beams]):
            asked.append((row, [EOS]))
        if is_open:
            asked.append((row, followed.spelling.beginnings(followed.spelling.separator.encode())))
    rows = [row for row, tokens in asked for _ in tokens]
    if not rows:
        return {}
    places = torch.tensor([rows, [token for _, tokens in asked for token in tokens]]).to(logits_BV.device)
    logits = iter(logits_BV[places[0], places[1]].tolist())
    found: dict[int, list[tuple[int, float, float]]] = {}
    written = followed.spelling.written
    for row, tokens in asked:
        pairs = [(next(logits), token) for token in tokens]
        longest = max(pairs, key=lambda pair: len(written[pair[1]]), default=None)
        for logit, token in {max(pairs), longest} if longest else ():
            log_prob = logit - float(normaliser_B[row])
            found.setdefault(row, []).append((token, log_prob, float(totals_NK.flat[row]) + log_prob))
    return found


def _all_tokens(logits_V: Tensor, normaliser: float, total: float) -> Iterator[tuple[int, float, float]]:
    logits_1V, tokens_1V = top(logits_V[None], len(logits_V))
    for logit, token in zip(logits_1V[0].tolist(), tokens_1V[0].tolist(), strict=True):
        yield token, logit - normaliser, total + (logit - normaliser)


def _as_choice(chosen: Sequence[Sequence[_Candidate]], beam: int) -> Choice:
    """Put candidates side by side; where there are too few, rows come without a hypothesis."""
    nothing = _Candidate(-math.inf, -math.inf, 0, EOS, 0, (0, 0))
    rows = [[*found, *[nothing] * (beam - len(found))] for found in chosen]
    return Choice(
        np.array([[one.token for one in found] for found in rows], dtype=np.int64),
        np.array([[one.log_prob for one in found] for found in rows]),
        np.array([[one.total for one in found] for found in rows]),
        np.array([[one.row for one in found] for found in rows], dtype=np.int64),
    )
