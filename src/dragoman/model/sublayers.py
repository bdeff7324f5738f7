"""What layers of Transformers are made of: attention of two kinds, feed-forward, and the path around each.

Shapes: N sources, K rows (beams) of each source, B = N·K rows, S source steps, T target steps, D width,
M width of the memory, H heads, E width of a head, G width inside the feed-forward block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.kernels import Dropout, Linear, add_dropped, dropout
from dragoman.model.passes import normed, passes
from dragoman.model.positions import Rotation
from dragoman.model.products import computes_bf16, rectified_block, type_of_products
from dragoman.model.scaled_dot import attend, attention_weights, is_short_training, read
from dragoman.model.short_attention import attend_joined
from dragoman.recipe.model import Transformer

NORM_EPSILON = {"layer": 1e-5, "rms": 1e-6}
"""Added to variances: torch's default for LayerNorm, the customary one for RMSNorm."""


class KeysValues(NamedTuple):
    """Keys and values (B, H, S, E) that queries read."""

    keys_BHSE: Tensor
    values_BHSE: Tensor

    def take(self, rows: Tensor) -> KeysValues:
        """Keep the given rows, in the given order."""
        return KeysValues(self.keys_BHSE.index_select(0, rows), self.values_BHSE.index_select(0, rows))

    def extend(self, more: KeysValues) -> KeysValues:
        """Return these and then more steps of them."""
        return KeysValues(
            torch.cat([self.keys_BHSE, more.keys_BHSE], 2), torch.cat([self.values_BHSE, more.values_BHSE], 2)
        )


def norm_of(section: Transformer) -> nn.Module:
    """Return a fresh LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019)."""
    if section.norm == "rms":
        return nn.RMSNorm(section.width, eps=NORM_EPSILON["rms"])
    return nn.LayerNorm(section.width, eps=NORM_EPSILON["layer"])


class Residual(nn.Module):
    """The path around a sublayer: dropout on what it writes, a sum, and a norm before it or after the sum."""

    def __init__(self, section: Transformer) -> None:
        super().__init__()
        self.norm = norm_of(section)
        self.dropout = section.dropout
        self.norm_first = section.norm_position == "pre"

    def before(self, x_BTD: Tensor) -> Tensor:
        """Return what the sublayer reads."""
        return self._norm(x_BTD) if self.norm_first else x_BTD

    def after(self, x_BTD: Tensor, written_BTD: Tensor) -> Tensor:
        """Return what the next sublayer gets."""
        sum_BTD = add_dropped(x_BTD, written_BTD, self.dropout, self.training)
        return sum_BTD if self.norm_first else self._norm(sum_BTD)

    def _norm(self, x_BTD: Tensor) -> Tensor:
        if torch.is_grad_enabled() and passes(x_BTD) and x_BTD.dtype is torch.float32:
            # Products that read it in bf16 get it so at once.
            is_low = self.norm_first and computes_bf16(x_BTD)
            return normed(x_BTD, self.norm, torch.bfloat16 if is_low else torch.float32)
        normed_BTD: Tensor = self.norm(x_BTD)
        return normed_BTD


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, with queries, keys and values from one product."""

    def __init__(self, section: Transformer) -> None:
        super().__init__()
        self.heads = section.heads
        self.dropout = section.attention_dropout
        self.inward = fresh_linear(section.width, section.width, parts=3)
        self.outward = fresh_linear(section.width, section.width)

    def forward(
        self,
        x_BTD: Tensor,
        mask: Tensor | None = None,
        past: KeysValues | None = None,
        rotation: Rotation | None = None,
        causal: bool = False,
    ) -> tuple[Tensor, KeysValues]:
        """Return outputs, and the keys and values of all steps so far (already turned by their positions)."""
        joined_BTX = self.inward(x_BTD)
        query_BHTE, keys_BHTE, values_BHTE = split(joined_BTX, 3, self.heads)
        if rotation is not None:
            query_BHTE, keys_BHTE = rotation.turn(query_BHTE), rotation.turn(keys_BHTE)
        seen = KeysValues(keys_BHTE, values_BHTE)
        if past is not None:
            seen = past.extend(seen)
        chance = self.dropout if self.training else 0.0
        if rotation is None and past is None and is_short_training(query_BHTE, keys_BHTE):
            joined_BT3HE = joined_BTX.view(*x_BTD.shape[:2], 3, self.heads, -1)
            return self.outward(join(attend_joined(joined_BT3HE, mask, causal, chance))), seen
        heard_BHTE = attend(query_BHTE, seen.keys_BHSE, seen.values_BHSE, mask, causal, chance)
        return self.outward(join(heard_BHTE)), seen

    def weights(self, x_BTD: Tensor, mask: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """Return where each step of a whole sequence looks in each head (B, H, T, T)."""
        query_BHTE, keys_BHTE, _ = split(self.inward(x_BTD), 3, self.heads)
        if rotation is not None:
            query_BHTE, keys_BHTE = rotation.turn(query_BHTE), rotation.turn(keys_BHTE)
        return attention_weights(query_BHTE, keys_BHTE, mask)


class CrossAttention(nn.Module):
    """Attention of target steps to a memory, whose keys and values are made once a source."""

    def __init__(self, section: Transformer, memory_width: int) -> None:
        super().__init__()
        self.heads = section.heads
        self.dropout = section.attention_dropout
        self.query = fresh_linear(section.width, section.width)
        self.memory = fresh_linear(memory_width, section.width, parts=2)
        self.outward = fresh_linear(section.width, section.width)

    def prepare(self, memory_NSM: Tensor) -> KeysValues:
        """Return the keys and values of a memory."""
        keys_NHSE, values_NHSE = split(self.memory(memory_NSM), 2, self.heads)
        if torch.is_grad_enabled():
            return KeysValues(keys_NHSE, values_NHSE)
        return KeysValues(keys_NHSE.contiguous(), values_NHSE.contiguous())  # read at every step to come

    def forward(
        self, x_BTD: Tensor, memory: KeysValues, mask_NS: Tensor, reads: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs and, on request, where each step looked (B, T, S), averaged over heads.

        The beams of a source are folded into its steps, (N·K, T) to (N, K·T): its keys and values are not
        copied.
        """
        chance = self.dropout if self.training else 0.0
        if not reads:
            query_NHTE, mask_N11S = self._queries(x_BTD, mask_NS), mask_NS[:, None, None, :]
            read_NHTE = attend(query_NHTE, *memory, mask_N11S, dropout_probability=chance)
            return self.outward(join(read_NHTE)).view(x_BTD.shape), None
        weights_NHTS = self.weights(x_BTD, memory, mask_NS)
        read_NHTE = read(dropout(weights_NHTS, chance, training=True), memory.values_BHSE)
        looked_BTS = weights_NHTS.mean(1).view(*x_BTD.shape[:2], -1)
        return self.outward(join(read_NHTE)).view(x_BTD.shape), looked_BTS

    def weights(self, x_BTD: Tensor, memory: KeysValues, mask_NS: Tensor) -> Tensor:
        """Return where each step looks in each head (N, H, K·T, S), the beams of a source in its steps."""
        return attention_weights(self._queries(x_BTD, mask_NS), memory.keys_BHSE, mask_NS[:, None, None, :])

    def _queries(self, x_BTD: Tensor, mask_NS: Tensor) -> Tensor:
        (query_NHTE,) = split(self.query(x_BTD.reshape(len(mask_NS), -1, x_BTD.shape[2])), 1, self.heads)
        return query_NHTE


class FeedForward(nn.Module):
    """Two linear maps with ReLU or GELU between them, or three with a gate (Shazeer 2020)."""

    def __init__(self, section: Transformer) -> None:
        super().__init__()
        self.activation = section.activation
        parts = 2 if section.activation in ("swiglu", "geglu") else 1
        self.inward = fresh_linear(section.width, section.feedforward_width, parts)
        self.dropout = Dropout(section.feedforward_dropout)
        self.outward = fresh_linear(section.feedforward_width, section.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map each step by itself."""
        if self.training and self.activation == "relu":
            inward, outward = _map(self.inward), _map(self.outward)
            dtype = type_of_products(x_BTD, inward[0], outward[0])
            if dtype is not None:
                return rectified_block(x_BTD, inward, outward, self.dropout.probability, dtype)
        written_BTD: Tensor = self.outward(self.dropout(self._activate(self.inward(x_BTD))))
        return written_BTD

    def _activate(self, inner_BTG: Tensor) -> Tensor:
        match self.activation:
            case "relu":
                return F.relu(inner_BTG)
            case "gelu":
                return F.gelu(inner_BTG)
            case "swiglu":
                gate_BTG, value_BTG = inner_BTG.chunk(2, -1)
                return F.silu(gate_BTG) * value_BTG
            case "geglu":
                gate_BTG, value_BTG = inner_BTG.chunk(2, -1)
                return F.gelu(gate_BTG) * value_BTG


def _map(linear: Linear) -> tuple[Tensor, Tensor]:
    return linear.weight, linear.bias


def fresh_linear(input_width: int, width: int, parts: int = 1) -> Linear:
    """Return `parts` maps to `width` side by side, each drawn by itself (Glorot and Bengio 2010)."""
    linear = Linear(input_width, parts * width)
    for part in linear.weight.detach().chunk(parts):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(linear.bias)
    return linear


def split(x_BTD: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Cut (B, T, parts·H·E) into parts of (B, H, T, E)."""
    rows, steps, _ = x_BTD.shape
    return x_BTD.view(rows, steps, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def join(x_BHTE: Tensor) -> Tensor:
    """Put heads side by side again: (B, T, H·E)."""
    return x_BHTE.transpose(1, 2).flatten(2)
