"""Weights to begin with: those of another run, part by part, where they mean the same."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dragoman.bundle import load_bundle
from dragoman.data.codec import Codec, Codecs, codec_digest
from dragoman.data.text import TextCodec
from dragoman.errors import UserError
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.averaging import Weights, weights_of

_OF_SOURCE = ("source_frontend",)
_OF_TARGET = ("target_frontend", "head", "ctc_head")


def begin_with(model: Seq2Seq, codecs: Codecs, folder: str, say: Callable[[str], None]) -> None:
    """Copy the parts of another run's model that fit this one, and say which do not.

    A part fits as a whole or not at all: all of its tensors are there, of the same shapes, and where rows
    stand for symbols, the vocabularies are one. Raises BundleError for what is no bundle, UserError where no
    part fits.
    """
    other = load_bundle(folder, "cpu")
    given, own = weights_of(other.model), weights_of(model)
    is_other_vocabulary = {
        **dict.fromkeys(_OF_SOURCE, _are_other_symbols(codecs.source, other.codecs.source)),
        **dict.fromkeys(_OF_TARGET, _are_other_symbols(codecs.target, other.codecs.target)),
    }
    taken, anew = [], []
    for part, names in _parts(own).items():
        if is_other_vocabulary.get(part, False):
            anew.append(f"{part} (another vocabulary)")
        elif any(name not in given or given[name].shape != own[name].shape for name in names):
            anew.append(f"{part} (another shape)")
        else:
            taken.append(part)
            with torch.no_grad():
                for name in names:
                    own[name].copy_(given[name])
    if not taken:
        raise UserError(
            f"training.begin_with: no part of {folder} fits this model: {', '.join(anew)}; the same sizes of "
            "its encoder or decoder would do"
        )
    rest = f"; anew: {', '.join(anew)}" if anew else ""
    say(f"begins with the weights of {folder}: {', '.join(taken)}{rest}")


def _parts(weights: Weights) -> dict[str, list[str]]:
    """List the tensors of each part of a model."""
    parts: dict[str, list[str]] = {}
    for name in weights:
        parts.setdefault(name.partition(".")[0], []).append(name)
    return parts


def _are_other_symbols(own: Codec, given: Codec) -> bool:
    return isinstance(own, TextCodec) and codec_digest(own) != codec_digest(given)
