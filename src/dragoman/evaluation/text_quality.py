"""What is good and bad about answers in text: by length, rarity and confidence, and what looks made up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from dragoman.bundle import Bundle
from dragoman.data.text import TextCodec
from dragoman.evaluation.by_group import FEWEST, GroupScores, ranges, scores_of_group, scores_of_ranges
from dragoman.evaluation.calibration import Calibration, calibration, rank_correlation
from dragoman.evaluation.copies import Copies, copies
from dragoman.evaluation.data_facts import length_of, unit_of
from dragoman.evaluation.evaluate import Report
from dragoman.evaluation.metrics import Statistics, statistics
from dragoman.evaluation.source_gain import source_gains
from dragoman.evaluation.suspects import Repetition, Suspect, repetition, suspects
from dragoman.evaluation.systems import system_of
from dragoman.evaluation.word_frequency import (
    FrequencyBucket,
    accuracy_by_frequency,
    bucket_of,
    range_of,
    rarest,
)
from dragoman.evaluation.word_matches import Confusion, closest, confusions, right_places
from dragoman.evaluation.words import cut_of
from dragoman.recipe.metrics import Chrf
from dragoman.records import EOS, Hypothesis, text_of

_Name = Callable[[float, float], str]
_QUARTERS = 4


@dataclass(frozen=True)
class TextQuality:
    """What was found about answers in text, their examples by number from 0.

    `telling` grades single examples, `scores` are its grades. Ratios are of the lengths of answers and their
    closest references, in words. What needs the words of the training data is empty without these;
    `calibration` is of tokens, and None where their probabilities are not known; `confidence_tells` is the
    rank correlation of an answer's mean log-probability with its quality.
    """

    telling: Statistics
    scores: tuple[float, ...]
    length_unit: str
    by_length: tuple[GroupScores, ...]
    by_rarity: tuple[GroupScores, ...]
    by_confidence: tuple[GroupScores, ...]
    frequencies: tuple[FrequencyBucket, ...]
    copies: tuple[Copies, ...]
    repetition: Repetition
    suspects: tuple[Suspect, ...]
    length_ratios: tuple[float, ...]
    calibration: Calibration | None
    confidence_tells: float | None
    confusions: tuple[Confusion, ...]

    def order(self) -> list[int]:
        """Return the numbers of all examples, the best first; of equal ones the longest source first."""
        sign = 1 if self.telling.higher_is_better else -1
        return sorted(range(len(self.scores)), key=lambda number: -sign * self.scores[number])


def text_quality(bundle: Bundle, report: Report, trained: Mapping[str, int] | None) -> TextQuality:
    """Look at answers from all sides; `trained` counts the words of the training targets, where known."""
    cut = cut_of(bundle.codecs.text.section)
    predictions, telling = report.predictions, _telling(report)
    texts = [text_of(one.values[0]) for one in predictions]
    answers = [cut(text) for text in texts]
    given = [[cut(text_of(one)) for one in references] for references in report.references]
    references = [theirs[closest(ours, theirs)] for ours, theirs in zip(answers, given, strict=True)]
    codec, sources = bundle.codecs.source, [one.example.source for one in predictions]
    lengths = [length_of(codec, source) for source in sources]
    unit = unit_of(codec)
    shown = _statistics(report, telling)
    scores = tuple(telling.scores_N().tolist())
    surety = [_surety(one.hypotheses[0]) for one in predictions]
    is_text = all(isinstance(source, str) for source in sources) and unit == "tokens"
    named = [str(source) for source in sources] if is_text else [one.example.id for one in predictions]
    gains = source_gains(bundle, named, texts) if is_text else ()
    sign = 1 if telling.higher_is_better else -1
    return TextQuality(
        telling,
        scores,
        unit,
        scores_of_ranges(shown, ranges(lengths), report.evaluation, _length_name(unit)),
        _by_rarity(shown, references, trained, report),
        scores_of_ranges(shown, ranges(surety, _QUARTERS), report.evaluation, _surety_name),
        () if trained is None else accuracy_by_frequency(answers, references, trained),
        copies(named, texts, [list(map(text_of, one)) for one in report.references]) if is_text else (),
        repetition(answers, references),
        suspects(named, *_stretch(bundle, named, lengths), answers, references, gains),
        tuple(len(a) / len(b) for a, b in zip(answers, references, strict=True) if b),
        _token_calibration(bundle, report),
        rank_correlation(surety, [sign * score for score in scores]),
        confusions(answers, references),
    )


def _stretch(bundle: Bundle, sources: Sequence[str], lengths: Sequence[float]) -> tuple[Sequence[float], str]:
    """Return what lengths of answers are compared with, and its unit: words of sources that have several."""
    codec = bundle.codecs.source
    if isinstance(codec, TextCodec):
        words = [len(cut_of(codec.section)(source)) for source in sources]
        if median(words) > 1:
            return words, "word"
    return lengths, unit_of(codec).removesuffix("s")


def _statistics(report: Report, telling: Statistics) -> tuple[Statistics, ...]:
    """Choose by what groups are scored: the first metric, and the one that tells examples apart."""
    return tuple({one.label: one for one in (*report.statistics[:1], telling)}.values())


def _telling(report: Report) -> Statistics:
    """Choose what tells examples apart; chrF where a recipe asks for no metric at all."""
    if report.statistics:
        return system_of("", report).telling
    answers = [text_of(one.values[0]) for one in report.predictions]
    return statistics(Chrf(name="chrf"), answers, [list(map(text_of, one)) for one in report.references])


def _length_name(unit: str) -> _Name:
    digits = 1 if unit == "seconds" else 0

    def name(low: float, high: float) -> str:
        ends = [f"{end:.{digits}f}" for end in (low, high)]
        return f"{'–'.join(dict.fromkeys(ends))} {unit}"

    return name


def _surety_name(low: float, high: float) -> str:
    return f"{100 * math.exp(low):.1f}–{100 * math.exp(high):.1f}% a token"


def _surety(hypothesis: Hypothesis) -> float:
    """Return the mean log-probability of a token; NaN where an answer has none."""
    return sum(hypothesis.log_probs) / len(hypothesis.log_probs) if hypothesis.log_probs else math.nan


def _by_rarity(
    shown: Sequence[Statistics],
    references: Sequence[Sequence[str]],
    trained: Mapping[str, int] | None,
    report: Report,
) -> tuple[GroupScores, ...]:
    """Score examples by how often the training data have the rarest word that is wanted."""
    members: dict[int, list[int]] = {}
    for number, words in enumerate(references if trained is not None else ()):
        if (count := rarest(words, trained or {})) is not None:
            members.setdefault(bucket_of(count), []).append(number)
    return tuple(
        scores_of_group(times(*range_of(bucket)), shown, numbers, report.evaluation)
        for bucket, numbers in sorted(members.items())
        if len(numbers) >= FEWEST
    )


def times(low: int, high: int | None) -> str:
    """Write how often words stand in the training data."""
    if high is None:
        return f"{low:,} times or more"
    if high == 0:
        return "never"
    if low == high:
        return "once" if low == 1 else f"{low:,} times"
    return f"{low:,} to {high:,} times"


def _token_calibration(bundle: Bundle, report: Report) -> Calibration | None:
    """Compare the probability of each token of answers with whether edits to the reference leave it alone.

    The end symbol is left out: nearly every answer has one, and it always matches (Wang et al. 2020).
    """
    sure, right = [], []
    codec = bundle.codecs.text
    for prediction, given in zip(report.predictions, report.references, strict=True):
        hypothesis = prediction.hypotheses[0]
        if not hypothesis.tokens or len(hypothesis.tokens) != len(hypothesis.log_probs):
            continue
        tokens = [token for token in hypothesis.tokens if token != EOS]
        wanted = [codec.encode(one).tolist()[:-1] for one in given]
        sure += [math.exp(nats) for nats in hypothesis.log_probs[: len(tokens)]]
        right += right_places(tokens, wanted[closest(tokens, wanted)])
    return calibration(sure, right)
