"""What a search holds while it runs.

N sources still being answered, K rows of each source, B = N·K rows, G groups of rows, T target steps so
far, S source steps, M answers wanted of a group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.decoding.choosing import Ids, Reals
from dragoman.decoding.constrained import Followed
from dragoman.decoding.rules import Rules
from dragoman.decoding.sampling import Words
from dragoman.model.contracts import State, rows_of


@dataclass(frozen=True)
class Front:
    """All that is live. Rows of ended hypotheses stay in place, with a total of minus infinity.

    What decides is held in NumPy, on the host; where the model computes there are only its own state and, on
    request, where it looked.
    """

    sources_N: Ids
    """Which inputs these are."""
    state: State
    rules: Rules
    streams_NK: Words
    lengths_N: Ids
    """Steps of the memory of each source."""
    groups: int
    """How many groups the rows of a source are cut into, which search side by side; G = N·groups."""
    best_GM: Reals
    """Best scores of finished hypotheses, largest first; minus infinity where there are fewer."""
    finished_G: Ids
    totals_NK: Reals
    tokens_BT: Ids
    log_probs_BT: Reals
    device: torch.device
    reads_BTS: Tensor | None = None
    followed: Followed | None = None
    """How far each row is with phrases that it must or must not contain."""

    @property
    def rows_per_source(self) -> int:
        """Rows that each source has."""
        return int(self.totals_NK.shape[1])

    @property
    def is_live_NK(self) -> NDArray[np.bool_]:
        """True where a row has a hypothesis that goes on."""
        return np.not_equal(self.totals_NK, -math.inf)

    @property
    def step(self) -> int:
        """Tokens written so far."""
        return int(self.tokens_BT.shape[1])

    def there(self, ids: Ids) -> Tensor:
        """Return these numbers where the model computes."""
        return torch.from_numpy(ids).to(self.device)

    def keep(self, sources: Ids) -> Front:
        """Let the given sources stay, with all their rows."""
        kept, beams = self.there(sources), self.rows_per_source
        rows_B = rows_within(sources, beams)
        groups_G = sources if self.groups == 1 else rows_within(sources, self.groups)
        return replace(
            self,
            sources_N=self.sources_N[sources],
            state=self.state.keep(kept),
            rules=self.rules.keep(sources),
            streams_NK=self.streams_NK[sources],
            lengths_N=self.lengths_N[sources],
            best_GM=self.best_GM[groups_G],
            finished_G=self.finished_G[groups_G],
            totals_NK=self.totals_NK[sources],
            tokens_BT=self.tokens_BT[rows_B],
            log_probs_BT=self.log_probs_BT[rows_B],
            reads_BTS=None if self.reads_BTS is None else self.reads_BTS[rows_of(kept, beams)],
            followed=None if self.followed is None else self.followed.keep(sources, rows_B),
        )

    def rest(self, are_done: NDArray[np.bool_]) -> Front:
        """Leave no live row to sources, or to groups, that are done; they wait for the others."""
        totals_XK = self.totals_NK.reshape(len(are_done), -1)
        totals_NK = np.where(are_done[:, None], -math.inf, totals_XK).reshape(self.totals_NK.shape)
        return replace(self, totals_NK=totals_NK)


def rows_within(owners: Ids, each: int) -> Ids:
    """Return the rows of some sources, or their groups: source n owns n·each to n·each + each - 1."""
    rows: Ids = (owners[:, None] * each + np.arange(each)).reshape(-1)
    return rows
