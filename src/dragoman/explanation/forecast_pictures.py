"""Pictures of forecasts: what is drawn of predictions, each behind what it follows from.

Shapes: H horizon, V variables, M samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.bundle import Bundle
from dragoman.data.number_codec import series_of
from dragoman.decoding.forecast import in_data_units
from dragoman.explanation.pictures import Fan, fan_chart
from dragoman.records import Prediction, Series

MOST_PANELS = 8
"""Panels of a picture; of wider series the first variables are drawn, of many the first series."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that are drawn of samples, where the recipe asks for none."""


def draw_forecasts(bundle: Bundle, predictions: Sequence[Prediction], out: Path) -> int:
    """Draw what follows each series, as many as there is room for; return how many are in the picture."""
    fans = list(_that_fit(_fan(bundle, one, None) for one in predictions))
    fan_chart(out, fans)
    return len(fans)


def draw_against_truth(bundle: Bundle, prediction: Prediction, came: Series, out: Path) -> None:
    """Draw a forecast and what came, which may be shorter."""
    fan_chart(out, [_fan(bundle, prediction, came.values)])


def _that_fit(fans: Iterator[Fan]) -> Iterator[Fan]:
    """Give fans until a picture is full, but one at least."""
    panels = 0
    for fan in fans:
        panels += fan.point.shape[1]
        if panels > MOST_PANELS:
            return
        yield fan


def _fan(bundle: Bundle, prediction: Prediction, came_HV: NDArray[np.float64] | None) -> Fan:
    """Return what is drawn of a prediction: no more variables than a picture has room for."""
    point_HV = series_of(prediction.values[0]).values
    shown = min(MOST_PANELS, point_HV.shape[1])
    truth_HV = None
    if came_HV is not None:
        truth_HV = np.full_like(point_HV, np.nan)
        truth_HV[: len(came_HV)] = came_HV[: len(point_HV)]
    return Fan(
        _named(series_of(prediction.example.source), point_HV.shape[1]),
        point_HV[:, :shown],
        {level: values_HV[:, :shown] for level, values_HV in _quantiles(bundle, prediction).items()},
        None if truth_HV is None else truth_HV[:, :shown],
    )


def _named(context: Series, variables: int) -> Series:
    """Keep the variables that are drawn, and say where there are more."""
    if variables <= MOST_PANELS:
        return context
    title = f"{context.id}: the first {MOST_PANELS} of {variables} variables".removeprefix(": ")
    return replace(
        context, values=context.values[:, :MOST_PANELS], names=context.names[:MOST_PANELS], id=title
    )


def _quantiles(bundle: Bundle, prediction: Prediction) -> Mapping[float, NDArray[np.float64]]:
    """Return what is forecast beside the point, in the units of the data; samples by their quantiles."""
    found = prediction.forecast
    assert found is not None, "numbers are answered by forecasts"
    codec, source = bundle.codecs.target, prediction.example.source
    if found.quantiles or found.samples is None:
        return {level: in_data_units(codec, frames, source) for level, frames in found.quantiles.items()}
    samples_MHV = in_data_units(codec, found.samples, source)
    return dict(zip(LEVELS, np.quantile(samples_MHV, LEVELS, axis=0), strict=True))
