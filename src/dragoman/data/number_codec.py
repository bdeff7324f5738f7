"""Numbers as frames and back: scaled, with what is missing stated and what is known beforehand beside them.

Shapes: S steps, T target steps, H horizon, V variables, C known covariates, K calendar channels, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from dragoman.data.calendar_channels import CHANNELS, calendar_channels
from dragoman.data.frames import Frames
from dragoman.data.scaling import Moments, Scale, Statistics, last_of, scale_of, statistics_from_json
from dragoman.data.series_text import parse_series
from dragoman.data.text import CODEC_FORMAT
from dragoman.errors import DataError
from dragoman.recipe.series import Numbers
from dragoman.records import Port, Series, Value

Side = Literal["source", "target"]
LARGEST = 1e37
"""Numbers beyond this are refused: frames are float32, which ends a little above."""


class NumbersCodec:
    """Series to frames and back.

    Frames of a source are the V scaled variables, V indicators of what is missing (unless missing values are
    refused), C known covariates and K channels of the calendar. Frames of a target are the V variables, NaN
    where one is missing, scaled by the statistics of their source where each window or series has its own.
    """

    def __init__(self, section: Numbers, side: Side, statistics: Statistics) -> None:
        """Put a codec together from its section, the side that it stands on, and what it learnt."""
        self.section, self.side, self.statistics = section, side, statistics
        variables = len(statistics.names)
        self._channels = len(statistics.known_names) + CHANNELS * len(section.calendar)
        indicators = 0 if section.missing == "refuse" else variables
        width = variables + indicators + self._channels if side == "source" else variables
        self.port = Port("frames", width, ahead=self._channels if side == "source" else 0)

    def normalise(self, value: Value) -> Series:
        """Return the series that a value says, with the names that were learnt; DataError if it is none."""
        series = series_of(value)
        names, found = self.statistics.names, series.values.shape[1]
        if found != len(names):
            raise DataError(
                f"expected {len(names)} variable{'s' * (len(names) > 1)} ({_listed(names)}), found {found}"
            )
        if series.names and series.names != names:
            raise DataError(f"expected the variables {_listed(names)}, found {_listed(series.names)}")
        return replace(series, names=names)

    def encode(self, value: Value, seed: int | None = None, source: Value | None = None) -> Frames:
        """Return the frames of a value; a target's are scaled as `source` says. A seed changes nothing.

        Raises DataError for what is no series of these variables, for missing values where they are refused,
        and for times or known values that are not there.
        """
        series = self.normalise(value)
        if self.side == "target":
            return self._target(series, source)
        values = self._scaled(series, self.scale_at(series))
        missing = np.isnan(values)
        if self.section.missing == "refuse":
            _refuse_missing(series, missing)
            parts = [values]
        else:
            parts = [_filled(values, self.section.missing), missing.astype(np.float32)]
        if not self._channels:
            return Frames(np.concatenate(parts, axis=1))
        steps = len(values)
        channels = self._known_beforehand(series)
        ahead = channels[steps:] if len(channels) > steps else None
        return Frames(np.concatenate([*parts, channels[:steps]], axis=1), ahead)

    def decode(self, frames: NDArray[np.float32], source: Value | None = None) -> Series:
        """Return the series of frames (T, F), with the id of a source and the times that follow it."""
        variables = len(self.statistics.names)
        if frames.ndim != 2 or frames.shape[1] not in (variables, self.port.size):
            raise DataError(f"expected frames of {self.port.size} numbers, found the shape {frames.shape}")
        given = None if source is None else _series_or_none(source)
        values = self.scale_at(given).undo(frames[:, :variables].astype(np.float64))
        names = self.statistics.names
        if given is None:
            return Series(values, names)
        steps = len(given.values)
        times = None if given.times is None else given.times[steps : steps + len(values)]
        return Series(values, names, given.id, times if times is not None and len(times) else None)

    def scale_at(self, series: Series | None) -> Scale:
        """Return what a window and its target are scaled by, from what a model sees of it.

        DataError where that says too little: a series that training did not have, no series at all.
        """
        match self.section.scale:
            case "none":
                width = len(self.statistics.names)
                return Scale(np.zeros(width), np.ones(width), self._is_log)
            case "global":
                return self.statistics.whole
            case "series":
                scale = None if series is None else self.statistics.series.get(series.id)
                if scale is None:
                    name = "without a name" if series is None or not series.id else repr(series.id)
                    raise DataError(
                        f"`scale: series` knows the {len(self.statistics.series):,} series of training, "
                        f"found one {name}; `scale: window` takes any series"
                    )
                return scale
            case "window" | "level":
                if series is None:
                    raise DataError(
                        f"`scale: {self.section.scale}` needs a source in numbers, whose window it scales by"
                    )
                values, whole = self.normalise(series).values, self.statistics.whole
                own = scale_of(values, whole)
                centre = last_of(values, whole) if self.section.centre == "last" else own.centre
                deviation = own.deviation if self.section.scale == "window" else whole.deviation
                return Scale(centre, deviation, self._is_log)
        assert_never(self.section.scale)

    def save(self, folder: Path) -> None:
        """Write codec.json into a folder that is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": CODEC_FORMAT,
            "codec": self.section.model_dump(mode="json"),
            "side": self.side,
            "statistics": self.statistics.to_json(),
        }
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        (folder / "codec.json").write_text(text, encoding="utf-8")

    def _target(self, series: Series, source: Value | None) -> Frames:
        given = None if source is None else _series_or_none(source)
        by_window = self.section.scale in ("window", "level")
        scale = self.scale_at(given if given is not None or by_window else series)
        alike = self.statistics.of(series.id if given is None else given.id)
        units = (scale.deviation / alike.deviation).astype(np.float32)
        return Frames(self._scaled(series, scale), units=units)

    @property
    def _is_log(self) -> bool:
        return self.section.transform == "log"

    def _scaled(self, series: Series, scale: Scale) -> NDArray[np.float32]:
        """Scale values, after a look at whether each can be."""
        if self._is_log and (wrong := np.argwhere(series.values <= 0)).size:
            step, variable = wrong[0]
            raise DataError(
                f"{_place(series, step, variable)}: `transform: log` needs numbers above 0, found "
                f"{series.values[step, variable]:g}; `transform: none` takes any"
            )
        return _float32(scale.apply(series.values), series)

    def _known_beforehand(self, series: Series) -> NDArray[np.float32]:
        """Return known covariates and the calendar for all steps, those to come as well: (S + H, C + K)."""
        names, steps = self.statistics.known_names, len(series.values)
        known, times = series.known_values, series.times
        if names and (known is None or len(known) < steps or known.shape[1] != len(names)):
            found = 0 if known is None or known.shape[1] != len(names) else len(known)
            raise DataError(
                f"expected {_listed(names)} to be known at each of {steps:,} steps, found it at {found:,}"
            )
        if self.section.calendar and (times is None or len(times) < steps):
            found = 0 if times is None else len(times)
            raise DataError(f"`calendar` needs the time of each of {steps:,} steps, found {found:,}")
        parts: list[NDArray[np.float64]] = []
        if names and known is not None:
            if not np.isfinite(known).all():
                raise DataError(f"known values must be there for all steps; one of {_listed(names)} is not")
            parts.append(known if self.section.scale == "none" else self.statistics.known.apply(known))
        if self.section.calendar and times is not None:
            parts.append(calendar_channels(times, self.section.calendar))
        if len({len(part) for part in parts}) > 1:
            raise DataError(f"known values go on for {len(parts[0]):,} steps, times for {len(parts[1]):,}")
        return np.concatenate(parts, axis=1).astype(np.float32)


def codec_from_json(content: Mapping[str, Any]) -> NumbersCodec:
    """Read what `save` wrote; KeyError, TypeError or ValueError where it is not complete."""
    side = content["side"]
    if side not in ("source", "target"):
        raise ValueError(f"`side` is {side!r}, neither source nor target")
    section = TypeAdapter(Numbers).validate_json(json.dumps(content["codec"]))
    return NumbersCodec(
        section, side, statistics_from_json(content["statistics"], section.transform == "log")
    )


class NumbersLearner:
    """Hears series and learns what to scale them by.

    Each training value should be heard once: whole series, not the windows that are cut from them.
    """

    def __init__(self, section: Numbers, side: Side) -> None:
        """Start with nothing heard."""
        self._section, self._side, self._is_log = section, side, section.transform == "log"
        self._first: Series | None = None
        self._whole, self._known = Moments(0), Moments(0)
        self._series: dict[str, Moments] = {}

    def hear(self, value: Value) -> None:
        """Take a series; one that is none, or has other variables than the first, is left out."""
        try:
            series = series_of(value)
        except DataError:
            return
        if self._first is None:
            self._first = replace(series, names=series.names or _numbered(series))
            self._whole = Moments(series.values.shape[1], self._is_log)
            self._known = Moments(len(series.known_names))
        if (series.names or _numbered(series), series.known_names) != (
            self._first.names,
            self._first.known_names,
        ):
            return
        self._whole.add(series.values)
        if series.known_values is not None:
            self._known.add(series.known_values)
        if self._section.scale in ("series", "window") and series.id:
            own = self._series.setdefault(series.id, Moments(series.values.shape[1], self._is_log))
            own.add(series.values)

    def learnt(self) -> NumbersCodec:
        """Return the codec; DataError where no series was heard."""
        if self._first is None:
            raise DataError(
                f"`{self._side}: numbers`: there is no series in training to learn the scale from"
            )
        whole = self._whole.scale()
        own = {name: moments.scale(whole) for name, moments in self._series.items()}
        first = self._first
        statistics = Statistics(first.names, whole, first.known_names, self._known.scale(), own)
        return NumbersCodec(self._section, self._side, statistics)


def series_of(value: Value) -> Series:
    """Return a value as a series of finite numbers or NaN, of one step or more; DataError if it is none."""
    series = parse_series(value) if isinstance(value, str) else value
    if not isinstance(series, Series):
        raise DataError(f"expected numbers, found {type(value).__name__}")
    if series.values.ndim != 2 or 0 in series.values.shape:
        raise DataError(f"expected numbers by steps and variables, found the shape {series.values.shape}")
    if (wrong := np.argwhere(np.abs(series.values) > LARGEST)).size:
        step, variable = wrong[0]
        found = series.values[step, variable]
        raise DataError(
            f"{_place(series, step, variable)}: expected a number up to {LARGEST:g}, found {found}"
        )
    return series


def _series_or_none(value: Value) -> Series | None:
    """Return a source in numbers; sources of other kinds say nothing about a scale."""
    if isinstance(value, Series):
        return value
    try:
        return series_of(value)
    except DataError:
        return None


def _numbered(series: Series) -> tuple[str, ...]:
    count = series.values.shape[1]
    return ("value",) if count == 1 else tuple(map(str, range(count)))


def _float32(values: NDArray[np.float64], series: Series) -> NDArray[np.float32]:
    if (wrong := np.argwhere(np.abs(values) > LARGEST)).size:
        raise DataError(f"{_place(series, *wrong[0])}: too far from the others to be scaled like them")
    return values.astype(np.float32)


def _refuse_missing(series: Series, missing: NDArray[np.bool_]) -> None:
    if (wrong := np.argwhere(missing)).size:
        raise DataError(
            f"{_place(series, *wrong[0])}: a value is missing, {len(wrong):,} in all; "
            "say `missing: forward` or `missing: zero`, or fill it in"
        )


def _filled(values: NDArray[np.float32], how: Literal["zero", "forward"]) -> NDArray[np.float32]:
    """Fill NaN with 0, or with the last value before it and with 0 where there is none."""
    missing = np.isnan(values)
    if how == "forward":
        rows_SV = np.where(missing, 0, np.arange(len(values))[:, None])
        values = np.take_along_axis(values, np.maximum.accumulate(rows_SV, axis=0), axis=0)
    return np.nan_to_num(values, nan=0.0)


def _place(series: Series, step: int, variable: int) -> str:
    when = f" ({series.times[step]})" if series.times is not None else ""
    names = series.names or _numbered(series)
    return f"series {series.id!r}, step {step + 1}{when}, {names[variable]!r}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))
