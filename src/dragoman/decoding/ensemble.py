"""Several bundles that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dragoman.bundle import Bundle
from dragoman.data.codec import codec_digest
from dragoman.data.number_codec import NumbersCodec
from dragoman.errors import UserError
from dragoman.model.ensemble import Ensemble


def ensemble(bundles: Sequence[Bundle]) -> Bundle:
    """Join bundles of one vocabulary: the mean of their probabilities decides at every step.

    Of numbers it is the mean of their forecasts, in the units of the data; see `mean_forecast`. The first
    bundle's recipe says how to decode and evaluate. Raises UserError where a bundle cuts sources or targets
    differently from the first: what their symbols stand for would not be the same; of numbers where variables
    or horizons differ.
    """
    first, *others = bundles
    if not others:
        return first
    if isinstance(first.codecs.target, NumbersCodec):
        return _of_numbers(first, others)
    for side in ("source", "target"):
        expected = codec_digest(getattr(first.codecs, side))
        for other in others:
            if codec_digest(getattr(other.codecs, side)) != expected:
                raise UserError(
                    f"{other.folder}: its {side} vocabulary is not that of {first.folder}; an ensemble needs "
                    "one vocabulary: train its members on the same data with the same `source` and `target` "
                    "sections, and other seeds, sizes or kinds of model"
                )
    model = Ensemble([bundle.model for bundle in bundles]).to(first.device).eval()
    return replace(first, model=model)


def _of_numbers(first: Bundle, others: Sequence[Bundle]) -> Bundle:
    for other in others:
        if (found := _forecast_of(other)) != (expected := _forecast_of(first)):
            raise UserError(
                f"{other.folder}: it forecasts {found}, and {first.folder} {expected}; models that answer "
                "together forecast the same variables and as many steps"
            )
    return replace(first, others=tuple(others))


def _forecast_of(bundle: Bundle) -> str:
    """Say what a model forecasts."""
    codec = bundle.codecs.target
    if not isinstance(codec, NumbersCodec):
        return bundle.recipe.target.kind
    steps = bundle.model.target_port.steps
    return (
        f"{', '.join(codec.statistics.names)} for {'any number of' if steps is None else f'{steps:,}'} steps"
    )
