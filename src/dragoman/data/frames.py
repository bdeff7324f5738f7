"""Values as frames of numbers, encoded. Shapes: S steps, F features, H coming steps, C known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frames:
    """What a codec of frames makes of a value: `values` (S, F).

    `ahead` (H, C) goes with a source: what is known of the coming steps. `units` (F,) goes with a target:
    what one unit of its frames is worth where all targets are measured alike.
    """

    values: Floats
    ahead: Floats | None = None
    units: Floats | None = None

    def __len__(self) -> int:
        """Count the steps."""
        return len(self.values)


Tokens = NDArray[np.int32]
Encoded = Tokens | Frames
"""What codecs make of values: ids (S,), or frames."""
