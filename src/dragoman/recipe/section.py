"""The ground that every section of a recipe stands on: strict, frozen, described field by field."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are refused, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def refuse(contradictions: Sequence[str]) -> None:
    """Raise ValueError with every contradiction on a line of its own, if there is any."""
    if contradictions:
        raise ValueError("\n".join(contradictions))
