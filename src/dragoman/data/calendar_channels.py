"""What the calendar says of a time: its place in the hour, day, week, month or year, as points on circles.

Shapes: S steps, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.recipe.series import CalendarField

CHANNELS = 2
"""Channels of one field: sine and cosine, so that the end of a day is as near its beginning as it is."""


def calendar_channels(times: NDArray[np.datetime64], fields: Sequence[CalendarField]) -> NDArray[np.float64]:
    """Return (S, 2 fields) sines and cosines of the share of each field's circle that has gone by."""
    if not fields:
        return np.empty((len(times), 0))
    shares_SC = np.stack([_share(times.astype("datetime64[s]"), field) for field in fields], axis=1)
    angles_SC = 2 * np.pi * shares_SC
    return np.stack([np.sin(angles_SC), np.cos(angles_SC)], axis=2).reshape(len(times), -1)


def _share(times: NDArray[np.datetime64], field: CalendarField) -> NDArray[np.float64]:
    days, months, years = (times.astype(f"datetime64[{unit}]") for unit in "DMY")
    match field:
        case "minute":
            return (times.astype(np.int64) // 60 % 60) / 60
        case "hour":
            return (times.astype(np.int64) // 3600 % 24) / 24
        case "weekday":
            # 1970 began on a Thursday.
            return ((days.astype(np.int64) + 3) % 7) / 7
        case "monthday":
            return _gone_by(days, months)
        case "yearday":
            return _gone_by(days, years)
        case "month":
            return (months.astype(np.int64) % 12) / 12


def _gone_by(days: NDArray[np.datetime64], spans: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Say which share of a month or a year, of its own length, lies before a day."""
    first, last = spans.astype("datetime64[D]"), (spans + 1).astype("datetime64[D]")
    return np.asarray((days - first) / (last - first))
