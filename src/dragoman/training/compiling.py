"""Layers compiled by torch's compiler, for training on a GPU.

A layer at a time rather than the model (Transformer layers are alike, so that one compilation serves all of a
stack), for lengths of any kind: batches have many shapes. Validation and answering run as they always do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dragoman.errors import UserError
from dragoman.model.conformer import ConformerEncoder
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder

_BACKEND = "inductor"


def compile_layers(model: Seq2Seq, device: torch.device) -> int:
    """Have the layers of Transformers and Conformers compiled when they are first used; return how many.

    Raises UserError on a processor, where our own kernels compute, and for a model without such layers.
    """
    if device.type != "cuda":
        raise UserError(
            "training.compile: torch's compiler is for a GPU, this run trains on a processor, where kernels "
            "of dragoman compute; leave it false"
        )
    layers = [layer for part in (model.encoder, model.decoder) for layer in _layers(part)]
    if not layers:
        raise UserError(
            "training.compile: there is no Transformer or Conformer in this model, and recurrent layers are "
            "kernels of their own on a GPU; leave it false"
        )
    for layer in layers:
        layer.compile(dynamic=True, backend=_BACKEND)
    return len(layers)


def _layers(part: nn.Module) -> list[nn.Module]:
    if isinstance(part, TransformerEncoder | TransformerDecoder | ConformerEncoder):
        return list(part.layers)
    return []


@contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """Run what was compiled as it is written inside the block: answers have a new shape at every step."""
    if all(part._compiled_call_impl is None for part in model.modules()):
        yield  # asking torch would load its compiler, for seconds
        return
    with torch.compiler.set_stance("force_eager"):
        yield
