"""Metrics of a corpus: percent, with an interval, and a signature that says how each was counted.

Every metric here is a function of statistics that add up over sentences, so that a resample costs a sum.
Shapes: N sentences, F features of a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from dragoman import __version__
from dragoman.errors import DataError
from dragoman.evaluation.moses import moses_signature, moses_tokenizer
from dragoman.evaluation.rouge import rouge
from dragoman.evaluation.significance import drawn_together, interval, wilson_interval
from dragoman.recipe.metrics import (
    Bleu,
    Chrf,
    ErrorRate,
    Evaluation,
    ExactMatch,
    Metric,
    Rouge,
    Ter,
    TextMetric,
)

Rows = NDArray[np.float64]
References = Sequence[Sequence[str]]
Sacre = BLEU | CHRF | TER


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of a corpus in percent, the ends of its interval, and how it was counted."""

    label: str
    value: float
    low: float
    high: float
    signature: str
    higher_is_better: bool


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a metric knows of each example, `rows_NF`, and what a sum (F,) of rows is worth.

    All that is said of a metric follows from these: its score, the score of some of the examples or of one,
    intervals, and whether two systems differ. Of windows in their order, `overlap` neighbours share steps;
    of a share (`is_share`) the first column counts the hits, one an example at most. A metric that
    `grades_examples` says of a single one how good it is: BLEU is 0 without four words in a row that are
    right, and a share knows only right and wrong.
    """

    label: str
    rows_NF: Rows
    score: Callable[[Rows], float]
    signature: str
    higher_is_better: bool
    overlap: int = 1
    is_share: bool = False
    grades_examples: bool = True

    @property
    def block(self) -> int:
        """How many neighbours are drawn together."""
        return drawn_together(len(self.rows_NF), self.overlap)

    def of(self, numbers: Sequence[int]) -> Statistics:
        """Keep some examples, by their numbers from 0."""
        return replace(self, rows_NF=self.rows_NF[list(numbers)])

    def scores_N(self) -> Rows:
        """Score every example by itself."""
        return np.array([self.score(row_F) for row_F in self.rows_NF])


def measure(metric: TextMetric, answers: Sequence[str], references: References, section: Evaluation) -> Score:
    """Score answers against one or more references each, with an interval; see `statistics`, `scored`."""
    return scored(statistics(metric, answers, references), section)


def scored(found: Statistics, section: Evaluation) -> Score:
    """Score a corpus, with an interval: a bootstrap's (Koehn 2004), and Wilson's for shares (Wilson 1927)."""
    if found.is_share:
        ends = wilson_interval(found.rows_NF[:, 0].sum(), len(found.rows_NF), section.confidence)
    else:
        samples, confidence, seed = section.bootstrap_samples, section.confidence, section.seed
        ends = interval(found.rows_NF, found.score, samples, confidence, seed, found.block)
    return Score(found.label, *ends, found.signature, found.higher_is_better)


def statistics(metric: TextMetric, answers: Sequence[str], references: References) -> Statistics:
    """Compare answers with one or more references each.

    Raises DataError where there is nothing to score or an answer has no reference.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers do not go with references for {len(references)}")
    if not answers:
        raise DataError(f"nothing to score: `{metric.label}` got no examples")
    if bare := [number for number, given in enumerate(references, 1) if not given]:
        raise DataError(f"nothing to compare with: example {bare[0]} has no reference; {len(bare)} have none")
    found = _compared(metric, answers, references)
    return Statistics(
        metric.label,
        found.rows_NF,
        found.score,
        found.signature,
        higher_is_better(metric),
        is_share=isinstance(metric, ExactMatch),
        grades_examples=not isinstance(metric, Bleu | ExactMatch),
    )


def higher_is_better(metric: Metric) -> bool:
    """Say which way a metric improves: error rates fall."""
    return isinstance(metric, Bleu | Chrf | ExactMatch | Rouge)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Statistics as a kind of metric makes them."""

    rows_NF: Rows
    score: Callable[[Rows], float]
    signature: str


def _compared(metric: TextMetric, answers: Sequence[str], references: References) -> _Compared:
    match metric:
        case Bleu(tokenize="moses", language=str(language)):
            return _moses_bleu(metric.lowercase, language, answers, references)
        case Bleu():
            sacre = BLEU(metric.lowercase, tokenize=metric.tokenize, force=metric.tokenize == "none")
            return _sacrebleu(sacre, answers, references)
        case Chrf():
            return _sacrebleu(
                CHRF(word_order=metric.word_order, lowercase=metric.lowercase), answers, references
            )
        case Ter():
            return _sacrebleu(TER(case_sensitive=not metric.lowercase), answers, references)
        case ExactMatch():
            hits = [(answer in given, 1) for answer, given in zip(answers, references, strict=True)]
            return _ratio(hits, "refs:any|interval:wilson")
        case ErrorRate(name=name):
            units = list if name == "cer" else str.split
            edits = [_edits(units, a, given) for a, given in zip(answers, references, strict=True)]
            unit = "characters" if name == "cer" else "whitespace-words"
            return _ratio(edits, f"unit:{unit}|refs:closest|edits:levenshtein")
        case Rouge(name=name):
            f1s = [(rouge(name, a, given), 1) for a, given in zip(answers, references, strict=True)]
            return _ratio(f1s, f"score:{name}-f1|words:unicode-lc|stem:no|refs:best")


def _moses_bleu(lowercase: bool, language: str, answers: Sequence[str], references: References) -> _Compared:
    tokenize = moses_tokenizer(language, lowercase)
    found = _sacrebleu(
        BLEU(lowercase, tokenize="none", force=True),
        [tokenize(answer) for answer in answers],
        [[tokenize(reference) for reference in given] for given in references],
    )
    signature = found.signature.replace("tok:none", f"tok:{moses_signature(language)}")
    return _Compared(found.rows_NF, found.score, signature)


def _sacrebleu(sacre: Sacre, answers: Sequence[str], references: References) -> _Compared:
    """Take sentence statistics from sacreBLEU: the only use of its private names, the same from 2.4 to 2.6.

    sacreBLEU wants one stream a reference; where an example has fewer than another, None fills its place.
    """
    streams = list(zip_longest(*references))
    rows = sacre._extract_corpus_statistics(answers, streams)
    are_counts = not isinstance(sacre, TER)  # which has the mean length of several references

    def score(sums_F: Rows) -> float:
        sums: list[Any] = (sums_F.astype(np.int64) if are_counts else sums_F).tolist()
        return float(sacre._compute_score_from_stats(sums).score)

    return _Compared(np.array(rows, np.float64), score, f"{sacre.get_signature()}")


def _ratio(rows: Sequence[tuple[float, float]], signature: str) -> _Compared:
    """Divide one sum by another, in percent; over nothing, something counts as 100 and nothing as 0."""

    def score(sums_F: Rows) -> float:
        above, below = sums_F.tolist()
        return 100 * (above / below if below else float(above > 0))

    return _Compared(np.array(rows, np.float64), score, f"{signature}|dragoman:{__version__}")


def _edits(
    units: Callable[[str], Sequence[Hashable]], answer: str, references: Sequence[str]
) -> tuple[int, int]:
    """Count edits to the closest reference, and its length: the smallest share of edits, then the fewest."""
    ours = units(answer)
    pairs = [(Levenshtein.distance(ours, theirs), len(theirs)) for theirs in map(units, references)]
    return min(pairs, key=lambda pair: (_share(*pair), pair[0]))


def _share(edits: int, length: int) -> float:
    if length:
        return edits / length
    return float("inf") if edits else 0.0
