"""From series to forecasts: point, samples and quantiles, whatever else is in the batch.

Shapes: N sources, K paths of each source, B = N·K rows, M paths that are drawn, T target steps, P steps of a
patch, F variables, Q what is said of one number, X uniform numbers behind a draw.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.bundle import Bundle
from dragoman.data.batching import padded
from dragoman.data.codec import Codec
from dragoman.data.frames import Encoded, Frames
from dragoman.data.number_codec import NumbersCodec
from dragoman.decoding.batches import answering, batches, named, where, windows
from dragoman.decoding.sampling import streams, uniform_runs
from dragoman.errors import DataError, UserError
from dragoman.model.aligned import AlignedDecoder
from dragoman.model.roll_out import RolledOut, roll_out
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.agreement import of_forecasts
from dragoman.recipe.decoding import Forecasting
from dragoman.recipe.objectives import Quantile
from dragoman.recipe.rollout import DEFAULT_ROLLOUT
from dragoman.records import Example, Forecast, Prediction, Sequence, Value

_DRAWS_EACH = 2
"""Uniform numbers behind each number that is drawn."""


def forecast(bundle: Bundle, examples: Iterable[Example], section: Forecasting) -> Iterator[Prediction]:
    """Forecast what follows each source, in their order, as a stream.

    Inputs are taken in windows as in `decode`. The values of a prediction are the point forecast as a Series.
    Its `forecast` stays in the frames of the target's codec: `in_data_units` leads out of them. Draws depend
    on the seed and on the number of the input in this call, on nothing else.

    Where the model's numbers are not finite the forecast is all NaN, and a RuntimeWarning names the input.
    Raises UserError for what this model cannot be asked, and DataError with the place of an input that cannot
    be encoded or forecast from, after the answers before it.
    """
    _check(bundle, section)
    steps = _horizon(bundle, section)
    for window in windows(examples):
        with answering(bundle.model):
            found = _answer(bundle, section, steps, window)
        for (number, example), answer in zip(window, found, strict=True):
            if isinstance(answer, DataError):
                raise named(answer, number, example) from answer
            yield _prediction(bundle.codecs.target, number, example, answer)


def in_data_units(codec: Codec, frames: NDArray[np.float32], source: Value) -> NDArray[np.float64]:
    """Return frames (..., T, F) of a forecast, such as its samples, in the units of the data (..., T, V)."""
    assert isinstance(codec, NumbersCodec), "forecasts are of numbers"
    paths = [codec.decode(path, source).values for path in frames.reshape(-1, *frames.shape[-2:])]
    return np.stack(paths).reshape(*frames.shape[:-1], -1)


def _check(bundle: Bundle, section: Forecasting) -> None:
    """Refuse what the model does not know."""
    if bundle.model.target_port.kind == "tokens":
        raise UserError(
            f"`decoding.method: forecast` is for numbers, this model writes {bundle.recipe.target.kind}; "
            "greedy, beam or sample would do"
        )
    if complaints := list(of_forecasts(bundle.model.number_head.section, section)):
        raise UserError("\n".join(complaints))


def _horizon(bundle: Bundle, section: Forecasting) -> int | None:
    """Return the steps to forecast; None where each source decides by its length."""
    if isinstance(bundle.model.decoder, AlignedDecoder):
        return section.horizon
    known = bundle.model.target_port.steps
    if section.horizon is None:
        if known is None:
            raise UserError("targets have any length: say `decoding.horizon`, the steps to forecast")
        return known
    rollout = bundle.recipe.model.rollout or DEFAULT_ROLLOUT
    if known is not None and section.horizon > known and (rollout.kind == "whole" or rollout.linear):
        raise UserError(
            f"decoding.horizon: {section.horizon:,} steps are more than the {known:,} that this model writes "
            "at once; `model.rollout.kind: steps` without `linear` goes on"
        )
    return section.horizon


@dataclass(frozen=True)
class _Batch:
    """Encoded sources of one batch with their keys: same key, same draws."""

    sources: Listed[Encoded]
    keys: Listed[int]


_Answer = Forecast | DataError


def _answer(
    bundle: Bundle, section: Forecasting, steps: int | None, window: Listed[tuple[int, Example]]
) -> list[_Answer]:
    """Answer a window; an input that cannot be answered gets its error and leaves the others alone."""
    faults: dict[int, DataError] = {}
    sources: dict[int, Encoded] = {}
    for place, (_, example) in enumerate(window):
        try:
            source = bundle.codecs.source.encode(example.source)
            _refuse_unknown(bundle.model, source, steps or len(source))
            sources[place] = source
        except DataError as fault:
            faults[place] = fault
    places = list(sources)
    lengths = [max(len(source), steps or 0) for source in sources.values()]
    found: dict[int, _Answer] = {**faults}
    for batch in batches(lengths, section.batch_tokens, 1 + section.samples):
        chosen = [places[member] for member in batch]
        asked = _Batch([sources[place] for place in chosen], [window[place][0] for place in chosen])
        found |= zip(chosen, _forecasts(bundle, section, steps, asked), strict=True)
    return [found[place] for place in range(len(window))]


def _refuse_unknown(model: Seq2Seq, source: Encoded, steps: int) -> None:
    """Refuse a source that says less of the steps to come than the model is told of them."""
    if model.frame_inputs.ahead is None:
        return
    found = len(source.ahead) if isinstance(source, Frames) and source.ahead is not None else 0
    if found < steps:
        raise DataError(
            f"the model forecasts {steps:,} steps by what is known of them beforehand, found {found:,}; "
            "their times and known values go on behind the values"
        )


def _forecasts(bundle: Bundle, section: Forecasting, steps: int | None, batch: _Batch) -> list[_Answer]:
    """Forecast a batch; where the model refuses it, its members one by one."""
    source = padded(batch.sources).to(bundle.device)
    try:
        return list(forecasts_of(bundle.model, source, section, steps, batch.keys))
    except DataError as fault:
        if len(batch.keys) == 1:
            return [fault]
    return [
        answer
        for one, key in zip(batch.sources, batch.keys, strict=True)
        for answer in _forecasts(bundle, section, steps, _Batch([one], [key]))
    ]


@torch.inference_mode()
def forecasts_of(
    model: Seq2Seq, source: Sequence, section: Forecasting, steps: int | None, keys: Listed[int]
) -> list[Forecast]:
    """Forecast `steps` steps of each source; None takes as many as the source has.

    `keys` name the sources for drawing: same key, same draws. `model` is in eval mode and on the device of
    `source`. DataError where aligned steps are fewer than those to forecast, or less is known beforehand.
    """
    if model.source_port.kind == "frames":
        source = replace(source, values=source.values.to(model.number_head.linear.weight.dtype))
    memory = model.encode(source)
    lengths = [steps] * len(keys) if steps else memory.mask_NS.sum(1).tolist()
    if isinstance(model.decoder, AlignedDecoder):
        _refuse_beyond(memory.mask_NS.sum(1).tolist(), lengths)
    chosen = _Choice(model, section, streams(section.seed, keys, section.samples))
    rolled = roll_out(model, source, memory, max(lengths), chosen.tell, chosen.rows)
    return [_cut(one, length) for one, length in zip(chosen.forecasts(rolled), lengths, strict=True)]


def _refuse_beyond(read: Listed[int], lengths: Listed[int]) -> None:
    for found, length in zip(read, lengths, strict=True):
        if found < length:
            raise DataError(
                f"`model.decoder.attention.kind: aligned` answers as many steps as it reads, found {found:,} "
                f"and a horizon of {length:,}"
            )


@dataclass(frozen=True)
class _Choice:
    """How values are chosen. Step by step the first path of each source is told points, the others draws."""

    model: Seq2Seq
    section: Forecasting
    streams_NM: NDArray[np.uint64]

    @property
    def rows(self) -> int:
        """Paths of each source that the model has to write."""
        return 1 if self.model.frame_inputs.is_whole else 1 + self.section.samples

    def tell(self, said_BPFQ: Tensor, first: int) -> Tensor:
        """Choose the values of the steps from `first` on."""
        points_BPF = self.model.number_head.point(said_BPFQ)
        if self.rows == 1:
            return points_BPF
        said_NKPFQ = self._by_source(said_BPFQ)
        drawn_NMPF = self._draw(said_NKPFQ[:, 1:], first).to(points_BPF.dtype)
        points_N1PF = self._by_source(points_BPF)[:, :1]
        return torch.cat([points_N1PF, drawn_NMPF], 1).flatten(0, 1)

    def _by_source(self, values: Tensor) -> Tensor:
        return values.reshape(-1, self.rows, *values.shape[1:])

    def forecasts(self, rolled: RolledOut) -> list[Forecast]:
        """Put together what was found for each source."""
        said_NTFQ = rolled.said_BTFQ[:: self.rows]
        values_NKTF = self._by_source(rolled.values_BTF)
        points = _numpy(values_NKTF[:, 0])
        if not self.section.samples:
            quantiles = _numpy(self._own_quantiles(said_NTFQ))
            pairs = zip(points, quantiles, strict=True)
            return [Forecast(point, quantiles=self._by_level(levels)) for point, levels in pairs]
        if self.rows == 1:
            values_NKTF = self._draw(said_NTFQ[:, None].expand(-1, self.section.samples, -1, -1, -1), 0)
        else:
            values_NKTF = values_NKTF[:, 1:]
        return [
            Forecast(point, samples, self._by_level(self._of_samples(samples)))
            for point, samples in zip(points, _numpy(values_NKTF), strict=True)
        ]

    def _of_samples(self, samples_MTF: NDArray[np.float32]) -> Listed[NDArray[np.float32]]:
        if not self.section.quantiles:
            return []
        with np.errstate(invalid="ignore"):  # infinities are told of when the forecast is put together
            levels: NDArray[np.float32] = np.quantile(samples_MTF, self.section.quantiles, axis=0)
        return list(levels)

    def _by_level(self, levels: Listed[NDArray[np.float32]]) -> dict[float, NDArray[np.float32]]:
        return {
            level: values.astype(np.float32)
            for level, values in zip(self.section.quantiles, levels, strict=True)
        }

    def _own_quantiles(self, said_NTFQ: Tensor) -> Tensor:
        """Return the levels that are asked for of a quantile loss: (N, levels, T, F)."""
        head = self.model.number_head
        known = head.section.levels if isinstance(head.section, Quantile) else ()
        wanted = [known.index(level) for level in self.section.quantiles]
        return head.quantiles(said_NTFQ)[..., wanted].movedim(-1, 1)

    def _draw(self, said_NMPFQ: Tensor, first: int) -> Tensor:
        """Draw (N, M, P, F) with the numbers of these steps in each source's stream of each path."""
        *_, steps, size, _ = said_NMPFQ.shape
        each = size * _DRAWS_EACH
        uniforms = uniform_runs(self.streams_NM, first * each, steps * each)
        uniforms_NMPFX = torch.from_numpy(uniforms).reshape(*uniforms.shape[:2], steps, size, _DRAWS_EACH)
        return self.model.number_head.draw(said_NMPFQ, uniforms_NMPFX.to(said_NMPFQ.device))


def _cut(found: Forecast, steps: int) -> Forecast:
    """Return the first steps of a forecast."""
    samples = None if found.samples is None else found.samples[:, :steps]
    quantiles = {level: values[:steps] for level, values in found.quantiles.items()}
    return Forecast(found.values[:steps], samples, quantiles)


def _numpy(values: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = values.float().cpu().numpy()
    return numbers


def _prediction(codec: Codec, number: int, example: Example, found: Forecast) -> Prediction:
    assert isinstance(codec, NumbersCodec), "`_check` sees to it"
    parts = [found.values, *found.quantiles.values(), *([] if found.samples is None else [found.samples])]
    if not all(np.isfinite(part).all() for part in parts):
        warnings.warn(
            f"{where(number, example)}: the model computed numbers that are not finite; its forecast is NaN",
            RuntimeWarning,
            stacklevel=3,
        )
        found = _without_numbers(found)
    return Prediction(example, (codec.decode(found.values, example.source),), forecast=found)


def _without_numbers(found: Forecast) -> Forecast:
    samples = None if found.samples is None else np.full_like(found.samples, math.nan)
    quantiles = {level: np.full_like(values, math.nan) for level, values in found.quantiles.items()}
    return replace(found, values=np.full_like(found.values, math.nan), samples=samples, quantiles=quantiles)
