"""How good each of some texts is if another of them were the right one: utilities of sentence pairs.

Shapes: U texts, L their units in a row, G n-grams.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from dragoman.recipe.decoding import Utility

Reals = NDArray[np.float64]
Ids = NDArray[np.int64]

_CHRF_ORDERS, _CHRF_RECALL = 6, 4.0  # chrF2: recall counts beta squared, 4 times (Popović 2015)
_BLEU_ORDERS = 4


def likeness(utility: Utility, texts: Sequence[str]) -> Reals:
    """Return how good text i is if text j is right, (U, U), 1 at best.

    chrF and BLEU are those that sacreBLEU computes of sentences; `cer` and `wer` are 1 less the error rate,
    in characters and in words, below 0 where there are more errors than units.
    """
    match utility:
        case "chrf":
            return _chrf(["".join(text.split()) for text in texts])
        case "bleu":
            tokenize = Tokenizer13a()  # type: ignore[no-untyped-call]
            return _bleu([tokenize(text.rstrip()).split() for text in texts])
        case "cer":
            return _correct(texts)
        case "wer":
            return _correct([text.split() for text in texts])
        case "exact_match":
            return np.array([[float(one == other) for other in texts] for one in texts])


def _chrf(texts: Sequence[str]) -> Reals:
    matches, counts = _matches(texts, _CHRF_ORDERS)
    both = np.minimum(counts[:, :, None], counts[:, None, :]) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        orders = np.maximum(both.sum(axis=0), 1)
        precision = np.where(both, matches / counts[:, :, None], 0).sum(axis=0) / orders
        recall = np.where(both, matches / counts[:, None, :], 0).sum(axis=0) / orders
        found = (1 + _CHRF_RECALL) * precision * recall / (_CHRF_RECALL * precision + recall)
    return np.where(precision + recall > 0, found, 0.0)


def _bleu(texts: Sequence[Sequence[str]]) -> Reals:
    matches, counts = _matches(texts, _BLEU_ORDERS)
    totals = np.broadcast_to(counts[:, :, None], matches.shape)
    is_counted = totals > 0
    missed = (matches == 0) & is_counted
    halvings = np.cumsum(missed, axis=0)  # each order without a match counts half as much as the last one
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(missed, 0.5**halvings, matches) / totals
        logs = np.where(is_counted, np.log(precision), 0).sum(axis=0) / np.maximum(is_counted.sum(axis=0), 1)
        brevity = np.minimum(1 - counts[0][None, :] / counts[0][:, None], 0)
    return np.where(matches.any(axis=0), np.exp(logs + brevity), 0.0)


def _correct(texts: Sequence[Sequence[Hashable]]) -> Reals:
    units: dict[Hashable, int] = {}
    rows = [[units.setdefault(unit, len(units)) for unit in text] for text in texts]
    edits = cdist(rows, rows, scorer=Levenshtein.distance, dtype=np.int32)
    return 1 - edits / np.maximum([len(row) for row in rows], 1)[None, :]


def _matches(texts: Sequence[Sequence[Hashable]], orders: int) -> tuple[Reals, Reals]:
    """Return the n-grams that two texts have in common (orders, U, U), and those of each (orders, U).

    The first and the second "ab" of a text are two different things; then what two texts have in common is a
    product of two rows of zeros and ones.
    """
    units: dict[Hashable, int] = {}
    units_L = np.array([units.setdefault(unit, len(units)) for text in texts for unit in text], np.int64)
    lengths = np.array([len(text) for text in texts], np.int64)
    owners_L = np.repeat(np.arange(len(texts)), lengths)
    left_L = np.repeat(lengths.cumsum(), lengths) - np.arange(len(owners_L))
    matches, counts = [], []
    grams_L = np.zeros_like(units_L)
    for order in range(orders):
        grams_L = np.unique(grams_L * len(units) + np.roll(units_L, -order), return_inverse=True)[1]
        whole = left_L > order
        found_UG = _indicators(grams_L[whole], owners_L[whole], len(texts))
        matches.append(found_UG @ found_UG.T)
        counts.append(found_UG.sum(axis=1))
    return np.array(matches, np.float64), np.array(counts, np.float64)


def _indicators(grams_L: Ids, owners_L: Ids, texts: int) -> NDArray[np.float32]:
    """Return 1 where a text has an n-gram for the first, second, ... time, (U, G)."""
    order_L = np.lexsort((owners_L, grams_L))
    grams_L, owners_L = grams_L[order_L], owners_L[order_L]
    is_new_L = np.ones(len(grams_L), bool)
    is_new_L[1:] = (grams_L[1:] != grams_L[:-1]) | (owners_L[1:] != owners_L[:-1])
    places_L = np.arange(len(grams_L))
    times_L = places_L - np.maximum.accumulate(np.where(is_new_L, places_L, 0))
    things, things_L = np.unique(np.stack([grams_L, times_L]), axis=1, return_inverse=True)
    found_UG = np.zeros((texts, things.shape[1]), np.float32)
    found_UG[owners_L, things_L.reshape(-1)] = 1
    return found_UG
