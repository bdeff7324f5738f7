"""The kernels of `training.c`, with the types that ctypes has to know."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_long, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import ClassVar

from torch import Tensor

from dragoman.native.library import library


class Finish(Structure):
    """What becomes of each sum of a product; see product.h."""

    _fields_: ClassVar = [
        ("bias", c_void_p),
        ("relu", c_long),
        ("seed", c_uint64),
        ("dropped_levels", c_uint32),
        ("scale", c_float),
        ("gate", c_void_p),
        ("wide", c_void_p),
        ("low", c_void_p),
        ("adds", c_long),
    ]


class View(Structure):
    """A tensor (B, H, T, E) and its strides; see short_attention.h."""

    _fields_: ClassVar = [("data", c_void_p), ("row", c_long), ("head", c_long), ("step", c_long)]


class Attention(Structure):
    """All that attention reads and writes; see short_attention.h."""

    _fields_: ClassVar = [
        *((name, View) for name in ("query", "keys", "values", "written", "pull")),
        *((name, View) for name in ("of_query", "of_keys", "of_values")),
        ("mask", c_void_p),
        ("mask_strides", c_long * 4),
        *((name, c_long) for name in ("rows", "heads", "steps", "key_steps", "width", "is_low", "is_causal")),
        ("seed", c_uint64),
        ("dropped_levels", c_uint32),
        ("scale", c_float),
    ]


_P, _N, _FINISH, _ATTENTION = c_void_p, c_long, POINTER(Finish), POINTER(Attention)
_DRAWS = (c_uint64, c_uint32, c_float)
_ARGUMENTS = {
    "short_attention": (_ATTENTION,),
    "short_attention_backward": (_ATTENTION,),
    "norm": (_P, _N, _N, _P, _P, _N, c_float, _P, _P, _P, _P),
    "norm_backward": (_P, _P, _N, _N, _N, _P, _N, _P, _P, _P, _P, _P, _P),
    "draw_factors": (_N, _N, *_DRAWS, _P),
    "drop_and_add": (_P, _N, _P, _N, _N, *_DRAWS, _P, _N),
    "softmax_pull": (_P, _N, _N, _N, _P, _P, c_float, _N, _P, _P),
}
_PRODUCT_ARGUMENTS = {
    "pack_outputs": (_P, _N, _N, _N, _P),
    "pack_inputs": (_P, _N, _N, _N, _P),
    "product": (_P, _N, _N, _N, _P, _N, _FINISH),
    "lstm_step": (_P, _P, _N, _N, _P, _P),
    "lstm_step_backward": (*[_P] * 6, _N, _N, _P),
    "weight_gradient": (_P, _P, _N, _N, _N, _N, _P, _P, _FINISH),
}


@cache
def kernels() -> ctypes.CDLL | None:
    """Return the kernels of training, or None where they cannot be had."""
    found = library("training")
    if found is None:
        return None
    found.multiplies.argtypes, found.multiplies.restype = (c_long,), c_int
    for name, types in {**_ARGUMENTS, **(_PRODUCT_ARGUMENTS if found.multiplies(0) else {})}.items():
        function = getattr(found, name)
        function.argtypes, function.restype = types, None
    return found


@cache
def bf16_kernels() -> ctypes.CDLL | None:
    """Return the kernels of training where the processor multiplies bfloat16, or None."""
    found = kernels()
    return found if found is not None and found.multiplies(1) else None


@cache
def fp32_kernels() -> ctypes.CDLL | None:
    """Return the kernels of training where they multiply float32 faster than torch, or None."""
    found = kernels()
    return found if found is not None and found.multiplies(0) else None


_GENERATION = "C 2"
"""Raise the number when kernels come to sum in another order: trainings then go on to other bits."""


def kernels_here() -> str:
    """Name what computes on this machine: kernels in C with their generation, or torch alone."""
    return "torch" if kernels() is None else _GENERATION


def pointer(tensor: Tensor | None) -> int | None:
    """Return where a tensor lies, and none for none."""
    return None if tensor is None else tensor.data_ptr()
