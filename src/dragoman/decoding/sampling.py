"""Draws that depend on nothing but (seed, input, sample, step), whatever else is in the batch.

N sources, K samples of each source, B = N·K rows, V vocabulary, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.decoding.choosing import top
from dragoman.recipe.decoding import Sample

Words = NDArray[np.uint64]

# SplitMix64 (Steele, Lea and Flood 2014): the odd step of its counter, the constants of its mixing function.
_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD = 1 << 64
_USUAL_NUCLEUS = (
    256  # sorting so many tokens is nearly always enough for `top_p`, and costs a tenth of sorting all
)
_BITS = 48  # of a uniform number: few enough for u·x < x in float64


def streams(seed: int, keys: Sequence[int], samples: int) -> Words:
    """Return the start of one SplitMix64 stream for each input and sample, (N, K)."""
    keys_N = np.array([key % _WORD for key in keys], dtype=np.uint64)
    seeded_N = _mix(_mix(np.array([seed % _WORD], dtype=np.uint64)) + keys_N)
    samples_K: Words = np.arange(samples, dtype=np.uint64)
    return _mix(seeded_N[:, None] + samples_K)


def uniforms(streams_NK: Words, step: int) -> NDArray[np.float64]:
    """Return the number in [0, 1) of each stream at a step, counted from 0."""
    offset = np.uint64((step + 1) * _STEP % _WORD)
    return (_mix(streams_NK + offset) >> np.uint64(64 - _BITS)).astype(np.float64) * 2.0**-_BITS


def uniform_runs(streams_NK: Words, first: int, count: int) -> NDArray[np.float64]:
    """Return the numbers in [0, 1) of each stream at `count` steps from a step on: (N, K, count)."""
    offsets = np.arange(first + 1, first + count + 1, dtype=np.uint64) * np.uint64(_STEP)
    return (_mix(streams_NK[..., None] + offsets) >> np.uint64(64 - _BITS)).astype(np.float64) * 2.0**-_BITS


def _mix(words: Words) -> Words:
    words = words + np.uint64(_STEP)
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def draw(logits_BV: Tensor, uniforms_B: Tensor, section: Sample) -> Tensor:
    """Draw a token for each row, (B,), from allowed logits: `temperature`, `epsilon`, `top_k`, `top_p`.

    Tokens lie in [0, 1) side by side, each as wide as it is probable, and the uniform number points at one. A
    row without an allowed token gets any.
    """
    # the largest is subtracted before the division, so that no temperature overflows
    scaled_BV = (logits_BV.double() - logits_BV.amax(dim=1, keepdim=True)) / section.temperature
    weights_BC, tokens_BC = _candidates(logits_BV, scaled_BV.exp(), section)
    ends_BC = weights_BC.cumsum(dim=1)
    points_B1 = uniforms_B[:, None] * ends_BC[:, -1:]
    places_B1 = torch.searchsorted(ends_BC, points_B1, right=True).clamp(max=weights_BC.shape[1] - 1)
    return (places_B1 if tokens_BC is None else tokens_BC.gather(1, places_B1)).flatten()


def _candidates(logits_BV: Tensor, weights_BV: Tensor, section: Sample) -> tuple[Tensor, Tensor | None]:
    """Return weights of the tokens to draw from, and these tokens unless they are all in order."""
    size = logits_BV.shape[1]
    if section.epsilon:
        least_B1 = section.epsilon * weights_BV.sum(dim=1, keepdim=True)
        # The most probable token always stays.
        weights_BV = weights_BV.where(weights_BV >= least_B1.minimum(weights_BV.amax(1, keepdim=True)), 0)
    if section.top_k:
        tokens_BC = top(logits_BV, min(section.top_k, size))[1]
        weights_BC = weights_BV.gather(1, tokens_BC)
        reached_B1 = section.top_p * weights_BC.sum(dim=1, keepdim=True)
    elif section.top_p < 1:
        reached_B1 = section.top_p * weights_BV.sum(dim=1, keepdim=True)
        tokens_BC = top(logits_BV, min(_USUAL_NUCLEUS, size))[1]
        weights_BC = weights_BV.gather(1, tokens_BC)
        if (weights_BC.sum(dim=1, keepdim=True) < reached_B1).any():
            tokens_BC = top(logits_BV, size)[1]
            weights_BC = weights_BV.gather(1, tokens_BC)
    else:
        return weights_BV, None
    if section.top_p < 1:
        # a token stays where those before it have not reached the probability; the first always stays
        before_BC = weights_BC.cumsum(dim=1) - weights_BC
        weights_BC = torch.where(before_BC < reached_B1, weights_BC, 0)
    return weights_BC, tokens_BC
