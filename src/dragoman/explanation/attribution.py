"""How much each source step counts for each target step. Shapes: T target steps, S source steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal[
    "attention", "rollout", "gradient_input", "integrated_gradients", "occlusion", "contrastive"
]


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each source step counts for each target step, by one method.

    Attention is shares that sum to one a row; other methods are signed (`is_signed`): in nats of the token's
    log-probability, or in scaled units of a forecast. `error_T` is by how much integrated gradients miss what
    they should sum to. `part` says which part it is of: "mean" or "layer 2 head 3" of attention, what is
    contrasted with what.
    """

    method: Method
    weights_TS: NDArray[np.float64]
    is_signed: bool
    error_T: NDArray[np.float64] | None = None
    part: str = ""
