"""The ground that every section of a recipe stands on: strict, frozen, described field by field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Column = Annotated[int, Field(ge=0)] | str
"""A column of a table: its number from 0, or its name."""
Columns = Column | tuple[Column, ...]


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are refused, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def refuse(contradictions: Sequence[str]) -> None:
    """Raise ValueError with every contradiction on a line of its own, if there is any."""
    if contradictions:
        raise ValueError("\n".join(contradictions))
