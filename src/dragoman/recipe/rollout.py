"""What a recipe can say about how a decoder writes numbers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.section import Section, refuse


class Rollout(Section):
    """How the decoder writes numbers."""

    kind: Literal["steps", "whole"] = "steps"
    """`steps`: each step is told the values before it, in a forecast the model's own. `whole`: none is told
    any, and the whole horizon is written at once."""
    patch: int = Field(1, ge=1)
    """Time steps that one step of the decoder writes."""
    begin: Literal["nothing", "context"] = "nothing"
    """What the first step is told, and with `whole` every step: nothing, or the last patch of the context, so
    that a step has something to forecast by before it has learnt where to look."""
    linear: bool = False
    """Add a linear map, one for all variables, from the whole context to the whole horizon: the highway of
    LSTNet (Lai et al. 2018). It is fitted before training, which leaves it as it is: all else begins at
    nothing and learns what the line leaves."""
    ridge: float = Field(0.1, ge=0)
    """Penalty of that fit, as a share of the mean square of the context (Hoerl and Kennard 1970)."""
    ridge_growth: float = Field(0.0, ge=0)
    """Power of the distance from the forecast by which that penalty grows over the context, its mean being
    `ridge`: 0 shrinks all steps alike, 1 those of long ago more than the last (Litterman 1986)."""
    lines: int = Field(1, ge=1)
    """How many such maps there are, one for each kind of window (Späth 1979). Kinds are found by k-means of
    how much windows vary over short and over long times; for many series that differ."""

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if not self.linear:
            fields = type(self).model_fields
            given = {"ridge": self.ridge, "ridge_growth": self.ridge_growth, "lines": self.lines}
            idle = [key for key, value in given.items() if value != fields[key].default]
            refuse([f"`{key}` has no effect without `linear`" for key in idle])
        return self


DEFAULT_ROLLOUT = Rollout()
"""That of a recipe that says nothing."""
