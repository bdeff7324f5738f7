"""What a codec of numbers or of sound makes of a value: steps of real numbers.

Shapes: S steps, F features, H horizon, C channels known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frames:
    """Numbers as a model takes them: `values` (S, F) float32.

    Beside the frames of a source, `ahead` (H, C) is what is known beforehand of the steps to come. Beside
    those of a target, `units` (F,) is what one unit of a frame is worth in deviations of all training values.
    """

    values: NDArray[np.float32]
    ahead: NDArray[np.float32] | None = None
    units: NDArray[np.float32] | None = None
