"""Models whose matrix products are of 8-bit integers: smaller and faster to answer with, not trainable."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dragoman.errors import UserError
from dragoman.model.frontends import AnsweringTokenFrontend, TokenFrontend
from dragoman.model.heads import VocabularyHead
from dragoman.model.int8_linear import Int8Head, Int8Linear
from dragoman.model.int8_recurrent import Int8RecurrentLayer, recurrent_kernels
from dragoman.model.int8_transformer import Int8Decoder, Int8Encoder
from dragoman.model.recurrent import RecurrentDecoder
from dragoman.model.recurrent_layer import RecurrentLayer
from dragoman.model.seq2seq import Seq2Seq, parts_of
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.native.structures import int8_kernels

SMALLEST_PRODUCT = 4096
"""Maps with fewer weights stay as they are: around them, scaling costs more than the product."""


def in_int8(model: Seq2Seq) -> Seq2Seq:
    """Return a model for answering on a CPU that shares everything with this one but large linear maps.

    Recurrent encoders stay as they are, and where kernels of our own cannot be had, recurrent decoders. It is
    in eval mode. Asked again, it is the same one until a weight changes.
    Raises UserError for a model of numbers.
    """
    if model.target_port.kind == "frames":
        raise UserError(
            "decoding.precision: `int8` is for models of tokens, this one writes numbers; `fp32` would do"
        )
    before = _made.get(model)
    if before is None or not before.is_current():
        before = _made[model] = _Made(_found(model), cast("Seq2Seq", _twin(model).eval()))
    return before.twin


_Found = tuple[Mapping[str, object], str, object, tuple[int, int] | None]
"""Which part or weight a module held by which name; of a weight where it lay and how often it had changed."""


@dataclass(frozen=True)
class _Made:
    """A model in 8 bits, and what it was made of."""

    found: list[_Found]
    twin: Seq2Seq

    def is_current(self) -> bool:
        """Whether all of it is there still, in a tenth of the time that looking for all parts takes."""
        return all(held.get(name) is part and state == _state(part) for held, name, part, state in self.found)


_made: WeakKeyDictionary[Seq2Seq, _Made] = WeakKeyDictionary()


def _found(model: Seq2Seq) -> list[_Found]:
    return [
        (held, name, part, _state(part))
        for module in parts_of(model)
        for held in (module._modules, module._parameters)
        for name, part in held.items()
    ]


def _state(part: object) -> tuple[int, int] | None:
    if not isinstance(part, Tensor):
        return None
    return part.data_ptr(), 0 if part.is_inference() else part._version


def _twin(module: nn.Module) -> nn.Module:
    if isinstance(module, VocabularyHead):
        return Int8Head(module)
    if isinstance(module, nn.Linear) and module.weight.numel() >= SMALLEST_PRODUCT:
        return Int8Linear(module.weight, module.bias)
    if int8_kernels() is not None and isinstance(module, TransformerEncoder):
        return Int8Encoder(module, _twin)
    if int8_kernels() is not None and isinstance(module, TransformerDecoder):
        return Int8Decoder(module, _twin)
    if isinstance(module, TokenFrontend) and module.weight.dtype is torch.float32:
        return AnsweringTokenFrontend(module)
    twin = copy.copy(module)
    twin._modules = {name: child and _twin(child) for name, child in module._modules.items()}
    if isinstance(module, RecurrentDecoder) and recurrent_kernels() is not None:
        layers = cast("list[RecurrentLayer]", list(module.layers))
        twin._modules["layers"] = nn.ModuleList(Int8RecurrentLayer(layer) for layer in layers)
    return twin
