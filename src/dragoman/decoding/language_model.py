"""A bundle and a language model that answer as one."""

from __future__ import annotations

from dataclasses import replace

from dragoman.bundle import Bundle
from dragoman.data.codec import codec_digest
from dragoman.data.nothing import NothingCodec
from dragoman.errors import UserError
from dragoman.model.ctc_model import CtcModel
from dragoman.model.fusion import Fused

DEFAULT_WEIGHT = 0.3


def with_language_model(bundle: Bundle, language_model: Bundle, weight: float) -> Bundle:
    """Return a bundle whose answers score log p of its model plus `weight` times log p of a language model.

    Raises UserError for a language model that reads something or writes other symbols, for a bundle without a
    decoder, and for a weight that is not positive.
    """
    where = language_model.folder
    if weight <= 0:
        raise UserError(f"the weight of a language model: expected a positive number, found {weight}")
    if not isinstance(language_model.codecs.source, NothingCodec):
        raise UserError(
            f"{where}: expected a language model, found one that reads "
            f"{language_model.codecs.source.section.kind}; a language model is trained with "
            "`source: {kind: nothing}`"
        )
    if isinstance(bundle.model, CtcModel):
        raise UserError("a language model joins a decoder, and this model has none: CTC writes by itself")
    if codec_digest(language_model.codecs.target) != codec_digest(bundle.codecs.target):
        raise UserError(
            f"{where}: its target vocabulary is not that of {bundle.folder}; train the language model with "
            f"`data.target_vocabulary: {bundle.folder}`"
        )
    fused = Fused(bundle.model, language_model.model, weight)
    return replace(bundle, model=fused.to(bundle.device).eval())
