"""Attentions of recurrent decoders: a query for each target step, answered from the memory of its source.

Shapes: N sources, Q queries of one source (beams and target steps folded together), S source steps, D query
width, M memory width, A width of the hidden layer, C context width, H heads, F filters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor, nn

from dragoman.model.contracts import Memory
from dragoman.model.kernels import Linear
from dragoman.model.scaled_dot import read, softmax
from dragoman.recipe import model as recipe

_HIDDEN_SCORE = -1e30
"""Score of padding. Not -inf: a softmax over no real step at all stays a number, also in its gradient."""


@dataclass(frozen=True)
class Readable:
    """A memory made ready to be read, once a source: `keys` to compare with, `values` to read.

    The first axis of both is N; the others belong to the attention that prepared them. `mask_NS` is True
    where there is something to read.
    """

    keys: Tensor
    values: Tensor
    mask_NS: Tensor

    def keep(self, sources: Tensor) -> Readable:
        """Keep the given sources."""
        return Readable(
            self.keys.index_select(0, sources),
            self.values.index_select(0, sources),
            self.mask_NS.index_select(0, sources),
        )


class Attention(nn.Module):
    """Anything that answers queries from a memory with contexts of `context_width`.

    Those with `is_recurrent` also see where they looked at the step before, so steps are read one by one.
    """

    context_width: int
    is_recurrent = False

    def prepare(self, memory: Memory) -> Readable:
        """Do everything that needs the memory only."""
        raise NotImplementedError

    def forward(
        self, queries_NQD: Tensor, readable: Readable, previous_NQS: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return contexts (N, Q, C) and the weights (N, Q, S), if any, that made them, averaged over heads.

        `previous_NQS` are the weights of the step before each query; only recurrent attentions look at them.
        """
        raise NotImplementedError


def build_attention(section: recipe.Attention, query_width: int, memory_width: int) -> Attention:
    """Build the attention that a recipe asks for."""
    match section:
        case recipe.NoAttention():
            return FixedContext(memory_width)
        case recipe.SimpleAttention(kind="dot"):
            return DotAttention(query_width, memory_width, is_bilinear=query_width != memory_width)
        case recipe.SimpleAttention():
            return DotAttention(query_width, memory_width, is_bilinear=True)
        case recipe.AdditiveAttention():
            return AdditiveAttention(query_width, memory_width, section.width or query_width)
        case recipe.ScaledDotAttention():
            return ScaledDotAttention(query_width, memory_width, section.heads)
        case recipe.LocationAttention():
            width = section.width or query_width
            return LocationAttention(query_width, memory_width, width, section.filters, section.kernel_width)
        case recipe.AlignedAttention():
            raise ValueError("steps that are aligned are read without attention: see `AlignedDecoder`")
        case _:
            assert_never(section)


class FixedContext(Attention):
    """The summary of the source as the context of every step (Cho et al. 2014); its steps are never read."""

    def __init__(self, memory_width: int) -> None:
        super().__init__()
        self.context_width = memory_width

    def prepare(self, memory: Memory) -> Readable:
        """Hold the summary only."""
        summary_NC = memory.summary_ND
        return Readable(summary_NC, summary_NC, memory.mask_NS)

    def forward(
        self, queries_NQD: Tensor, readable: Readable, previous_NQS: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the same context for every query, and no weights."""
        return readable.values[:, None].expand(-1, queries_NQD.shape[1], -1), None


class DotAttention(Attention):
    """`dot` and `general` of Luong et al. 2015; `general`, or `dot` of unequal widths, project the memory."""

    def __init__(self, query_width: int, memory_width: int, is_bilinear: bool) -> None:
        super().__init__()
        self.context_width = memory_width
        self.keys = Linear(memory_width, query_width, bias=False) if is_bilinear else nn.Identity()

    def prepare(self, memory: Memory) -> Readable:
        """Project the keys."""
        return Readable(_precise(self.keys(memory.values_NSD)), _precise(memory.values_NSD), memory.mask_NS)

    def forward(
        self, queries_NQD: Tensor, readable: Readable, previous_NQS: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score by inner products."""
        scores_NQS = _products(queries_NQD, readable.keys)
        weights_NQS = _weigh(scores_NQS, readable.mask_NS[:, None])
        return read(weights_NQS, readable.values), weights_NQS


class AdditiveAttention(Attention):
    """One hidden layer over query and key (Bahdanau et al. 2015): v · tanh(W query + U key)."""

    def __init__(self, query_width: int, memory_width: int, width: int) -> None:
        super().__init__()
        self.context_width = memory_width
        self.queries = Linear(query_width, width)
        self.keys = Linear(memory_width, width, bias=False)
        self.score = Linear(width, 1, bias=False)

    def prepare(self, memory: Memory) -> Readable:
        """Project the keys."""
        return Readable(self.keys(memory.values_NSD), _precise(memory.values_NSD), memory.mask_NS)

    def forward(
        self, queries_NQD: Tensor, readable: Readable, previous_NQS: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score by the hidden layer; costs Q·S·A numbers of memory a source."""
        hidden_NQSA = self.queries(queries_NQD)[:, :, None] + readable.keys[:, None]
        # In place: the gradient of tanh needs its result only, and this is the largest tensor of the decoder.
        scores_NQS = self.score(hidden_NQSA.tanh_()).squeeze(-1)
        weights_NQS = _weigh(scores_NQS, readable.mask_NS[:, None])
        return read(weights_NQS, readable.values), weights_NQS


class ScaledDotAttention(Attention):
    """softmax(QKᵀ/√d)V of one or many heads, with projections of its own (Vaswani et al. 2017)."""

    def __init__(self, query_width: int, memory_width: int, heads: int) -> None:
        super().__init__()
        self.context_width = query_width
        self.heads = heads
        self.queries = Linear(query_width, query_width)
        # A bias of the keys would add the same to every score of a query, which softmax does not see.
        self.keys = Linear(memory_width, query_width, bias=False)
        self.values = Linear(memory_width, query_width)
        self.contexts = Linear(query_width, query_width)

    def prepare(self, memory: Memory) -> Readable:
        """Project keys and values and cut them into heads."""
        keys_NHSD = _precise(self._cut(self.keys(memory.values_NSD))).contiguous()
        values_NHSD = _precise(self._cut(self.values(memory.values_NSD))).contiguous()
        return Readable(keys_NHSD, values_NHSD, memory.mask_NS)

    def forward(
        self, queries_NQD: Tensor, readable: Readable, previous_NQS: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score by scaled inner products in each head."""
        weights_NHQS = self.weights(queries_NQD, readable)
        contexts_NHQD = read(weights_NHQS, readable.values)
        contexts_NQC = self.contexts(contexts_NHQD.transpose(1, 2).flatten(2))
        return contexts_NQC, weights_NHQS.mean(1)

    def weights(self, queries_NQD: Tensor, readable: Readable) -> Tensor:
        """Return where each query looks in each head (N, H, Q, S)."""
        queries_NHQD = self._cut(self.queries(queries_NQD))
        scale = 1 / math.sqrt(queries_NHQD.shape[-1])
        scores_NHQS = _products(queries_NHQD * scale, readable.keys)
        return _weigh(scores_NHQS, readable.mask_NS[:, None, None])

    def _cut(self, vectors_NXD: Tensor) -> Tensor:
        rows, steps, width = vectors_NXD.shape
        return vectors_NXD.reshape(rows, steps, self.heads, width // self.heads).transpose(1, 2)


class LocationAttention(Attention):
    """Additive attention that sees, through a convolution, where it looked before (Chorowski et al. 2015).

    Before the first step it has looked nowhere: its previous weights are zeros.
    """

    is_recurrent = True

    def __init__(
        self, query_width: int, memory_width: int, width: int, filters: int, kernel_width: int
    ) -> None:
        super().__init__()
        self.context_width = memory_width
        self.queries = Linear(query_width, width)
        self.keys = Linear(memory_width, width, bias=False)
        self.score = Linear(width, 1, bias=False)
        self.filters = nn.Conv1d(1, filters, kernel_width, padding=kernel_width // 2, bias=False)
        self.features = Linear(filters, width, bias=False)

    def prepare(self, memory: Memory) -> Readable:
        """Project the keys."""
        return Readable(self.keys(memory.values_NSD), _precise(memory.values_NSD), memory.mask_NS)

    def forward(
        self, queries_NQD: Tensor, readable: Readable, previous_NQS: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score by the hidden layer, which sees the features of the filters too."""
        assert previous_NQS is not None, "location attention needs the weights of the step before"
        located_RFS = self.filters(previous_NQS.flatten(0, 1)[:, None])
        features_RSA = self.features(located_RFS.transpose(1, 2))
        features_NQSA = features_RSA.reshape(*previous_NQS.shape, -1)
        hidden_NQSA = features_NQSA + self.queries(queries_NQD)[:, :, None] + readable.keys[:, None]
        scores_NQS = self.score(hidden_NQSA.tanh_()).squeeze(-1)
        weights_NQS = _weigh(scores_NQS, readable.mask_NS[:, None])
        return read(weights_NQS, readable.values), weights_NQS


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    """Return all inner products, in float32 at least: short products in bf16 cost more than they save."""
    with torch.autocast(keys.device.type, enabled=False):
        return _precise(queries) @ _precise(keys).transpose(-1, -2)


def _weigh(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over real steps; a source without real steps reads nothing."""
    floored = _precise(scores).masked_fill(~mask, _HIDDEN_SCORE)
    return softmax(floored).masked_fill(~mask, 0.0)


def _precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype is torch.bfloat16 else x
