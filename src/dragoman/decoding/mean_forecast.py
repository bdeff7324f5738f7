"""One forecast of several models: the mean of theirs, in the units of the data.

Shapes: S steps, V variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import tee

import numpy as np

from dragoman.bundle import Bundle
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.decoding.batches import where
from dragoman.decoding.forecast import forecast
from dragoman.errors import DataError, UserError
from dragoman.recipe.decoding import Forecasting
from dragoman.records import Example, Forecast, Prediction, Series


def mean_forecast(
    bundles: Sequence[Bundle], examples: Iterable[Example], section: Forecasting
) -> Iterator[Prediction]:
    """Let every model forecast each source by itself, and answer with the mean (Bates and Granger 1969).

    Each reads as much of the past as it was trained on and scales it in its own way; what a window does not
    hold is taken from what came `before` it. Raises what `forecast` does, UserError for samples and
    quantiles, and DataError where a source has too little past for one of the models.
    """
    if section.samples or section.quantiles:
        raise UserError(
            "several models answer with the mean of their point forecasts: `decoding.samples=0` and "
            "`decoding.quantiles=[]` would do, or one model alone"
        )
    codec = bundles[0].codecs.target
    assert isinstance(codec, NumbersCodec), "`ensemble` sees to it"
    own, *streams = tee(examples, 1 + len(bundles))
    found = [
        forecast(bundle, _seen_by(bundle, stream), section)
        for bundle, stream in zip(bundles, streams, strict=True)
    ]
    for example, *members in zip(own, *found, strict=True):
        yield _mean(codec, example, members)


def _mean(codec: NumbersCodec, example: Example, members: Sequence[Prediction]) -> Prediction:
    answers = [series_of(member.values[0]) for member in members]
    answer = replace(answers[0], values=np.mean([one.values for one in answers], axis=0))
    scale = codec.scale_at(series_of(members[0].example.source))
    frames = scale.apply(answer.values).astype(np.float32)
    return Prediction(example, (answer,), forecast=Forecast(frames))


def _seen_by(bundle: Bundle, examples: Iterable[Example]) -> Iterator[Example]:
    """Give each source the past that a model was trained on; one that was not cut from series stays."""
    windows = bundle.recipe.data.windows
    for number, example in enumerate(examples):
        if windows is None:
            yield example
            continue
        series = _with_past(series_of(example.source), windows.context)
        if series is None:
            raise DataError(
                f"{where(number, example)}: {bundle.folder} reads {windows.context:,} steps of context, "
                "found fewer; a longer context of the first model would do"
            )
        yield replace(example, source=series)


def _with_past(series: Series, context: int) -> Series | None:
    """Return the last `context` steps of a window and what was before it, None where there are too few.

    Times and what is known are those of the window: before it there are none.
    """
    steps = len(series.values)
    if steps >= context:
        first = steps - context
        return replace(
            series,
            values=series.values[first:],
            times=None if series.times is None else series.times[first:],
            known_values=None if series.known_values is None else series.known_values[first:],
            before=None,
        )
    if series.before is None or len(series.before) + steps < context:
        return None
    values = np.concatenate([series.before[len(series.before) + steps - context :], series.values])
    return replace(series, values=values, times=None, known_values=None, known_names=(), before=None)
