"""Attention that is shown where to look: word alignments as part of what training makes smaller.

Shapes: B rows, T target steps, S source steps, L links.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-8
"""Added to what attention gives a step, so that a link that it does not see at all has a logarithm."""


def alignment_loss(reads_BTS: Tensor, links_L3: Tensor) -> Tensor:
    """Return the cross-entropy of attention with given links, summed over linked target steps (nats).

    A link is a row, a target step and a source step; the links of a target step share it equally (Chen et
    al. 2016). What attention is, over heads and layers, is their mean.
    """
    rows_L, steps_L, places_L = links_L3.unbind(1)
    counts_BT = reads_BTS.new_zeros(reads_BTS.shape[:2])
    counts_BT.index_put_((rows_L, steps_L), torch.ones_like(rows_L, dtype=counts_BT.dtype), accumulate=True)
    looked_L = reads_BTS[rows_L, steps_L, places_L]
    return -((looked_L + _LEAST).log() / counts_BT[rows_L, steps_L]).sum()
