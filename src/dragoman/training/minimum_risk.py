"""Batches with answers of the model itself and what each of them costs, for minimum-risk training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dragoman.bundle import Bundle
from dragoman.decoding.decode import searching
from dragoman.decoding.likeness import likeness
from dragoman.decoding.search import search
from dragoman.recipe.decoding import Decoding, Limits, Sample
from dragoman.recipe.objectives import MinimumRisk
from dragoman.records import EOS, PAD, Batch, Candidates
from dragoman.records import Sequence as Padded
from dragoman.training.validation import undisturbed

Tokens = tuple[int, ...]
_FEWEST_TOKENS = 4096
"""Tokens of candidates that fit any memory: smaller parts only take longer."""
_ROWS = 2**32
"""No batch has as many rows: draws of two batches never begin alike."""


def with_candidates(bundle: Bundle, batch: Batch, section: MinimumRisk, draw: int) -> Iterator[Batch]:
    """Cut a batch into parts and give each its candidates: distinct answers that the model draws.

    The candidates of a part have no more tokens than the targets of the batch, padding included, or those of
    one source, so that it takes the memory of the batch. Draws depend on the recipe's seed, on `draw` and on
    the row alone; no random state is touched. They keep to the limits of the recipe's `decoding`, and are
    drawn within its `batch_tokens`.
    """
    found = _drawn(bundle, batch, section, draw)
    most = max(len(one.tokens) for one in found)
    longest = max(len(tokens) for one in found for tokens in one.tokens)
    rows = max(1, max(_FEWEST_TOKENS, batch.target.values.numel()) // (most * longest))
    for start in range(0, len(found), rows):
        part = _part(batch, start, start + rows)
        yield replace(part, candidates=_padded(found[start : start + rows], batch.target.lengths_B.device))


@dataclass(frozen=True)
class _Found:
    """The candidates of one source, and what each costs."""

    tokens: Sequence[Tokens]
    costs: Sequence[float]


def _drawn(bundle: Bundle, batch: Batch, section: MinimumRisk, draw: int) -> list[_Found]:
    """Draw answers to every source of a batch, and put a price on them."""
    model, sample = searching(bundle, _sampling(bundle, section))
    assert isinstance(sample, Sample), "what `_sampling` returns"
    steps = max(1, batch.source.values.shape[1])
    rows = max(1, sample.batch_tokens // (steps * sample.samples))
    found = []
    with undisturbed(model):
        for start in range(0, len(batch.ids), rows):
            part = _part(batch, start, start + rows)
            keys = [draw * _ROWS + start + row for row in range(len(part.ids))]
            hypotheses = search(model, part.source, sample, keys=keys)
            for answers, gold in zip(hypotheses, _tokens(part.target), strict=True):
                found.append(_priced(bundle, section, gold, [one.tokens for one in answers]))
    return found


def _sampling(bundle: Bundle, section: MinimumRisk) -> Sample:
    return Sample(
        method="sample",
        samples=section.samples,
        temperature=section.temperature,
        seed=bundle.recipe.seed,
        **_limits(bundle.recipe.decoding),
    )


def _limits(decoding: Decoding) -> dict[str, Any]:
    """Return what holds for answers in the recipe, but its precision: that of training is exact."""
    if not isinstance(decoding, Limits):
        return {}
    return {name: value for name, value in decoding if name in Limits.model_fields and name != "precision"}


def _priced(bundle: Bundle, section: MinimumRisk, gold: Tokens, answers: Sequence[Tokens]) -> _Found:
    """Return the distinct candidates, without empty ones: a source without probabilities has none."""
    drawn = [gold, *answers] if section.with_reference else answers
    tokens = [one for one in dict.fromkeys(drawn) if one] or [gold]
    decode = bundle.codecs.text.decode
    good = likeness(section.cost, [decode(gold), *map(decode, tokens)])[1:, 0]
    return _Found(tokens, (1 - good).tolist())


# --- tensors


def _tokens(target: Padded) -> Iterator[Tokens]:
    rows = zip(target.values.tolist(), target.lengths_B.tolist(), strict=True)
    return (tuple(row[:length]) for row, length in rows)


def _part(batch: Batch, start: int, stop: int) -> Batch:
    """Return some rows of a batch, padded no longer than they are."""
    links_L3 = batch.links_L3
    if links_L3 is not None:
        rows_L = links_L3[:, 0]
        links_L3 = links_L3[(start <= rows_L) & (rows_L < stop)] - links_L3.new_tensor([start, 0, 0])
    source, target = _rows(batch.source, start, stop), _rows(batch.target, start, stop)
    return Batch(source, target, batch.ids[start:stop], links_L3)


def _rows(sequence: Padded, start: int, stop: int) -> Padded:
    lengths_B = sequence.lengths_B[start:stop]
    return Padded(sequence.values[start:stop, : int(lengths_B.max())], lengths_B)


def _padded(found: Sequence[_Found], device: torch.device) -> Candidates:
    """Give all sources as many rows; where there are fewer candidates an end symbol alone fills them."""
    most = max(len(one.tokens) for one in found)
    rows: list[Tokens] = []
    costs, masks = [], []
    for one in found:
        missing = most - len(one.tokens)
        rows += [*one.tokens, *[(EOS,)] * missing]
        costs.append([*one.costs, *[0.0] * missing])
        masks.append([True] * len(one.tokens) + [False] * missing)
    lengths = [len(row) for row in rows]
    values = [[*row, *[PAD] * (max(lengths) - len(row))] for row in rows]
    answers = Padded(_tensor(values, device), _tensor(lengths, device))
    return Candidates(answers, torch.tensor(costs, device=device), torch.tensor(masks, device=device))


def _tensor(values: object, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=device)
