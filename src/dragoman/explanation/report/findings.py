"""All that a report of a run says, found out: data, training, speed, quality, explanations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dragoman.bundle import Bundle
from dragoman.data.number_codec import NumbersCodec
from dragoman.data.prepare import stream_training
from dragoman.data.series_entries import is_of_series
from dragoman.errors import DataError, MissingExtra
from dragoman.evaluation.data_facts import (
    Coverage,
    TrainingFacts,
    coverage,
    lengths,
    rejected,
    training_facts,
)
from dragoman.evaluation.evaluate import Report, evaluate
from dragoman.evaluation.kept import answers_agree, read_kept
from dragoman.evaluation.overlap import NotKnown, find_overlap
from dragoman.evaluation.speed import Speed, measured, spread
from dragoman.evaluation.text_quality import TextQuality, text_quality
from dragoman.evaluation.training_log import TrainingLog, read_training_log
from dragoman.explanation.attribution import Method
from dragoman.explanation.report.forecast_quality import ForecastQuality, forecast_quality
from dragoman.explanation.report.shown_examples import ShownExample, shown_examples
from dragoman.explanation.report.weighing import Weighing, weigh_run
from dragoman.explanation.trust import Trust, trusted
from dragoman.model.ensemble import Ensemble
from dragoman.recipe.sections import Recipe
from dragoman.records import Example, Series, Value

Split = Literal["test", "dev"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a report says. Of text and speech there is `text`, of numbers `numbers`.

    `is_kept` says that answers are those that `evaluate` wrote, of which a part was asked for again.
    `training` is None for series, whose windows are not counted anew. Lengths are those of what is scored.
    `trust` in methods of explanation is None where it was not asked for; examples are explained by
    `shown_by`.
    """

    bundle: Bundle
    recipe: Recipe
    split: Split
    report: Report
    is_kept: bool
    parameters: int
    speed: Speed
    log: TrainingLog | None
    training: TrainingFacts | NotKnown | None
    rejected: Mapping[str, int] | None
    source_lengths: tuple[float, ...]
    target_lengths: tuple[float, ...]
    source_coverage: Coverage | None
    target_coverage: Coverage | None
    text: TextQuality | None
    numbers: ForecastQuality | None
    examples: tuple[ShownExample, ...]
    trust: Trust | NotKnown | None
    shown_by: Method


def find(
    bundle: Bundle,
    recipe: Recipe,
    examples: Sequence[Example],
    split: Split,
    *,
    weighing: Weighing,
    training: Iterable[tuple[Series, Series]] = (),
    shown: int = 4,
    workers: int = 1,
) -> Findings:
    """Look at a run from all sides; `recipe` is the bundle's own, perhaps with changes.

    Answers that `evaluate` wrote are taken where they are of these examples, decoded in this way, and a part
    of them comes out the same now. `training` windows of series are for baselines; `shown` examples are
    explained of the best, the worst and those between, by the method that examples of `weighing` speak for,
    or by occlusion. `workers`: see `evaluate`. Raises what `evaluate` raises, and UserError for a method that
    the model does not have.
    """
    speed, report, is_kept = _report(bundle, recipe, examples, split, training, workers)
    folder = bundle.folder
    trained = _training(recipe, bundle)
    report = replace(report, overlap=find_overlap(recipe, examples))
    known = trained if isinstance(trained, TrainingFacts) else None
    sources = [one.source for one in examples]
    targets = [value for one in examples for value in one.targets[:1]]
    source_codec, target_codec = bundle.codecs.source, bundle.codecs.target
    is_numeric = isinstance(target_codec, NumbersCodec)
    weighed = weigh_run(bundle, report.predictions, weighing)
    shown_by = (trusted(weighed) if isinstance(weighed, Trust) else None) or "occlusion"
    text = None if is_numeric else text_quality(bundle, report, known.target_words if known else None)
    return Findings(
        bundle,
        recipe,
        split,
        report,
        is_kept,
        sum(weight.numel() for weight in bundle.model.parameters()),
        speed,
        None if folder is None else read_training_log(folder / "log.jsonl"),
        trained,
        rejected(folder),
        lengths(source_codec, sources),
        lengths(target_codec, targets),
        coverage(source_codec, _texts(sources), known.source_words if known else None),
        coverage(target_codec, _texts(targets), known.target_words if known else None),
        text,
        forecast_quality(bundle, report, shown_by) if is_numeric else None,
        () if text is None else shown_examples(bundle, report, text, shown, shown_by),
        weighed,
        shown_by,
    )


def _texts(values: Sequence[Value]) -> list[Value]:
    return [value for value in values if isinstance(value, str)]


def _report(
    bundle: Bundle,
    recipe: Recipe,
    examples: Sequence[Example],
    split: Split,
    training: Iterable[tuple[Series, Series]],
    workers: int,
) -> tuple[Speed, Report, bool]:
    """Measure speed on some examples, and take what was written where these come out as written."""
    some = spread(examples)
    speed, answers = measured(bundle, [examples[number] for number in some], recipe.decoding)
    if bundle.folder is not None and not isinstance(bundle.model, Ensemble):
        kept = read_kept(
            bundle, bundle.folder / "evaluation" / split, examples, recipe.decoding, recipe.evaluation
        )
        if kept is not None and answers_agree(answers, [kept.predictions[number] for number in some]):
            return speed, kept, True
    report = evaluate(
        bundle, examples, recipe.decoding, recipe.evaluation, workers=workers, training=training
    )
    return speed, report, False


def _training(recipe: Recipe, bundle: Bundle) -> TrainingFacts | NotKnown | None:
    if is_of_series(recipe):
        return None
    try:
        return training_facts(stream_training(recipe), bundle.codecs)
    except (DataError, MissingExtra) as fault:
        return NotKnown(str(fault).splitlines()[0])
