"""What the values of a row must be to make an example."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dragoman.data.lines import LONGEST_LINE

_SURROGATE = re.compile("[\ud800-\udfff]")


class BadRow(Exception):  # noqa: N818 - not an error of the program but a verdict on a row
    """A row that is no example: its kind and what was found."""

    def __init__(self, kind: str, found: str) -> None:
        """Take the kind that is counted, and what is listed."""
        super().__init__(kind, found)
        self.kind = kind
        self.found = found


def references_of(values: Sequence[object], source: str) -> tuple[str, ...]:
    """Return the targets of a source, without the empty ones; BadRow where none is left.

    A list, which JSON and Parquet can hold, has several in one value.
    """
    several = [each for value in values for each in (value if isinstance(value, list) else [value])]
    targets = [proper_text(value, "the target") for value in several]
    references = tuple(text for text in targets if text.strip())
    if not references:
        raise BadRow("empty target", f"{' | '.join(targets)!r} for {source!r}")
    return references


def proper_text(value: object, role: str) -> str:
    """Check that a value is proper text, a null being an empty one; BadRow otherwise."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow("not text", f"{value!r} as {role}")
    if len(value) > LONGEST_LINE:
        raise BadRow("line too long", value)
    if "\0" in value:
        raise BadRow("NUL character", repr(value))
    if not value.isascii() and _SURROGATE.search(value):
        raise BadRow("bad utf-8", repr(value))
    return value
