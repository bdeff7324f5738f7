"""How a recipe names the columns of a table."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Column = Annotated[int, Field(ge=0)] | str
Columns = Column | tuple[Column, ...]


def columns_of(given: Columns | None) -> tuple[Column, ...]:
    """List the columns of a key that takes one, several or none."""
    if given is None:
        return ()
    return given if isinstance(given, tuple) else (given,)
