"""What a search considered at each step, chosen or not, for one source.

Shapes: K rows of the source, V vocabulary, C candidates of a row, T target steps so far; N is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dragoman.decoding.choosing import Choice, Ids, Reals, top
from dragoman.records import Hypothesis

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Continuation:
    """An answer so far, its last token considered: that token's log-probability, and the sum of all."""

    tokens: Tokens
    log_prob: float
    total: float
    is_chosen: bool


class Trace:
    """Listens to a search; of each step it keeps what was chosen and the best of what was not.

    `steps` has for each step what was chosen, then up to `others` of the best that were not, and the best
    continuation of each row that had none chosen. `ended` has all that finished or was cut, in order.
    """

    def __init__(self, others: int = 3) -> None:
        """Listen, and keep so many of a step's best continuations that were not chosen."""
        self.steps: list[tuple[Continuation, ...]] = []
        self.ended: tuple[Hypothesis, ...] = ()
        self._others = others

    def note(
        self, tokens_KT: Ids, totals_NK: Reals, logits_KV: Tensor, normaliser_K: Reals, choice: Choice
    ) -> None:
        """Write down a step: the rows as they were, what could follow by the rules, and what was chosen."""
        rows = [tuple(row) for row in tokens_KT.tolist()]
        chosen = _chosen(rows, choice)
        count = min(choice.tokens_NK.shape[1] + self._others, logits_KV.shape[1])
        passed_over = _candidates(rows, totals_NK[0], logits_KV, normaliser_K, count)
        taken = {one.tokens for one in chosen}
        continued = {tokens[:-1] for tokens in taken}
        others = sorted(
            {one.tokens: one for one in passed_over if one.tokens not in taken}.values(),
            key=lambda one: -one.total,
        )
        kept = {one.tokens: one for one in others[: self._others]}
        for one in others[self._others :]:
            if one.tokens[:-1] not in continued:
                continued.add(one.tokens[:-1])
                kept[one.tokens] = one
        self.steps.append((*chosen, *kept.values()))


def _chosen(rows: list[Tokens], choice: Choice) -> list[Continuation]:
    """Return the continuations that the search goes on with, equal ones of several rows once."""
    parents = range(len(rows)) if choice.parents_NK is None else choice.parents_NK[0].tolist()
    said = zip(
        parents,
        choice.tokens_NK[0].tolist(),
        choice.log_probs_NK[0].tolist(),
        choice.totals_NK[0].tolist(),
        strict=True,
    )
    found = [
        Continuation((*rows[parent], token), log_prob, total, True)
        for parent, token, log_prob, total in said
        if total != -math.inf
    ]
    return list({one.tokens: one for one in found}.values())


def _candidates(
    rows: list[Tokens], totals_K: Reals, logits_KV: Tensor, normaliser_K: Reals, count: int
) -> list[Continuation]:
    """Return the best continuations of each live row that the rules allow."""
    logits_KC, tokens_KC = top(logits_KV, count)
    with np.errstate(invalid="ignore"):
        log_probs_KC = logits_KC.cpu().numpy().astype(np.float64) - normaliser_K[:, None]
    return [
        Continuation((*rows[row], token), log_prob, float(totals_K[row]) + log_prob, False)
        for row in np.flatnonzero(np.isfinite(totals_K)).tolist()
        for token, log_prob in zip(tokens_KC[row].tolist(), log_probs_KC[row].tolist(), strict=True)
        if math.isfinite(log_prob)
    ]
