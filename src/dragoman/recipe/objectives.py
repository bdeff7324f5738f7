"""What a recipe can say about the loss."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.decoding import Utility
from dragoman.recipe.section import Section, refuse


class Told(Section):
    """What losses have in common whose steps are told the target before them."""

    scheduled_sampling: float = Field(0.0, ge=0, le=1)
    """Share of the steps that are told the model's own answer to the step before in training (Bengio et al.
    2015). Numbers are taken step by step for it; tokens are those of a first pass that is told the reference
    (Mihaylova and Martins 2019)."""
    sampling_warmup_steps: int = Field(0, ge=0)
    """Steps of training in which that share rises in a line; 0 has all of it from the first step on."""

    @model_validator(mode="after")
    def _is_sampled(self) -> Self:
        if self.sampling_warmup_steps and not self.scheduled_sampling:
            raise ValueError(
                "`sampling_warmup_steps` has no effect without `scheduled_sampling`; 0.25 would do"
            )
        return self


class MinimumRisk(Section):
    """The expected cost of answers that are drawn beside the cross-entropy (Shen et al. 2016).

    A step takes many times as long: the model answers, and reads its answers.
    """

    weight: float = Field(0.5, gt=0, lt=1)
    """Share of the loss; the rest is that of the reference."""
    cost: Utility = "chrf"
    """What an answer costs that is not the reference: 1 less chrF, BLEU (of sentences) or exact match, or the
    error rate in characters or words."""
    samples: int = Field(8, ge=2)
    """How many answers are drawn for each source; the distinct ones are candidates."""
    temperature: float = Field(1.0, gt=0)
    """Of drawing; above 1 candidates differ more."""
    sharpness: float = Field(1.0, gt=0)
    """Power of the probabilities of candidates, which then share 1 (alpha in the paper: 0.005)."""
    with_reference: bool = True
    """The reference is a candidate too."""


class CrossEntropy(Told):
    """Negative log-likelihood of the target, a token."""

    kind: Literal["cross_entropy"]
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the probability that the reference gives away to all symbols alike (Szegedy et al. 2016)."""
    ctc_weight: float = Field(0.0, ge=0, lt=1)
    """Share of the loss that CTC on the encoder's steps has beside it (Watanabe et al. 2017)."""
    guided_alignment: float = Field(0.0, ge=0)
    """Weight of the cross-entropy of attention with given alignments beside it (Chen et al. 2016)."""
    r_drop: float = Field(0.0, ge=0)
    """Weight of how far apart two passes with different dropout are (Liang et al. 2021, their alpha); takes
    twice the time and memory."""
    minimum_risk: MinimumRisk | None = None
    """Make the expected cost of the model's own answers smaller too; usually after `training.begin_with`."""


CROSS_ENTROPY = CrossEntropy(kind="cross_entropy")
"""The loss of a recipe that names none."""


class Ctc(Section):
    """Connectionist temporal classification (Graves et al. 2006): the encoder alone writes the target."""

    kind: Literal["ctc"]


class Numeric(Told):
    """What all losses of numbers have in common."""


class Distance(Numeric):
    """A loss that measures how far off a number is."""

    units: Literal["codec", "data"] = "data"
    """What errors are measured in: the codec's scale, or for scales of a window that of all training data."""


class Squared(Distance):
    """The squared error."""

    kind: Literal["squared"]


class Absolute(Distance):
    """The absolute error."""

    kind: Literal["absolute"]


class Huber(Distance):
    """Squared where the error is small, absolute where it is large (Huber 1964)."""

    kind: Literal["huber"]
    delta: float = Field(1.0, gt=0)
    """Error at which one becomes the other."""


class Quantile(Distance):
    """The pinball loss of several quantiles (Koenker and Bassett 1978); the answer is the median."""

    kind: Literal["quantile"]
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Rising, 0.5 among them."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        wrong = []
        if list(self.levels) != sorted(set(self.levels)):
            wrong.append(f"`levels` must rise, found {list(self.levels)}")
        if 0.5 not in self.levels:
            wrong.append("`levels` need 0.5, the median, which is the answer")
        refuse(wrong)
        return self


class Likelihood(Numeric):
    """Negative log-likelihood of a distribution of each number: a normal one, or the heavier Student's t."""

    kind: Literal["gaussian", "student_t"]


NumericObjective = Squared | Absolute | Huber | Quantile | Likelihood
Objective = Annotated[
    CrossEntropy | Ctc | Squared | Absolute | Huber | Quantile | Likelihood, Field(discriminator="kind")
]
