"""What a recipe can say about speech: lists of recordings, and how sound becomes frames."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.columns import Column, Columns
from dragoman.recipe.section import Section, refuse

_MOST_SPEED, _LEAST_SPEED = 2.0, 0.5


class Manifest(Section):
    """A list of recordings and what is said in them; a row that cannot be used is a rejected row."""

    manifest: str
    """The list, plain or compressed, or a Kaldi folder with `wav.scp`, `text` and perhaps `segments`."""
    format: Literal["auto", "tsv", "csv", "jsonl", "parquet", "nemo", "common_voice", "kaldi"] = "auto"
    """`auto` goes by the name and the first line."""
    audio: Column | None = None
    """Column of the sound file, `file` by default; only where the format does not fix it."""
    target: Columns | None = None
    """Column of the target, `text` by default, `sentence` of Common Voice; several are several references."""
    begin: Column | None = None
    """Column of the second where the clip begins, if rows have one."""
    duration: Column | None = None
    """Column of the clip's seconds, if rows have one; to the end of the file by default."""
    audio_folder: str | None = None
    """Where relative names of sound files start; by default the list's folder (Common Voice: its `clips`)."""
    weight: float = Field(1.0, gt=0)
    """How often an epoch shows each example: 2 is twice, 0.5 is every other epoch. Training only."""
    merge: bool = False
    """Rows with the same clip become one example with several references. Development and test only."""

    @model_validator(mode="after")
    def _effective(self) -> Self:
        refuse(without_effect(self, self.format))
        return self


def without_effect(section: Manifest, form: str) -> list[str]:
    """Say which keys a format leaves without effect, because it fixes the columns itself."""
    if form not in ("nemo", "common_voice", "kaldi"):
        return []
    columns = {"audio": section.audio, "begin": section.begin, "duration": section.duration}
    if form == "kaldi":
        columns["target"] = None if section.target is None else "target"
    return [
        f"`{key}` has no effect with the format {form}, which fixes its columns"
        for key, column in columns.items()
        if column is not None
    ]


class Speech(Section):
    """Sound as log-mel frames, computed as Kaldi does, with SpecAugment (Park et al. 2019) while training."""

    kind: Literal["speech"]
    sample_rate_hz: int = Field(16000, ge=1000, le=384_000)
    """Recordings of another rate are resampled to this one; channels are averaged."""
    mel_bins: int = Field(80, ge=3, le=512)
    """Width of a frame: bands of the mel scale."""
    window_seconds: float = Field(0.025, gt=0, le=1)
    """How much sound a frame sees."""
    hop_seconds: float = Field(0.010, gt=0)
    """From the beginning of a frame to that of the next."""
    low_hz: float = Field(20.0, ge=0)
    """Where the lowest band begins."""
    high_hz: float | None = Field(None, gt=0)
    """Where the highest band ends; by default half the sample rate."""
    preemphasis: float = Field(0.97, ge=0, le=1)
    """Share of each sample that is taken off the next, which lifts high frequencies."""
    normalise: Literal["none", "utterance", "global"] = "utterance"
    """Bring each band to mean 0 and deviation 1: over the clip, or by figures learnt from training clips."""
    min_seconds: float = Field(0.1, gt=0)
    """Shorter clips are refused."""
    max_seconds: float = Field(30.0, gt=0)
    """Longer clips are refused, before any sample is read."""
    speeds: tuple[float, ...] = Field((1.0,), min_length=1)
    """Training hears each clip at all these speeds, `[0.9, 1.0, 1.1]` for instance (Ko et al. 2015)."""
    frequency_masks: int = Field(0, ge=0)
    """While training, how many ranges of bands are masked in each clip, anew each epoch."""
    frequency_mask_bins: int = Field(27, ge=1)
    """The widest such range; the width is drawn evenly from 0 on."""
    time_masks: int = Field(0, ge=0)
    """While training, how many stretches of time are masked in each clip, anew each epoch."""
    time_mask_seconds: float = Field(1.0, gt=0)
    """The longest such stretch."""
    time_mask_share: float = Field(0.2, gt=0, le=1)
    """The longest such stretch as a share of the clip; the smaller of both bounds holds."""

    @property
    def window_samples(self) -> int:
        """How many samples a frame sees, cut to a whole number."""
        return _whole(self.sample_rate_hz * self.window_seconds)

    @property
    def hop_samples(self) -> int:
        """How many samples lie between the beginnings of frames, cut to a whole number."""
        return _whole(self.sample_rate_hz * self.hop_seconds)

    @property
    def transform_samples(self) -> int:
        """Length of the Fourier transform: the window, filled up with zeros to a power of 2."""
        return 1 << max(self.window_samples - 1, 1).bit_length()

    @property
    def band_edges_mel(self) -> tuple[float, ...]:
        """The `mel_bins + 2` edges: band b rises from edge b to b + 1 and falls to b + 2."""
        high_hz = self.sample_rate_hz / 2 if self.high_hz is None else self.high_hz
        low, high = mel(self.low_hz), mel(high_hz)
        return tuple(low + (high - low) * edge / (self.mel_bins + 1) for edge in range(self.mel_bins + 2))

    @model_validator(mode="after")
    def _possible_frames(self) -> Self:
        wrong = []
        half_hz = self.sample_rate_hz / 2
        if self.high_hz is not None and self.high_hz > half_hz:
            wrong.append(
                f"`high_hz` {self.high_hz:g} is above {half_hz:g}, the highest of {self.sample_rate_hz} Hz"
            )
        if self.low_hz >= min(half_hz, self.high_hz or half_hz):
            wrong.append(f"`low_hz` {self.low_hz:g} leaves no band below {self.high_hz or half_hz:g}")
        if self.hop_seconds > self.window_seconds:
            wrong.append(
                f"`hop_seconds` {self.hop_seconds:g} is above `window_seconds` {self.window_seconds:g}: "
                "no frame would hear what lies between"
            )
        if self.window_samples < 2 or self.hop_samples < 1:
            wrong.append("`window_seconds` needs at least 2 samples and `hop_seconds` at least 1")
        refuse(wrong)
        if bands := self._deaf_bands():
            wrong.append(
                f"`mel_bins` {self.mel_bins} is too fine: {bands} would hear no frequency of a window of "
                f"{self.window_seconds:g} seconds; fewer bands or a longer window would do"
            )
        refuse(wrong)
        return self

    @model_validator(mode="after")
    def _possible_clips(self) -> Self:
        wrong = []
        if self.min_seconds > self.max_seconds:
            wrong.append(f"`min_seconds` {self.min_seconds:g} is above `max_seconds` {self.max_seconds:g}")
        if 1.0 not in self.speeds:
            wrong.append("`speeds` lacks 1.0, the speed of everything that is not training")
        if len(set(self.speeds)) < len(self.speeds):
            wrong.append("`speeds` has the same speed twice")
        if not all(_LEAST_SPEED <= speed <= _MOST_SPEED for speed in self.speeds):
            wrong.append(f"`speeds` run from {_LEAST_SPEED:g} to {_MOST_SPEED:g}")
        elif self.min_seconds / max(self.speeds) < self.window_seconds:
            wrong.append(
                f"`min_seconds` {self.min_seconds:g}, at the highest of `speeds`, is shorter than a window "
                f"of {self.window_seconds:g} seconds"
            )
        refuse(wrong)
        return self

    @model_validator(mode="after")
    def _effective_masks(self) -> Self:
        defaults = type(self).model_fields
        needs = {
            "frequency_mask_bins": ("frequency_masks", self.frequency_masks, self.frequency_mask_bins),
            "time_mask_seconds": ("time_masks", self.time_masks, self.time_mask_seconds),
            "time_mask_share": ("time_masks", self.time_masks, self.time_mask_share),
        }
        wrong = [
            f"`{key}` has no effect without `{number}`"
            for key, (number, masks, value) in needs.items()
            if not masks and value != defaults[key].default
        ]
        if self.frequency_masks and self.frequency_mask_bins > self.mel_bins:
            wrong.append(
                f"`frequency_mask_bins` {self.frequency_mask_bins} is above `mel_bins` {self.mel_bins}"
            )
        refuse(wrong)
        return self

    def _deaf_bands(self) -> str:
        """Name the bands between whose edges no frequency of the transform lies; empty if there are none."""
        step_hz = self.sample_rate_hz / self.transform_samples
        heard = [mel(step_hz * number) for number in range(self.transform_samples // 2)] + [math.inf]
        edges = self.band_edges_mel
        deaf = [
            band
            for band in range(self.mel_bins)
            if heard[bisect_right(heard, edges[band])] >= edges[band + 2]  # the first above where it begins
        ]
        return f"{len(deaf)} of them (the first is number {deaf[0]} from 0)" if deaf else ""


def mel(frequency_hz: float) -> float:
    """Return the mel of a frequency as HTK and Kaldi count them."""
    return 1127.0 * math.log1p(frequency_hz / 700.0)


def _whole(samples: float) -> int:
    """Cut to a whole number; 16000 * 0.035 is 560 although its float is a little less."""
    return int(samples + 1e-6)
