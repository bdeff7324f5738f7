"""Models that answer on a CPU, in float32 or with products of 8-bit integers: faster, and not trainable."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from dragoman.errors import UserError
from dragoman.model.answering_linear import AnsweringHead, AnsweringLinear, Float32Linear
from dragoman.model.answering_recurrent import AnsweringRecurrentLayer, recurrent_kernels
from dragoman.model.answering_transformer import AnsweringDecoder, AnsweringEncoder
from dragoman.model.frontends import AnsweringTokenFrontend, TokenFrontend
from dragoman.model.heads import VocabularyHead
from dragoman.model.int8_linear import Int8Linear
from dragoman.model.recurrent import RecurrentDecoder
from dragoman.model.recurrent_layer import RecurrentLayer
from dragoman.model.seq2seq import Seq2Seq, parts_of
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.native.structures import Products, answering_kernels

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
    return _made_of(model, "int8", _in_int8)


def in_float32(model: Seq2Seq) -> Seq2Seq:
    """Return a model for answering whose Transformers, recurrent decoders and heads are computed by kernels.

    Those have copies of the weights, in the order in which they are read; all else is shared. It is in eval
    mode, and asked again, the same one until a weight changes. Where there is nothing to gain (no kernels,
    another processor or precision, numbers as targets) it is the model itself.
    """
    gains = "float32" in _made.get(model, {}) or _gains_in_float32(model)
    return _made_of(model, "float32", _in_float32) if gains else model


def _gains_in_float32(model: Seq2Seq) -> bool:
    parts = TransformerEncoder, TransformerDecoder, RecurrentDecoder
    return (
        model.target_port.kind != "frames"
        and any(isinstance(part, parts) for part in model.modules())
        and all(one.device.type == "cpu" and one.dtype is torch.float32 for one in model.parameters())
        and answering_kernels("float32") is not None
    )


def _made_of(model: Seq2Seq, products: Products, twin: Callable[[nn.Module], nn.Module]) -> Seq2Seq:
    _watch_optimizers()
    made = _made.setdefault(model, {})
    before = made.get(products)
    if before is None or not before.is_current():
        before = made[products] = _Made(_found(model), cast("Seq2Seq", twin(model).eval()))
    return before.twin


@cache
def _watch_optimizers() -> None:
    """From now on, have every optimizer count changes of weights: fused ones do not."""
    register_optimizer_step_post_hook(_count_changes)


def _count_changes(optimizer: Optimizer, *_: object) -> None:
    for group in optimizer.param_groups:
        if group.get("fused"):
            for weight in group["params"]:
                increment_version(weight)


_Found = tuple[Mapping[str, object], str, object, tuple[int, int] | None]
"""Which part or weight a module held by which name; of a weight where it lay and how often it had changed."""


@dataclass(frozen=True)
class _Made:
    """A model for answering, and what it was made of."""

    found: list[_Found]
    twin: Seq2Seq

    def is_current(self) -> bool:
        """Whether all of it is there still, in a tenth of the time that looking for all parts takes."""
        return all(held.get(name) is part and state == _state(part) for held, name, part, state in self.found)


_made: WeakKeyDictionary[Seq2Seq, dict[Products, _Made]] = WeakKeyDictionary()


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


def _in_int8(module: nn.Module) -> nn.Module:
    if isinstance(module, VocabularyHead):
        return AnsweringHead(module, Int8Linear)
    if isinstance(module, nn.Linear) and module.weight.numel() >= SMALLEST_PRODUCT:
        return Int8Linear(module.weight, module.bias)
    if answering_kernels("int8") is not None and isinstance(module, TransformerEncoder):
        return AnsweringEncoder(module, _in_int8, Int8Linear)
    if answering_kernels("int8") is not None and isinstance(module, TransformerDecoder):
        return AnsweringDecoder(module, _in_int8, Int8Linear)
    if isinstance(module, TokenFrontend) and module.weight.dtype is torch.float32:
        return AnsweringTokenFrontend(module)
    return _with_answering_layers(_with_twins(module, _in_int8), Int8Linear)


def _in_float32(module: nn.Module) -> nn.Module:
    match module:
        case VocabularyHead():
            return AnsweringHead(module, Float32Linear)
        case TransformerEncoder():
            return AnsweringEncoder(module, _in_float32, Float32Linear)
        case TransformerDecoder():
            return AnsweringDecoder(module, _in_float32, Float32Linear)
        case TokenFrontend():
            return AnsweringTokenFrontend(module)
        case _:
            return _with_answering_layers(_with_twins(module, _in_float32), Float32Linear)


def _with_answering_layers(module: nn.Module, linear: type[AnsweringLinear]) -> nn.Module:
    """Give a recurrent decoder layers for answering, where there are kernels."""
    if isinstance(module, RecurrentDecoder) and recurrent_kernels(linear.products) is not None:
        layers = cast("list[RecurrentLayer]", list(module.layers))
        module._modules["layers"] = nn.ModuleList(AnsweringRecurrentLayer(layer, linear) for layer in layers)
    return module


def _with_twins(module: nn.Module, twin: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Return a module that shares everything but its parts."""
    found = copy.copy(module)
    found._modules = {name: child and twin(child) for name, child in module._modules.items()}
    return found
