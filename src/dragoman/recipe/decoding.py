"""What a recipe can say about decoding."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.section import Section, refuse

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


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


class Term(Section):
    """What answers must or must not say where a source says something."""

    source: str = Field(min_length=1)
    """Phrase of the source, matched as whole words; of phrases that overlap the longest counts."""
    must: str | None = Field(None, min_length=1)
    """Phrase that the answer must contain."""
    never: str | None = Field(None, min_length=1)
    """Phrase that it must not contain."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.must is None) == (self.never is None):
            raise ValueError(f"a term of {self.source!r} needs either `must` or `never`")
        return self


PhraseOfTarget = Annotated[str, Field(min_length=1)]


class Phrases(Section):
    """Phrases that answers must or must not contain (Hokamp and Liu 2017; Post and Vilar 2018).

    A finished answer keeps to all of them; an answer that is cut at its longest length has none of those that
    it must not contain.
    """

    must: tuple[PhraseOfTarget, ...] = ()
    """What every answer must contain."""
    never: tuple[PhraseOfTarget, ...] = ()
    """What no answer may contain."""
    terms: tuple[Term, ...] = ()
    """What depends on the source; a file of them: `--terminology FILE`."""
    whole_words: bool = True
    """Phrases end where words do; `false` where no spaces stand between words."""
    ignore_case: bool = False
    """Find the sources of terms in upper and lower case."""


class Greedy(Limits):
    """The most probable token at every step."""

    method: Literal["greedy"]
    ctc_weight: float = Field(0.0, ge=0, lt=1)
    """Share of each score that CTC on the encoder's steps has beside it (Watanabe et al. 2017)."""


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
    ctc_weight: float = Field(0.0, ge=0, lt=1)
    """Share of each score that CTC on the encoder's steps has beside it (Watanabe et al. 2017)."""
    groups: int = Field(1, ge=1)
    """Parts of the beam that keep away from each other (Vijayakumar et al. 2018); needs `diversity`."""
    diversity: float = Field(0.0, ge=0)
    """What a token costs for each time that an earlier group has chosen it at the same step."""
    phrases: Phrases | None = None
    """What answers must and must not contain."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if self.nbest > self.beam:
            wrong.append(f"`nbest` {self.nbest} is more than `beam` {self.beam}")
        if self.beam % self.groups:
            wrong.append(f"`beam` {self.beam} cannot be cut into {self.groups} `groups` of one size")
        if self.groups > 1 and not self.diversity:
            wrong.append("`groups` has no effect without `diversity`; 0.5 would do")
        if self.groups > 1 and self.phrases is not None:
            wrong.append("`groups` and `phrases` do not go together; leave one of them out")
        if self.groups == 1 and self.diversity:
            wrong.append("`diversity` has no effect without `groups`: 2 or more would do")
        refuse(wrong)
        return self


class Draws(Limits):
    """How tokens are drawn: `temperature` first, then what is cut off by `epsilon`, `top_k` and `top_p`."""

    temperature: float = Field(1.0, gt=0)
    epsilon: float = Field(0.0, ge=0, lt=1)
    """Draw no token that is less probable than this, but the most probable one (Hewitt et al. 2022)."""
    top_k: int = Field(0, ge=0)
    """Draw only from this many most probable tokens; 0 takes all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Draw only from the most probable tokens that together reach this probability (Holtzman et al. 2020)."""
    seed: Seed = 1


class Sample(Draws):
    """Draw tokens from the model's distribution."""

    method: Literal["sample"]
    samples: int = Field(1, ge=1)
    """How many answers to draw for each input."""


Utility = Literal["chrf", "bleu", "cer", "wer", "exact_match"]


class Mbr(Draws):
    """Minimum Bayes risk: the candidate that is best if each of the samples were right in its turn.

    Kumar and Byrne 2004, Eikema and Aziz 2022. The score of an answer is that expectation.
    """

    method: Literal["mbr"]
    samples: int = Field(32, ge=2)
    """How many answers to draw for each input; they stand for the right one."""
    candidates: int | None = Field(None, ge=0)
    """How many of them may be the answer, the most probable ones; all by default."""
    beam: int = Field(0, ge=0)
    """Width of a beam whose hypotheses may be the answer too."""
    epsilon: float = Field(0.02, ge=0, lt=1)
    """Draw no token that is less probable than this, but the most probable one (Hewitt et al. 2022)."""
    utility: Utility = "chrf"
    """How good a candidate is against a sample: of sentences as sacreBLEU, or 1 less the error rate."""
    nbest: int = Field(1, ge=1)
    """How many answers to give; at most as many as there are candidates."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        drawn = self.samples if self.candidates is None else self.candidates
        wrong = []
        if drawn > self.samples:
            wrong.append(f"`candidates` {drawn} are more than `samples` {self.samples}")
        if not drawn + self.beam:
            wrong.append("`candidates: 0` leaves no candidate without `beam`")
        elif self.nbest > drawn + self.beam:
            wrong.append(f"`nbest` {self.nbest} is more than there are candidates, {drawn + self.beam}")
        refuse(wrong)
        return self


class Ctc(Section):
    """What both ways of answering with CTC have in common."""

    batch_tokens: int = Field(8192, ge=1)
    """Budget of a decoding batch: rows times longest source; never changes answers."""
    precision: Literal["fp32", "int8"] = "fp32"
    """What matrix products are computed in; int8 is faster on a CPU, and its answers differ a little."""


class CtcGreedy(Ctc):
    """The most probable symbol of CTC at every step of the encoder, repeats and blanks left out."""

    method: Literal["ctc_greedy"]


class CtcBeam(Ctc):
    """The most probable prefixes of CTC, all ways to write each taken together (Hannun et al. 2014)."""

    method: Literal["ctc_beam"]
    beam: int = Field(10, ge=1)
    nbest: int = Field(1, ge=1)
    """How many answers to give; at most `beam`."""

    @model_validator(mode="after")
    def _nbest(self) -> Self:
        if self.nbest > self.beam:
            raise ValueError(f"`nbest` {self.nbest} is more than `beam` {self.beam}")
        return self


class Forecasting(Section):
    """Numbers: the model's point forecast, and on request samples and quantiles of its distribution."""

    method: Literal["forecast"]
    horizon: int | None = Field(None, ge=1)
    """Steps to forecast; those of `data.windows` by default, more than these only step by step. It must be
    said where there are no windows, unless answers are aligned with their sources."""
    samples: int = Field(0, ge=0)
    """Paths to draw from the model's distribution."""
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Levels to report: the model's own, or those of its samples."""
    seed: Seed = 1
    batch_tokens: int = Field(8192, ge=1)
    """Budget of a batch: rows times longest side; never changes answers."""
    precision: Literal["fp32"] = "fp32"


TokenDecoding = Greedy | Beam | Sample
"""Ways of writing tokens one after the other."""
CtcDecoding = CtcGreedy | CtcBeam
Decoding = Annotated[
    Greedy | Beam | Sample | Mbr | CtcGreedy | CtcBeam | Forecasting, Field(discriminator="method")
]
