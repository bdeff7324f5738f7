"""What sections of a recipe must agree on: kinds of values, losses, ways of decoding, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dragoman.recipe.data import Bytes, Codec, Corpus, Data, Nothing, Parallel, Subwords, Table, TextSection
from dragoman.recipe.decoding import Beam, CtcBeam, CtcGreedy, Decoding, Forecasting, Greedy
from dragoman.recipe.metrics import Evaluation, Metric
from dragoman.recipe.model import AlignedAttention, Model, NoAttention, NoDecoder, RecurrentDecoder
from dragoman.recipe.objectives import CrossEntropy, Ctc, Likelihood, NumericObjective, Objective, Quantile
from dragoman.recipe.rollout import DEFAULT_ROLLOUT
from dragoman.recipe.series import Crps, ForecastError, Mase, Numbers, SeriesFiles, Smape
from dragoman.recipe.speech import Manifest, Speech


def of_data(data: Data, source: Codec, target: Codec) -> Iterator[str]:
    """Say where files do not hold what the codecs take."""
    corpora = [corpus for corpus in (*data.train, data.dev, data.test) if corpus is not None]
    if isinstance(target, Speech):
        yield "`target.kind: speech`: speech is read, not written; text or numbers would do"
    if isinstance(target, Nothing):
        yield "`target.kind: nothing` leaves nothing to learn; text or numbers would do"
    if data.target_vocabulary is not None and isinstance(target, Numbers | Bytes):
        yield f"`data.target_vocabulary` has no effect on `target.kind: {target.kind}`, which learns none"
    has_audio = [isinstance(corpus, Manifest) for corpus in corpora]
    if isinstance(source, Speech) and not all(has_audio):
        yield "`source.kind: speech` reads corpora with a `manifest`, found others in `data`"
    if not isinstance(source, Speech) and any(has_audio):
        yield f"`data` has a `manifest` of audio, but `source.kind` is {source.kind}; `speech` would do"
    yield from _of_series(data, [isinstance(corpus, SeriesFiles) for corpus in corpora], source, target)
    yield from _of_numbers(corpora, source, target)


def _of_series(data: Data, are_series: list[bool], source: Codec, target: Codec) -> Iterator[str]:
    if any(are_series) and not all(are_series):
        yield "`data` mixes `series` with other corpora; windows of series are examples of their own kind"
    if any(are_series) and not (isinstance(source, Numbers) and isinstance(target, Numbers)):
        yield "`data` has `series`, which need `source.kind: numbers` and `target.kind: numbers`"
    if any(are_series) and data.windows is None:
        yield "`data` has `series`; `data.windows` must say how they are cut into examples"
    if data.windows is not None and not any(are_series):
        yield "`data.windows` has no effect without `series`"
    if any(are_series) and (data.held_out_dev or data.held_out_test):
        yield "series are split by time, not by chance: give each of `train`, `dev` and `test` its `part`"
    if not any(are_series):
        yield from _of_rows(source, target)


def _of_rows(source: Codec, target: Codec) -> Iterator[str]:
    """Say what numbers that stand in rows cannot be scaled by: they belong to no series."""
    for side, codec in (("source", source), ("target", target)):
        if isinstance(codec, Numbers) and codec.scale == "series":
            yield f"`{side}.scale: series` needs `series` in `data`; numbers in rows belong to none"
    by_window = isinstance(target, Numbers) and target.scale in ("window", "level")
    if isinstance(target, Numbers) and by_window and not isinstance(source, Numbers):
        yield (
            f"`target.scale: {target.scale}` scales as a source in numbers does, found "
            f"`source.kind: {source.kind}`"
        )


def of_alignment(
    data: Data, source: Codec, target: Codec, model: Model, objective: Objective
) -> Iterator[str]:
    """Say where alignments are given and not learnt from, or cannot be."""
    is_given = [
        isinstance(corpus, Parallel | Table) and corpus.alignment is not None for corpus in data.train
    ]
    if not isinstance(objective, CrossEntropy) or not objective.guided_alignment:
        if any(is_given):
            yield "`alignment` in `data.train` has no effect without `training.objective.guided_alignment`"
        return
    if not any(is_given):
        yield "`training.objective.guided_alignment` needs `alignment` in `data.train`"
    for side, codec in (("source", source), ("target", target)):
        if not isinstance(codec, TextSection):
            yield f"`training.objective.guided_alignment` is for words, found `{side}.kind: {codec.kind}`"
        elif isinstance(codec, Subwords) and codec.sampling:
            yield f"`{side}.sampling` cuts words anew, which `guided_alignment` cannot follow; 0 would do"
    decoder = model.decoder
    if isinstance(decoder, NoDecoder) or (
        isinstance(decoder, RecurrentDecoder)
        and isinstance(decoder.attention, NoAttention | AlignedAttention)
    ):
        yield "`training.objective.guided_alignment` needs a decoder that attends to its source"


def of_tokens(model: Model, objective: Objective) -> Iterator[str]:
    """Say where the model leaves an option of the cross-entropy without effect."""
    if not isinstance(objective, CrossEntropy):
        return
    if objective.r_drop and not _has_dropout(model):
        yield (
            "`training.objective.r_drop` has no effect without dropout in `model.encoder` or "
            "`model.decoder`: both passes are alike; `dropout: 0.1` would do"
        )


def _has_dropout(model: Model) -> bool:
    parts = (model.encoder, model.decoder)
    return any(rate > 0 for part in parts for key, rate in part if key.endswith("dropout"))


def of_horizon(data: Data, target: Codec, model: Model, decoding: Decoding) -> Iterator[str]:
    """Say where nothing tells how many numbers are forecast."""
    if not isinstance(target, Numbers) or not isinstance(decoding, Forecasting) or data.windows is not None:
        return
    if decoding.horizon is None and not _is_aligned(model):
        yield (
            "`decoding.horizon` is missing: without `data.windows` it says how many steps are forecast; "
            "those beyond a shorter target are not scored"
        )


def _of_numbers(corpora: Sequence[Corpus], source: Codec, target: Codec) -> Iterator[str]:
    """Say what the side of a codec of numbers leaves without effect or cannot have."""
    if isinstance(source, Numbers):
        if source.season is not None:
            yield "`source.season` has no effect: `target.season` is what forecasts are held against"
        if source.calendar and not all(
            isinstance(corpus, SeriesFiles) and corpus.time is not None for corpus in corpora
        ):
            yield "`source.calendar` needs the times of every corpus: `series` with their column of `time`"
    if isinstance(target, Numbers):
        if target.calendar:
            yield "`target.calendar` has no effect: `source.calendar` is told for the horizon as well"
        if target.missing != "refuse":
            yield (
                f"`target.missing: {target.missing}` has no effect: missing values of a target are left out "
                "of the loss"
            )


def of_losses(target: Codec, model: Model, objective: Objective, decoding: Decoding) -> Iterator[str]:
    """Say where the loss or the decoding does not fit the target or the model."""
    is_numeric = not isinstance(objective, CrossEntropy | Ctc)
    writes_numbers = isinstance(target, Numbers)
    if writes_numbers != is_numeric:
        fitting = "a loss of numbers, for instance squared" if writes_numbers else "cross_entropy or ctc"
        wrong = f"`training.objective.kind: {objective.kind}` does not fit `target.kind: {target.kind}`"
        yield f"{wrong}; {fitting} would"
    if writes_numbers != isinstance(decoding, Forecasting):
        fitting = "forecast" if writes_numbers else "greedy, beam, sample or mbr"
        wrong = f"`decoding.method: {decoding.method}` does not fit `target.kind: {target.kind}`"
        yield f"{wrong}; {fitting} would"
    yield from _of_ctc(model, objective, decoding)
    if isinstance(model.decoder, NoDecoder):
        yield from _of_no_decoder(model)
    if not writes_numbers and model.rollout is not None:
        yield f"`model.rollout` has no effect on `target.kind: {target.kind}`: it is for numbers"
    if writes_numbers and model.tie == "decoder":
        yield "`model.tie: decoder` has no effect on `target.kind: numbers`: numbers have no embeddings"
    if writes_numbers and not isinstance(objective, CrossEntropy | Ctc):
        yield from _of_rollout(model, objective)
        if isinstance(decoding, Forecasting):
            yield from of_forecasts(objective, decoding)


def _of_rollout(model: Model, objective: NumericObjective) -> Iterator[str]:
    rollout = model.rollout or DEFAULT_ROLLOUT
    if rollout.kind == "whole" and objective.scheduled_sampling:
        yield (
            "`training.objective.scheduled_sampling` has no effect with `model.rollout.kind: whole`: "
            "no step is told values"
        )
    if _is_aligned(model) and rollout.patch > 1:
        yield (
            f"`model.rollout.patch: {rollout.patch}` does not fit `model.decoder.attention.kind: aligned`, "
            "whose every step reads one step"
        )


def _is_aligned(model: Model) -> bool:
    return isinstance(model.decoder, RecurrentDecoder) and isinstance(
        model.decoder.attention, AlignedAttention
    )


def of_forecasts(objective: NumericObjective, decoding: Forecasting) -> Iterator[str]:
    """Say what a forecast is asked for that a model with this loss does not know."""
    if decoding.samples and not isinstance(objective, Likelihood):
        yield (
            f"`decoding.samples` needs a distribution, and `training.objective.kind: {objective.kind}` has "
            "none; gaussian or student_t would"
        )
    if not decoding.quantiles:
        return
    match objective:
        case Quantile():
            if unknown := [level for level in decoding.quantiles if level not in objective.levels]:
                yield (
                    f"`decoding.quantiles`: {unknown} are not among `training.objective.levels` "
                    f"{list(objective.levels)}, and this model knows no others"
                )
        case Likelihood():
            if not decoding.samples:
                yield (
                    "`decoding.quantiles` of a distribution are those of its samples; "
                    "`decoding.samples: 100` would do"
                )
        case _:
            yield (
                f"`decoding.quantiles` need a distribution, and `training.objective.kind: {objective.kind}` "
                "has none; quantile, gaussian or student_t would"
            )


def _of_ctc(model: Model, objective: Objective, decoding: Decoding) -> Iterator[str]:
    is_ctc = isinstance(objective, Ctc)
    if is_ctc != isinstance(model.decoder, NoDecoder):
        yield (
            "`training.objective.kind: ctc` and `model.decoder.kind: none` go together; "
            "`cross_entropy` with `ctc_weight` trains a decoder beside CTC"
        )
    has_ctc = is_ctc or (isinstance(objective, CrossEntropy) and objective.ctc_weight > 0)
    if isinstance(decoding, CtcGreedy | CtcBeam) and not has_ctc:
        yield f"`decoding.method: {decoding.method}` needs a loss with CTC in `training.objective`"
    if isinstance(decoding, Greedy | Beam) and decoding.ctc_weight and not has_ctc:
        yield "`decoding.ctc_weight` needs `training.objective.ctc_weight`"
    if is_ctc and not isinstance(decoding, CtcGreedy | CtcBeam):
        yield f"`decoding.method: {decoding.method}` needs a decoder; ctc_greedy or ctc_beam would do"


def _of_no_decoder(model: Model) -> Iterator[str]:
    said = {
        f"tie: {model.tie}": model.tie != "none",
        "target_embedding_width": model.target_embedding_width is not None,
    }
    for key, is_said in said.items():
        if is_said:
            yield f"`model.{key}` has no effect with `model.decoder.kind: none`, which embeds no target"


def of_model(source: Codec, joint_vocabulary: bool, model: Model) -> Iterator[str]:
    """Say where the model does not fit what it reads."""
    if joint_vocabulary and isinstance(source, Speech | Numbers | Nothing):
        yield f"`joint_vocabulary` is for text on both sides, found `source.kind: {source.kind}`"
    if model.tie in ("encoder_decoder", "all") and not joint_vocabulary:
        yield f"`model.tie: {model.tie}` needs `joint_vocabulary: true`"
    if model.frontend is not None and not isinstance(source, Speech | Numbers):
        yield f"`model.frontend` has no effect on `source.kind: {source.kind}`: it shortens frames"


def of_metrics(data: Data, source: Codec, target: Codec, evaluation: Evaluation) -> Iterator[str]:
    """Say where a metric does not fit what it compares."""
    is_apart = any(isinstance(corpus, SeriesFiles) and corpus.apart for corpus in data.train)
    scale = target.scale if isinstance(target, Numbers) and is_apart else "series"
    pooled = scale if scale not in ("series", "window") else None
    for metric in evaluation.metrics:
        if isinstance(metric, ForecastError | Smape | Mase | Crps) != isinstance(target, Numbers):
            yield f"`evaluation.metrics`: `{metric.label}` does not fit `target.kind: {target.kind}`"
        elif isinstance(metric, Mase) and not isinstance(source, Numbers):
            yield (
                f"`evaluation.metrics`: `{metric.label}` measures by the past of a series, and "
                f"`source.kind: {source.kind}` has none"
            )
        elif isinstance(metric, Mase) and isinstance(target, Numbers) and target.season is None:
            yield f"`evaluation.metrics`: `{metric.label}` needs `target.season`, the steps of a season"
        elif _is_in_deviations(metric) and isinstance(target, Numbers) and target.transform != "none":
            yield (
                f"`evaluation.metrics`: `{metric.label}` in `units: global` divides by the deviation of "
                f"values as they are, `target.transform: {target.transform}` learns another; `data` would do"
            )
        elif _is_in_deviations(metric) and pooled:
            yield (
                f"`evaluation.metrics`: `{metric.label}` in `units: global` divides by a deviation, and with "
                f"`target.scale: {pooled}` there is one of all columns that `apart` makes series; `series` "
                "or `window` learns one of each"
            )


def _is_in_deviations(metric: Metric) -> bool:
    return isinstance(metric, ForecastError | Crps) and metric.units == "global"
