"""A recipe: the whole run as validated, frozen data. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.agreement import (
    of_alignment,
    of_data,
    of_horizon,
    of_losses,
    of_metrics,
    of_model,
    of_tokens,
)
from dragoman.recipe.data import Codec, Data
from dragoman.recipe.decoding import Beam, Decoding, Seed
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.model import AlignedAttention, Model, NoAttention, RecurrentDecoder
from dragoman.recipe.run import Training
from dragoman.recipe.section import Section, refuse
from dragoman.recipe.series import Numbers


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

    @model_validator(mode="before")
    @classmethod
    def _fitting_defaults(cls, given: Any) -> Any:
        """Let numbers be forecast, with the squared error, where nothing else is said."""
        return with_fitting_defaults(given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if self.joint_vocabulary and self.source != self.target:
            wrong.append("`joint_vocabulary` needs `source` and `target` to say the same")
        if self.joint_vocabulary and self.data.target_vocabulary is not None:
            wrong.append("`joint_vocabulary` and `data.target_vocabulary` do not go together")
        wrong += of_data(self.data, self.source, self.target)
        wrong += of_model(self.source, self.joint_vocabulary, self.model)
        wrong += of_alignment(self.data, self.source, self.target, self.model, self.training.objective)
        wrong += of_tokens(self.model, self.training.objective)
        wrong += of_losses(self.target, self.model, self.training.objective, self.decoding)
        if isinstance(self.target, Numbers) and self.training.pad_to not in ("auto", 1):
            wrong.append(
                f"`training.pad_to: {self.training.pad_to}` has no effect on `target.kind: numbers`: windows "
                "have their length"
            )
        wrong += of_horizon(self.data, self.target, self.model, self.decoding)
        wrong += of_metrics(self.data, self.source, self.target, self.evaluation)
        labels = ["loss", *(metric.label for metric in self.evaluation.metrics)]
        if self.training.watch not in labels:
            wrong.append(
                f"`training.watch: {self.training.watch}` is none of {', '.join(labels)}; a metric is "
                "watched where `evaluation.metrics` has it"
            )
        is_blind = isinstance(self.model.decoder, RecurrentDecoder) and isinstance(
            self.model.decoder.attention, NoAttention | AlignedAttention
        )
        if is_blind and isinstance(self.decoding, Beam) and self.decoding.coverage_penalty:
            wrong.append("`decoding.coverage_penalty` has no effect without `model.decoder.attention`")
        refuse(wrong)
        return self


def with_fitting_defaults(given: Any) -> Any:
    """Say for a target of numbers what is else by default for text: how it is learnt and how written."""
    match given:
        case {"target": {"kind": "numbers"} | Numbers()}:
            given = {"decoding": {"method": "forecast"}, **given}
            match given:
                case {"training": {"objective": _}}:
                    pass
                case {"training": {**training}}:
                    given["training"] = {**training, "objective": {"kind": "squared"}}
    return given
