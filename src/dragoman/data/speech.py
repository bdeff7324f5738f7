"""Sound as a codec's values: log-mel frames, normalised, masked while training.

Shapes: M samples, S frames, F bands.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.data.audio import at_speed, read_audio
from dragoman.data.features import LogMel
from dragoman.data.frames import Frames
from dragoman.data.text import CODEC_FORMAT
from dragoman.errors import DataError
from dragoman.recipe.speech import Speech
from dragoman.records import Port, Recording, Value

SAMPLE = 3000
"""Mean and deviation are learnt from at most this many clips."""
_SAMPLE_SEED = 20_11
"""Fixed: what is learnt does not depend on the seed of a run, so that several seeds can share it."""
_LEAST_DEVIATION = 0.01
"""A band that stays the same, in silence or above a telephone's frequencies, must not become noise."""


class SpeechCodec:
    """Sound to frames (S, F) float32; there is no way back."""

    def __init__(
        self, section: Speech, mean_F: NDArray[np.float64], deviation_F: NDArray[np.float64]
    ) -> None:
        """Take the figures that `normalise: global` goes by; the others do not look at them."""
        self.section = section
        self.port = Port("frames", section.mel_bins)
        self.log_mel = LogMel(section)
        self._mean_F = mean_F
        self._deviation_F = deviation_F

    @classmethod
    def load(cls, section: Speech, content: Mapping[str, Any]) -> SpeechCodec:
        """Make the codec from what `save` wrote; DataError where that is not complete."""
        return cls(section, _figures(section, content, "mean"), _figures(section, content, "deviation"))

    def normalise(self, value: Value) -> Value:
        """Return the value as it is."""
        return value

    def encode(self, value: Value, seed: int | None = None, source: Value | None = None) -> Frames:
        """Return the normalised frames of a clip or recording; neither seed nor source change them.

        Raises DataError for what cannot be read.
        """
        return self._frames(_samples(self.section, value))

    @property
    def variants(self) -> int:
        """How many variants `encode_variants` makes of a value."""
        return len(self.section.speeds)

    def encode_variants(self, value: Value) -> list[Frames]:
        """Return what `encode` does, and then the same at each other of the section's speeds."""
        samples_M = _samples(self.section, value)
        rate_hz = self.section.sample_rate_hz
        speeds = [1.0, *(speed for speed in self.section.speeds if speed != 1)]
        return [self._frames(at_speed(samples_M, rate_hz, speed)) for speed in speeds]

    def augment(self, frames_SF: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        """Return frames with ranges of bands and of time at their mean (SpecAugment, Park et al. 2019).

        A pure function of frames and seed; where no masks are asked for, the frames themselves.
        """
        section = self.section
        if not section.frequency_masks and not section.time_masks:
            return frames_SF
        draw = random.Random(seed).random  # Mersenne Twister: the same numbers in every version of Python
        masked_SF, mean_F = frames_SF.copy(), frames_SF.mean(axis=0)
        steps, bands = frames_SF.shape
        for _ in range(section.frequency_masks):
            width = int(draw() * (section.frequency_mask_bins + 1))
            first = int(draw() * (bands - width + 1))
            masked_SF[:, first : first + width] = mean_F[first : first + width]
        longest = int(min(section.time_mask_seconds / section.hop_seconds, section.time_mask_share * steps))
        for _ in range(section.time_masks):
            length = int(draw() * (longest + 1))
            first = int(draw() * (steps - length + 1))
            masked_SF[first : first + length] = mean_F
        return masked_SF

    def save(self, folder: Path) -> None:
        """Write codec.json into a folder that is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": CODEC_FORMAT,
            "codec": self.section.model_dump(mode="json"),
            "mean": self._mean_F.tolist(),
            "deviation": self._deviation_F.tolist(),
        }
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (folder / "codec.json").write_text(text, encoding="utf-8")

    def _frames(self, samples_M: NDArray[np.float32]) -> Frames:
        frames_SF = _log_mel(self.log_mel, samples_M)
        match self.section.normalise:
            case "none":
                pass
            case "utterance":
                frames_SF -= frames_SF.mean(axis=0)
                frames_SF /= np.maximum(frames_SF.std(axis=0), _LEAST_DEVIATION)
            case "global":
                frames_SF = ((frames_SF - self._mean_F) / self._deviation_F).astype(np.float32)
        return Frames(frames_SF)


class SpeechLearner:
    """Hears values one by one; learns the mean and deviation of each band where the section wants them."""

    def __init__(self, section: Speech) -> None:
        """Start with nothing heard."""
        self._section = section
        self._values: list[Value] = []
        self._heard = 0
        self._numbers = random.Random(_SAMPLE_SEED)

    def hear(self, value: Value) -> None:
        """Keep a uniform sample of bounded size (reservoir sampling, Vitter 1985); reads nothing yet."""
        if self._section.normalise != "global":
            return
        if self._heard < SAMPLE:
            self._values.append(value)
        elif (place := int(self._numbers.random() * (self._heard + 1))) < SAMPLE:
            self._values[place] = value
        self._heard += 1

    def learnt(self) -> SpeechCodec:
        """Read what was kept, but what cannot be read, and return the codec; DataError if nothing is left."""
        bands = self._section.mel_bins
        plain = SpeechCodec(self._section, np.zeros(bands), np.ones(bands))
        if self._section.normalise != "global":
            return plain
        steps, sum_F, squares_F = 0, np.zeros(bands), np.zeros(bands)
        fault: DataError | None = None
        for value in self._values:
            try:
                frames_SF = _log_mel(plain.log_mel, _samples(self._section, value)).astype(np.float64)
            except DataError as error:
                fault = fault or error
                continue
            steps += len(frames_SF)
            sum_F += frames_SF.sum(axis=0)
            squares_F += np.square(frames_SF).sum(axis=0)
        if not steps:
            raise DataError(f"`normalise: global` has no clip to learn from: {fault or 'there is none'}")
        mean_F = sum_F / steps
        deviation_F = np.sqrt(np.maximum(squares_F / steps - np.square(mean_F), _LEAST_DEVIATION**2))
        return SpeechCodec(self._section, mean_F, deviation_F)


def _samples(section: Speech, value: Value) -> NDArray[np.float32]:
    if not isinstance(value, str | Recording):
        raise DataError(f"expected the path of a sound file or a Recording, found {type(value).__name__}")
    return read_audio(value, section.sample_rate_hz, section.min_seconds, section.max_seconds)


def _log_mel(log_mel: LogMel, samples_M: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the frames_SF of one clip, at least one."""
    frames_SF: NDArray[np.float32] = log_mel.frames(torch.from_numpy(samples_M)[None])[0].numpy()
    assert len(frames_SF), "the section's `min_seconds` fill a window"
    return frames_SF


def _figures(section: Speech, content: Mapping[str, Any], key: str) -> NDArray[np.float64]:
    values = content.get(key)
    try:
        figures_F = np.array(values, np.float64)
    except (TypeError, ValueError):
        figures_F = np.empty(0)
    if figures_F.shape != (section.mel_bins,) or not np.isfinite(figures_F).all():
        raise DataError(f"{key!r} needs {section.mel_bins} numbers, one a band")
    if key == "deviation" and figures_F.min() <= 0:
        raise DataError("'deviation' needs numbers above 0")
    return figures_F
