"""How probable the model finds given targets. Shapes: B rows, T target steps, D width, V vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.bundle import Bundle
from dragoman.data.batching import padded
from dragoman.data.frames import Encoded
from dragoman.decoding.batches import answering, batches, named, windows
from dragoman.errors import DataError
from dragoman.model.seq2seq import Seq2Seq
from dragoman.records import BOS, Example
from dragoman.records import Sequence as Padded

_LOGITS_AT_ONCE = 1 << 24
"""Logits of a batch are computed in slices of about this many numbers (64 MiB in float32)."""


@dataclass(frozen=True, slots=True)
class TargetScore:
    """A target's tokens with EOS, what they stand for, their natural log-probabilities, the sum of these."""

    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    log_probs: tuple[float, ...]
    total: float


@dataclass(frozen=True, slots=True)
class Scored:
    """An example with a score for each of its targets, in their order."""

    example: Example
    targets: tuple[TargetScore, ...]


@dataclass(frozen=True)
class _Pair:
    """One source with one of its targets; `place` is that of the example in its window."""

    place: int
    source: Encoded
    target: NDArray[np.int32]


def score(bundle: Bundle, examples: Iterable[Example]) -> Iterator[Scored]:
    """Score the targets of examples in their order, as a stream, in batches of `decoding.batch_tokens`.

    The log-probabilities are the model's own, given the true tokens before (teacher forcing), in nats, and
    end with that of EOS. Raises DataError with its place for an example without targets, one that cannot be
    encoded, and one too long for the model, after the scores before it.
    """
    for window in windows(examples):
        pairs, faults = _encode(bundle, window)
        with answering(bundle.model):
            log_probs = _score_pairs(bundle, pairs, faults)
        found: list[list[TargetScore]] = [[] for _ in window]
        for pair, values in zip(pairs, log_probs, strict=True):
            found[pair.place].append(_target_score(bundle, pair, values))
        for place, (number, example) in enumerate(window):
            if place in faults:
                raise named(faults[place], number, example) from faults[place]
            yield Scored(example, tuple(found[place]))


def _encode(bundle: Bundle, window: list[tuple[int, Example]]) -> tuple[list[_Pair], dict[int, DataError]]:
    pairs: list[_Pair] = []
    faults: dict[int, DataError] = {}
    for place, (_, example) in enumerate(window):
        if not example.targets:
            faults[place] = DataError("no target to score")
            continue
        try:
            source = bundle.codecs.source.encode(example.source)
            targets = [bundle.codecs.text.encode(target) for target in example.targets]
        except DataError as fault:
            faults[place] = fault
            continue
        pairs += [_Pair(place, source, target) for target in targets]
    return pairs, faults


def _target_score(bundle: Bundle, pair: _Pair, log_probs: Sequence[float]) -> TargetScore:
    tokens = tuple(pair.target.tolist())
    pieces = tuple(bundle.codecs.text.pieces(tokens))
    return TargetScore(tokens, pieces, tuple(log_probs), sum(log_probs))


def _score_pairs(bundle: Bundle, pairs: list[_Pair], faults: dict[int, DataError]) -> list[list[float]]:
    """Return the log-probabilities of each pair; note the fault of a pair that the model refuses."""
    lengths = [max(len(pair.source), len(pair.target)) for pair in pairs]
    found: list[list[float]] = [[] for _ in pairs]
    for batch in batches(lengths, bundle.recipe.decoding.batch_tokens):
        try:
            scored = _score_batch(bundle, [pairs[member] for member in batch])
        except DataError:
            scored = [_score_alone(bundle, pairs[member], faults) for member in batch]
        for member, log_probs in zip(batch, scored, strict=True):
            found[member] = log_probs
    return found


def _score_alone(bundle: Bundle, pair: _Pair, faults: dict[int, DataError]) -> list[float]:
    try:
        return _score_batch(bundle, [pair])[0]
    except DataError as fault:
        faults.setdefault(pair.place, fault)
        return []


def _score_batch(bundle: Bundle, pairs: list[_Pair]) -> list[list[float]]:
    source = padded([pair.source for pair in pairs]).to(bundle.device)
    target = padded([pair.target for pair in pairs]).to(bundle.device)
    rows = teacher_forced(bundle.model, source, target).tolist()
    return [row[: len(pair.target)] for row, pair in zip(rows, pairs, strict=True)]


@torch.inference_mode()
def teacher_forced(model: Seq2Seq, source: Padded, target: Padded) -> Tensor:
    """Return the log-probability of each target token given its source and the tokens before it.

    Shape (B, T), float64. What stands in padding means nothing. `model` is in eval mode.
    """
    tokens_BT = target.values
    begin_B1 = torch.full_like(tokens_BT[:, :1], BOS)
    inputs_BT = torch.cat([begin_B1, tokens_BT[:, :-1]], dim=1)
    decoded, _ = model.advance(inputs_BT, model.start(model.encode(source)))
    outputs_XD, tokens_X = decoded.outputs_BTD.flatten(0, 1), tokens_BT.flatten()
    size = max(1, _LOGITS_AT_ONCE // model.target_port.size)
    slices = zip(torch.split(outputs_XD, size), torch.split(tokens_X, size), strict=True)
    log_probs_X = torch.cat([_log_probs(model.logits(outputs), tokens) for outputs, tokens in slices])
    return log_probs_X.view(tokens_BT.shape)


def _log_probs(logits_XV: Tensor, tokens_X: Tensor) -> Tensor:
    own_X = logits_XV.gather(1, tokens_X[:, None]).flatten()
    return own_X.double() - logits_XV.logsumexp(dim=1)
