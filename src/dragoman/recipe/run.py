"""What a recipe can say about training, decoding and evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dragoman.recipe.section import Section, refuse

LearningRate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class CrossEntropy(Section):
    """Negative log-likelihood of the target, a token."""

    kind: Literal["cross_entropy"]
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the probability that the reference gives away to all symbols alike (Szegedy et al. 2016)."""


Objective = Annotated[CrossEntropy, Field()]


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

    objective: Objective = CrossEntropy(kind="cross_entropy")
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


class Limits(Section):
    """What holds for every way of decoding."""

    max_length: int = Field(1024, ge=1)
    """Longest output in tokens, end symbol included; `max_ratio` and `max_extra` may end it earlier."""
    max_ratio: float = Field(2.0, gt=0)
    """Longest output: this many times the source's length, plus `max_extra`."""
    max_extra: int = Field(50, ge=0)
    min_length: int = Field(0, ge=0)
    """Shortest output in tokens, end symbol not counted."""
    no_repeat_ngram: int = Field(0, ge=0)
    """No run of this many tokens comes twice; 0 allows all."""
    batch_tokens: int = Field(8192, ge=1)
    """Budget of a decoding batch: rows (beams included) times longest source; never changes answers."""
    precision: Literal["fp32", "int8"] = "fp32"
    """What matrix products are computed in; int8 is faster on a CPU, and its answers differ a little."""

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.min_length >= self.max_length:
            raise ValueError(
                f"`min_length` {self.min_length} does not fit into `max_length` {self.max_length}"
            )
        return self


class Greedy(Limits):
    """The most probable token at every step."""

    method: Literal["greedy"]


class Beam(Limits):
    """Beam search."""

    method: Literal["beam"]
    beam: int = Field(5, ge=1)
    nbest: int = Field(1, ge=1)
    """How many answers to give; at most `beam`."""
    length_penalty: float = Field(1.0, ge=0)
    """Divide the score by ((5 + length) / 6) to this power (Wu et al. 2016); 0 does not."""
    coverage_penalty: float = Field(0.0, ge=0)
    """Weight of the penalty for source steps that nobody looked at (Wu et al. 2016)."""

    @model_validator(mode="after")
    def _nbest(self) -> Self:
        if self.nbest > self.beam:
            raise ValueError(f"`nbest` {self.nbest} is more than `beam` {self.beam}")
        return self


class Sample(Limits):
    """Draw tokens from the model's distribution."""

    method: Literal["sample"]
    samples: int = Field(1, ge=1)
    """How many answers to draw for each input."""
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(0, ge=0)
    """Draw only from this many most probable tokens; 0 takes all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw only from the most probable tokens that together reach this probability (Holtzman et al. 2020)."""
    seed: Seed = 1


Decoding = Annotated[Greedy | Beam | Sample, Field(discriminator="method")]


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


Metric = Annotated[
    Annotated[Bleu | Chrf | Ter | ExactMatch | ErrorRate | Rouge, Field(discriminator="name")],
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
        labels = [metric.label for metric in self.metrics]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice or "loss" in labels:
            raise ValueError(f"metrics need different labels, none of them `loss`; mend {twice or ['loss']}")
        return self
