"""The source of a language model: whatever it is, the end symbol alone is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragoman.data.text import CODEC_FORMAT
from dragoman.recipe.data import Nothing
from dragoman.records import CONTROL_SYMBOLS, EOS, Port, Value


class NothingCodec:
    """Any value to the end symbol; there is no way back."""

    def __init__(self, section: Nothing) -> None:
        """Take the section, which says nothing more."""
        self.section = section
        self.port = Port("tokens", len(CONTROL_SYMBOLS))

    def normalise(self, value: Value) -> Value:
        """Return the value as it is."""
        return value

    def encode(self, value: Value, seed: int | None = None, source: Value | None = None) -> NDArray[np.int32]:
        """Return the end symbol."""
        return np.array([EOS], dtype=np.int32)

    def save(self, folder: Path) -> None:
        """Write codec.json into a folder that is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": CODEC_FORMAT, "codec": self.section.model_dump(mode="json")}
        (folder / "codec.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class NothingLearner:
    """Hears nothing."""

    def __init__(self, section: Nothing) -> None:
        """Take the section."""
        self._section = section

    def hear(self, value: Value) -> None:
        """Take any value."""

    def learnt(self) -> NothingCodec:
        """Return the codec."""
        return NothingCodec(self._section)
