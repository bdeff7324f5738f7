"""A recipe: the whole run as validated, frozen data. Imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.data import Codec, Data
from dragoman.recipe.model import Model, NoAttention, RecurrentDecoder
from dragoman.recipe.run import Beam, Decoding, Evaluation, Seed, Training
from dragoman.recipe.section import Section, refuse


class Recipe(Section):
    """Everything that a run depends on, and nothing else."""

    version: Literal[1] = 1
    """Version of the recipe's language."""
    run: str = Field(min_length=1)
    """Folder of the run and of the bundle it leaves."""
    seed: Seed = 1
    """Decides initial weights, order of examples, dropout and subword sampling."""
    data: Data
    source: Codec
    """How sources become numbers."""
    target: Codec
    """How targets become numbers."""
    joint_vocabulary: bool = False
    """One vocabulary, learnt from sources and targets together."""
    model: Model = Model()
    training: Training
    decoding: Decoding = Beam(method="beam")
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if self.joint_vocabulary and self.source != self.target:
            wrong.append("`joint_vocabulary` needs `source` and `target` to say the same")
        if self.model.tie in ("encoder_decoder", "all") and not self.joint_vocabulary:
            wrong.append(f"`model.tie: {self.model.tie}` needs `joint_vocabulary: true`")
        labels = ["loss", *(metric.label for metric in self.evaluation.metrics)]
        if self.training.watch not in labels:
            wrong.append(f"`training.watch: {self.training.watch}` is none of {', '.join(labels)}")
        is_blind = isinstance(self.model.decoder, RecurrentDecoder) and isinstance(
            self.model.decoder.attention, NoAttention
        )
        if is_blind and isinstance(self.decoding, Beam) and self.decoding.coverage_penalty:
            wrong.append("`decoding.coverage_penalty` has no effect without `model.decoder.attention`")
        refuse(wrong)
        return self
