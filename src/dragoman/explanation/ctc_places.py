"""Where in its source an answer of CTC comes from.

Shapes: S source steps, V vocabulary, T tokens, L states: the tokens with blanks around them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import DataError
from dragoman.model.ctc import BLANK

Reals = NDArray[np.float64]


def ctc_places(log_probs_SV: Tensor, tokens: Sequence[int]) -> Reals:
    """Return how probable it is that a step writes a token, given that all write the tokens: (T, S).

    Sums over all paths of the answer, forwards and backwards (Graves et al. 2006, section 4.1). EOS is no
    symbol of CTC and must not be among the tokens. Raises DataError where no path writes them.
    """
    states_L = np.full(2 * len(tokens) + 1, BLANK)
    states_L[1::2] = tokens
    written_SL = log_probs_SV.double().cpu().numpy()[:, states_L]
    can_skip_L = np.zeros(len(states_L), bool)
    can_skip_L[3::2] = states_L[3::2] != states_L[1:-2:2]
    before_SL = _forwards(written_SL, can_skip_L)
    # Backwards is forwards from the other end: who could skip onto a state can now be skipped from it.
    can_skip_back_L = np.roll(can_skip_L[::-1], 2)
    after_SL = _forwards(written_SL[::-1, ::-1], can_skip_back_L)[::-1, ::-1]
    both_SL = before_SL + after_SL - written_SL
    whole = np.logaddexp.reduce(both_SL, axis=1, keepdims=True)
    if not np.isfinite(whole).all():
        raise DataError(f"no path of {len(log_probs_SV)} steps writes these {len(tokens)} tokens")
    return np.asarray(np.exp(both_SL - whole)[:, 1::2].T)


def _forwards(written_SL: Reals, can_skip_L: NDArray[np.bool_]) -> Reals:
    """Return the log-probability of all ways to be in a state, this step's symbol included."""
    sums_SL = np.full_like(written_SL, -np.inf)
    sums_SL[0, :2] = written_SL[0, :2]
    for step in range(1, len(sums_SL)):
        came_L = sums_SL[step - 1]
        ways_L = came_L.copy()
        ways_L[1:] = np.logaddexp(ways_L[1:], came_L[:-1])
        ways_L[2:] = np.logaddexp(ways_L[2:], np.where(can_skip_L[2:], came_L[:-2], -np.inf))
        sums_SL[step] = ways_L + written_SL[step]
    return sums_SL
