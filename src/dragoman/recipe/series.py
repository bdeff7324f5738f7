"""What a recipe can say about series of numbers: files, windows, codec, metrics."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dragoman.recipe.columns import Column, Columns, columns_of
from dragoman.recipe.section import Section, refuse

Moment = int | str
"""A row of a series, or an ISO date."""
Layout = Literal["long", "wide", "rows", "npy"]
"""How a file holds series: see `SeriesFiles.format`."""


class SeriesFiles(Section):
    """Files with one series of numbers or many; `.gz`, `.xz`, `.bz2` are read as they are."""

    series: str | tuple[str, ...]
    """The file; several hold the same series one after another in time."""
    format: Literal["auto", "long", "wide", "rows", "npy", "parquet"] = "auto"
    """`long` has a row for each value of a series, `wide` a row a time step and a column a variable, `rows` a
    row a series; `npy` and `parquet` are kinds of file. `auto` goes by the file's name, and by `id`."""
    id: Column | None = None
    """Column that says which series a row belongs to; `rows` have it in column 0."""
    time: Column | None = None
    """Column of the times: ISO dates, or whole numbers. Without it rows count as steps."""
    values: Columns | None = None
    """Columns to forecast from and to forecast; by default all that nothing else names."""
    known: Columns | None = None
    """Columns that are known beforehand also for the steps to be forecast: prices, holidays."""
    apart: bool = False
    """Each column of values is a series of its own, all learnt by one model."""
    part: tuple[Moment | None, Moment | None] = (None, None)
    """Targets lie from the first of these on and before the second: row numbers (negative ones count from the
    end of each series) or ISO dates. Contexts may reach back before the first."""
    weight: float = Field(1.0, gt=0)
    """How often an epoch shows each window: 2 is twice, 0.5 is every other epoch. Training only."""

    @field_validator("series")
    @classmethod
    def _files(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not given or len(set(names := files_of(given))) < len(names):
            raise ValueError("expected one or more files, each named once")
        return given

    @model_validator(mode="after")
    def _effective(self) -> Self:
        given = {
            "id": self.id is not None,
            "time": self.time is not None,
            "values": self.values is not None,
            "known": self.known is not None,
        }
        layout = layout_of(self)
        idle = {
            "long": (),
            "wide": ("id",),
            "rows": ("time", "values", "known"),
            "npy": ("id", "time", "known"),
        }[layout]
        wrong = [f"`{key}` has no effect in the layout `{layout}`" for key in idle if given[key]]
        if layout == "rows" and self.apart:
            wrong.append("`apart` has no effect in the layout `rows`: each series has one variable")
        if layout == "long" and self.id is None:
            wrong.append("the layout `long` needs `id`: the column that says which series a row belongs to")
        if layout == "npy" and any(isinstance(column, str) for column in columns_of(self.values)):
            wrong.append("columns of an array have numbers, no names; give `values` as numbers from 0")
        named = [*columns_of(self.id), *columns_of(self.time), *columns_of(self.values)]
        named += columns_of(self.known)
        wrong += [
            f"column {column!r} is named {count} times: it can be one thing"
            for column, count in Counter(named).items()
            if count > 1
        ]
        refuse(wrong)
        return self

    @model_validator(mode="after")
    def _part(self) -> Self:
        wrong = [
            f"`part`: {moment!r} is neither a row number nor an ISO date such as 2016-07-01 or "
            "2016-07-01 12:00"
            for moment in self.part
            if isinstance(moment, str) and not _is_date(moment)
        ]
        begin, end = self.part
        if not wrong and _is_empty(begin, end):
            wrong.append(f"`part`: nothing lies between {begin} and {end}")
        refuse(wrong)
        return self


def files_of(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """List the files of a key that takes one or several."""
    return given if isinstance(given, tuple) else (given,)


def layout_of(section: SeriesFiles) -> Layout:
    """Say how the files of a section hold their series."""
    match section.format:
        case "auto" | "parquet":
            if section.format == "auto" and files_of(section.series)[0].lower().endswith((".npy", ".npz")):
                return "npy"
            return "wide" if section.id is None else "long"
        case "long" | "wide" | "rows" | "npy":
            return section.format


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False


def _is_empty(begin: Moment | None, end: Moment | None) -> bool:
    if isinstance(begin, str) and isinstance(end, str):
        return datetime.fromisoformat(begin) >= datetime.fromisoformat(end)
    if isinstance(begin, int) and isinstance(end, int) and (begin < 0) == (end < 0):
        return begin >= end
    return end == 0


class Windows(Section):
    """How series are cut into examples: a context that the model sees, a horizon that it forecasts."""

    context: int = Field(ge=1)
    """Steps before a forecast that the model sees."""
    horizon: int = Field(ge=1)
    """Steps of a forecast."""
    stride: int = Field(1, ge=1)
    """Steps from one training window to the next."""
    score_stride: int = Field(1, ge=1)
    """Steps from one window that is scored to the next."""


CalendarField = Literal["minute", "hour", "weekday", "monthday", "yearday", "month"]


class Numbers(Section):
    """One frame a step: the variables of a series, scaled, and what the calendar says."""

    kind: Literal["numbers"]
    scale: Literal["none", "global", "series", "window", "level"] = "global"
    """Subtract the mean and divide by the deviation of all training values of a variable, of the training
    values of each series, or of each window's context; `level` subtracts the mean of the context and divides
    by the deviation of all training values."""
    centre: Literal["mean", "last"] = "mean"
    """What `window` and `level` subtract: the mean of the context, or its last value, from which the forecast
    then departs (Zeng et al. 2023)."""
    transform: Literal["none", "log"] = "none"
    """Take logarithms before all else, where seasons are shares of a level: values must be above 0."""
    calendar: tuple[CalendarField, ...] = ()
    """What a model is told of each step's time, two channels each: the sine and cosine of its place in the
    hour, day, week, month or year."""
    missing: Literal["refuse", "zero", "forward"] = "refuse"
    """What stands for a missing value of a source: the centre (`zero`), or the value before it (`forward`);
    either way a channel of its own says that it is missing."""
    season: int | None = Field(None, ge=1)
    """Steps of a season, for the seasonal baseline and for MASE."""

    @field_validator("calendar")
    @classmethod
    def _once(cls, given: tuple[CalendarField, ...]) -> tuple[CalendarField, ...]:
        if len(set(given)) < len(given):
            raise ValueError("each part of the calendar can be named once")
        return given

    @model_validator(mode="after")
    def _centred(self) -> Self:
        if self.centre == "last" and self.scale not in ("window", "level"):
            raise ValueError(
                f"`centre: last` has no effect on `scale: {self.scale}`; `window` or `level` would do"
            )
        return self


class _Labelled(Section):
    """A metric whose label is its name where no other is given."""

    @model_validator(mode="before")
    @classmethod
    def _label(cls, given: Any) -> Any:
        return {"label": given.get("name"), **given} if isinstance(given, dict) else given


class ForecastError(_Labelled):
    """Mean squared or mean absolute error of a forecast; lower is better."""

    name: Literal["mse", "mae"]
    label: str = ""
    units: Literal["data", "global"] = "data"
    """`global` divides by the deviation of all training values, as most published scores are."""


class Smape(_Labelled):
    """Symmetric mean absolute percentage error: 200 |y - f| / (|y| + |f|) (Makridakis et al. 2020)."""

    name: Literal["smape"]
    label: str = ""


class Mase(_Labelled):
    """Mean absolute error over that of the seasonal naive forecast in the past (Hyndman and Koehler 2006)."""

    name: Literal["mase"]
    label: str = ""
    past: Literal["series", "context"] = "series"
    """What the naive forecast is measured on: all of a series before the window's target, or its context."""


class Crps(_Labelled):
    """Continuous ranked probability score of a distribution: its absolute error, so to speak."""

    name: Literal["crps"]
    label: str = ""
    units: Literal["data", "global"] = "data"
    """`global` divides by the deviation of all training values."""


ForecastMetric = ForecastError | Smape | Mase | Crps
