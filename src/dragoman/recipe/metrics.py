"""What a recipe can say about evaluation."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dragoman.recipe.decoding import Seed
from dragoman.recipe.section import Section
from dragoman.recipe.series import Crps, ForecastError, Mase, Smape


class Bleu(Section):
    """BLEU by sacreBLEU."""

    name: Literal["bleu"]
    label: str = "bleu"
    lowercase: bool = False
    tokenize: Literal["13a", "intl", "char", "zh", "none", "moses"] = "13a"
    """`moses` tokenises with sacremoses (extra `moses`), as older published scores did."""
    language: str | None = None
    """Language of `moses` tokenisation."""

    @model_validator(mode="after")
    def _language(self) -> Self:
        if (self.tokenize == "moses") != (self.language is not None):
            raise ValueError("`language` goes with `tokenize: moses`, and only with it")
        return self


class Chrf(Section):
    """The chrF score by sacreBLEU; `word_order: 2` is chrF++."""

    name: Literal["chrf"]
    label: str = "chrf"
    word_order: int = Field(0, ge=0)
    lowercase: bool = False


class Ter(Section):
    """Translation edit rate by sacreBLEU; lower is better."""

    name: Literal["ter"]
    label: str = "ter"
    lowercase: bool = True


class ExactMatch(Section):
    """Share of answers that equal a reference, in percent."""

    name: Literal["exact_match"]
    label: str = "exact_match"


class ErrorRate(Section):
    """Edits to the closest reference over its length, in percent, in characters or words; lower is better."""

    name: Literal["cer", "wer"]
    label: str = ""

    @model_validator(mode="before")
    @classmethod
    def _label(cls, given: Any) -> Any:
        return {"label": given.get("name"), **given} if isinstance(given, dict) else given


class Rouge(Section):
    """ROUGE F-score of unigrams, bigrams or the longest common subsequence (Lin 2004)."""

    name: Literal["rouge1", "rouge2", "rougeL"]
    label: str = ""

    @model_validator(mode="before")
    @classmethod
    def _label(cls, given: Any) -> Any:
        return {"label": given.get("name"), **given} if isinstance(given, dict) else given


TextMetric = Bleu | Chrf | Ter | ExactMatch | ErrorRate | Rouge
"""Metrics of answers in text."""
Metric = Annotated[
    Annotated[
        Bleu | Chrf | Ter | ExactMatch | ErrorRate | Rouge | ForecastError | Smape | Mase | Crps,
        Field(discriminator="name"),
    ],
    BeforeValidator(lambda given: {"name": given} if isinstance(given, str) else given),
]


class Evaluation(Section):
    """How answers are scored."""

    metrics: tuple[Metric, ...] = Field((), validate_default=True)
    """Names, or sections with options; none scores the loss only."""
    references: Literal["raw", "normalised"] = "raw"
    """`normalised` compares with references as the target codec normalises them (case, Unicode form)."""
    bootstrap_samples: int = Field(1000, ge=100)
    """Resamples behind each confidence interval (Koehn 2004); exact match has Wilson's (1927)."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: Seed = 12345

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels = Counter(metric.label for metric in self.metrics)
        twice = sorted(label for label, count in labels.items() if count > 1)
        if twice or "loss" in labels:
            raise ValueError(f"metrics need different labels, none of them `loss`; mend {twice or ['loss']}")
        return self
