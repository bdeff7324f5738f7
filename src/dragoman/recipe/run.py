"""What a recipe can say about training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.objectives import CROSS_ENTROPY, Objective
from dragoman.recipe.section import Section, refuse

LearningRate = Annotated[float, Field(gt=0)]


class SGD(Section):
    """Stochastic gradient descent."""

    kind: Literal["sgd"]
    learning_rate: LearningRate = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` has no effect without `momentum`")
        return self


class Adam(Section):
    """Adam (Kingma and Ba 2015), or AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adam", "adamw"]
    learning_rate: LearningRate = 0.001
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.98, ge=0, lt=1)
    epsilon: float = Field(1e-9, gt=0)
    weight_decay: float = Field(0.0, ge=0)


class Adafactor(Section):
    """Adafactor (Shazeer and Stern 2018): second moments in rows and columns."""

    kind: Literal["adafactor"]
    learning_rate: LearningRate = 0.01
    weight_decay: float = Field(0.0, ge=0)


Optimizer = Annotated[SGD | Adam | Adafactor, Field(discriminator="kind")]


class Constant(Section):
    """The learning rate stays, after a linear warm-up."""

    kind: Literal["constant"]
    warmup_steps: int = Field(0, ge=0)


class InverseSqrt(Section):
    """Falls with the square root of the step after a linear warm-up (Vaswani et al. 2017)."""

    kind: Literal["inverse_sqrt"]
    warmup_steps: int = Field(1000, ge=1)


class Decay(Section):
    """Falls on a line or half a cosine from the end of the warm-up to the last step."""

    kind: Literal["linear", "cosine"]
    warmup_steps: int = Field(0, ge=0)
    steps: int | None = Field(None, ge=1)
    """Step at which the fall ends; `training.max_steps` by default."""
    final_fraction: float = Field(0.0, ge=0, le=1)
    """Share of the learning rate that is left at the end."""

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.steps is not None and self.steps <= self.warmup_steps:
            raise ValueError(f"`steps` {self.steps} leaves nothing after `warmup_steps` {self.warmup_steps}")
        return self


class Plateau(Section):
    """Multiplied by `factor` when the watched metric has not improved for `patience` validations."""

    kind: Literal["plateau"]
    warmup_steps: int = Field(0, ge=0)
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(2, ge=0)


Schedule = Annotated[Constant | InverseSqrt | Decay | Plateau, Field(discriminator="kind")]


class NoAverage(Section):
    """The last weights as they are."""

    kind: Literal["none"]


class ExponentialAverage(Section):
    """An exponential moving average of the weights is validated and kept."""

    kind: Literal["exponential"]
    decay: float = Field(0.999, gt=0, lt=1)


class CheckpointAverage(Section):
    """The mean of the weights at the last checkpoints is validated and kept."""

    kind: Literal["checkpoints"]
    count: int = Field(5, ge=2)


Average = Annotated[NoAverage | ExponentialAverage | CheckpointAverage, Field(discriminator="kind")]


class EarlyStopping(Section):
    """Stop when the watched metric has not improved for some validations."""

    patience: int = Field(10, ge=1)


class Training(Section):
    """From random weights to a bundle."""

    objective: Objective = CROSS_ENTROPY
    begin_with: str | None = None
    """Folder of a finished run whose weights to begin with: each part of its model that has the same shapes
    here, and the same vocabulary where it has one. Random weights by default."""
    optimizer: Optimizer = Adam(kind="adam")
    schedule: Schedule = InverseSqrt(kind="inverse_sqrt")
    batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = 4096
    """Budget of a batch: rows times longest side, padding included; `auto` measures which is fastest."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients make one step."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    max_steps: int | None = Field(None, ge=1)
    max_epochs: float | None = Field(None, gt=0)
    max_minutes: float | None = Field(None, gt=0)
    """Time limit of the whole run, interruptions not counted; results then depend on the machine."""
    validate_every: int = Field(500, ge=1)
    """Steps between validations."""
    validation_examples: int = Field(500, ge=1)
    """How many development examples are decoded at each validation: always the same ones."""
    watch: str = "loss"
    """What picks the best weights, plateaus and early stops: `loss`, or the label of a metric."""
    early_stopping: EarlyStopping | None = None
    average: Average = NoAverage(kind="none")
    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """How many of the last complete checkpoints stay on the disk."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of `log.jsonl`."""
    tensorboard: bool = False
    """Write TensorBoard events beside `log.jsonl`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`bf16` multiplies matrices in bfloat16 over float32 weights; `auto` where hardware has units for it."""
    compile: bool = False
    """Let torch's compiler make kernels of Transformer layers, on a GPU: minutes at first, then faster steps.
    Results of a resumed run then agree with those of an uninterrupted one to rounding only."""
    pad_to: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Lengths of token batches are multiples of this; `auto` is 8 on a GPU, whose units multiply by eights,
    and which then sees fewer shapes, 1 on a processor."""
    threads: int | None = Field(None, ge=1)
    """Processor threads; torch chooses by default. Results repeat to the bit only with the same number."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if not (self.max_steps or self.max_epochs or self.max_minutes or self.early_stopping):
            wrong.append(
                "nothing ends the run: give `max_steps`, `max_epochs`, `max_minutes` or `early_stopping`"
            )
        if isinstance(self.schedule, Decay) and self.schedule.steps is None and self.max_steps is None:
            wrong.append(f"`schedule: {self.schedule.kind}` needs `schedule.steps` or `max_steps`")
        refuse(wrong)
        return self
