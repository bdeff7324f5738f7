"""Where attention looks, in each layer and head, watched from outside: models run as they always do.

Shapes: N sources, H heads, Q queries of one source (target steps), S source steps, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dragoman.model.attention import Attention, FixedContext, ScaledDotAttention
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.sublayers import CrossAttention, SelfAttention


@dataclass(frozen=True)
class Looks:
    """Weights of each layer that attends: encoder to itself (N, H, S, S), decoder to it (N, H, Q, S)."""

    encoder: list[Tensor] = field(default_factory=list)
    decoder: list[Tensor] = field(default_factory=list)


@contextmanager
def watched(model: Seq2Seq) -> Iterator[Looks]:
    """Watch one pass of a model; the weights are there once the block has ended.

    They are computed again from what each attention is given, whichever way it computes them itself, and
    without gradients.
    """
    encoder = [part for part in model.encoder.modules() if isinstance(part, SelfAttention)]
    decoder = [
        part
        for part in model.decoder.modules()
        if isinstance(part, CrossAttention | Attention) and not isinstance(part, FixedContext)
    ]
    seen: dict[nn.Module, list[Tensor]] = {part: [] for part in (*encoder, *decoder)}

    def watch(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any], written: Any) -> None:
        with torch.no_grad():
            seen[part].append(_weights(part, given, named, written))

    hooks = [part.register_forward_hook(watch, with_kwargs=True) for part in seen]
    looks = Looks()
    try:
        yield looks
    finally:
        for hook in hooks:
            hook.remove()
    looks.encoder.extend(torch.cat(seen[part], 2) for part in encoder if seen[part])
    looks.decoder.extend(torch.cat(seen[part], 2) for part in decoder if seen[part])


def _weights(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any], written: Any) -> Tensor:
    match part:
        case SelfAttention():
            return part.weights(*given, **named)
        case CrossAttention():
            x_BTD, memory, mask_NS, *_ = given
            return part.weights(x_BTD, memory, mask_NS)
        case ScaledDotAttention():
            queries_NQD, readable, *_ = given
            return part.weights(queries_NQD, readable)
        case _:
            weights_NQS: Tensor = written[1]
            return weights_NQS[:, None]
