"""What a recipe can say about CTC alone (Graves et al. 2006)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.section import Section


class Ctc(Section):
    """Negative log-likelihood of the target over all its alignments with the source's steps."""

    kind: Literal["ctc"]


class _CtcDecoding(Section):
    """What holds for every way of decoding with CTC alone: the source says how long an answer can be."""

    batch_tokens: int = Field(8192, ge=1)
    """Budget of a decoding batch: rows times longest source; never changes answers."""
    precision: Literal["fp32", "int8"] = "fp32"
    """What matrix products are computed in; int8 is faster on a CPU, and its answers differ a little."""


class CtcGreedy(_CtcDecoding):
    """What the most probable path writes."""

    method: Literal["ctc_greedy"]


class CtcBeam(_CtcDecoding):
    """The most probable answers over all their paths, by a beam over prefixes (Hannun et al. 2014)."""

    method: Literal["ctc_beam"]
    beam: int = Field(10, ge=1)
    nbest: int = Field(1, ge=1)
    """How many answers to give; at most `beam`."""

    @model_validator(mode="after")
    def _nbest(self) -> Self:
        if self.nbest > self.beam:
            raise ValueError(f"`nbest` {self.nbest} is more than `beam` {self.beam}")
        return self
