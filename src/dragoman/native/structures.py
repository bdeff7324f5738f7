"""What the kernels of `int8.c` and `float32.c` are handed: structures laid out as in their headers.

A structure holds addresses only: whoever makes one keeps the tensors and arrays alive that they lead to.
"""

from __future__ import annotations

from ctypes import CDLL, POINTER, Structure, c_float, c_int64, c_void_p
from functools import cache
from typing import Literal

from dragoman.native.library import library

ACTIVATIONS = ("relu", "gelu", "swiglu", "geglu")
"""In the order of their numbers in C."""
Products = Literal["int8", "float32"]
"""What products of weights and inputs are of."""
BLOCK = 64
"""Outputs of a linear map that are computed together."""
LANES = 16
"""Steps of a memory are filled up to a multiple of these."""


class Linear(Structure):
    """A linear map; one of float32 has no scales."""

    _fields_ = (
        ("packed", c_void_p),
        ("scales", c_void_p),
        ("bias", c_void_p),
        ("inputs", c_int64),
        ("outputs", c_int64),
    )


class Norm(Structure):
    """A LayerNorm, or a RMSNorm where there is no shift."""

    _fields_ = (("gain", c_void_p), ("shift", c_void_p))


class Layer(Structure):
    """A layer of an encoder or a decoder."""

    _fields_ = (
        *((name, Norm) for name in ("hear_norm", "read_norm", "feed_norm")),
        *((name, Linear) for name in ("hear", "heard", "query", "read", "feed", "fed")),
    )


class Stack(Structure):
    """All layers, and what they have in common."""

    _fields_ = (
        *((name, c_int64) for name in ("layers", "width", "heads", "inner", "norm_first", "activation")),
        ("epsilon", c_float),
        ("layer", POINTER(Layer)),
        ("last", Norm),
    )


class Read(Structure):
    """Sources to encode."""

    _fields_ = (
        ("sources", c_int64),
        ("first", c_void_p),
        ("x", c_void_p),
        ("cosines", c_void_p),
        ("sines", c_void_p),
    )


class Step(Structure):
    """One step of a decoder."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "steps")),
        *((name, c_void_p) for name in ("x", "past", "past_rows", "slots")),
        ("slots_stride", c_int64),
        ("sources", c_void_p),
        *((name, c_void_p) for name in ("memory", "first", "lengths")),
        *((name, c_void_p) for name in ("cosines", "sines", "looks")),
        ("looks_stride", c_int64),
    )


class Writing(Structure):
    """All steps of greedy search."""

    _fields_ = (
        ("head", POINTER(Linear)),
        *((name, c_void_p) for name in ("table", "positions", "cosines", "sines")),
        ("scale", c_float),
        *((name, c_int64) for name in ("begins", "ends")),
        ("never", c_void_p),
        *((name, c_int64) for name in ("nevers", "sources")),
        *((name, c_void_p) for name in ("memory", "first", "lengths", "longest")),
        ("stride", c_int64),
        *((name, c_void_p) for name in ("symbols", "log_probs", "totals", "written")),
    )


@cache
def answering_kernels(products: Products) -> CDLL | None:
    """Return the kernels of `int8.c` or `float32.c`, or None where there is no compiler or no such processor.

    Products of 8 bits are those of AVX512-VNNI, of float32 those of AVX512.
    """
    kernels = library(products)
    if kernels is None or not kernels.has_products():
        return None
    kernels.linear.argtypes = (c_void_p, c_void_p, c_int64, c_int64, c_void_p)
    kernels.encode.argtypes = (c_void_p, c_void_p)
    kernels.keep_memory.argtypes = (c_void_p, c_int64, c_void_p, c_void_p, *[c_int64] * 3, c_void_p)
    kernels.keep_memory.restype = None
    kernels.take_step.argtypes = (c_void_p, c_void_p)
    kernels.write_greedily.argtypes = (c_void_p, c_void_p)
    return kernels


def finished(ready: int) -> None:
    """Raise MemoryError where a kernel says that it got no room."""
    if not ready:
        raise MemoryError("no memory for the intermediate results of a model that answers")
