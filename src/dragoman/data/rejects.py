"""Rows that cannot be used: counted by kind, listed in a file, never passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

from dragoman.errors import DataError
from dragoman.records import Origin

_LONGEST_FOUND = 200


class Rejects:
    """Counts rejected rows by kind and, given a path, appends each one to that file as a JSON line.

    Only the counts stay in memory. The file is opened and closed for every row: rejected rows are few,
    nothing is lost in a crash, and nobody has to remember to close it.
    """

    def __init__(self, strict: bool = False, path: Path | None = None) -> None:
        """Start with no rows; `strict` makes the first one a DataError."""
        self.strict = strict
        self.path = path
        self.counts: dict[str, int] = {}
        self.first: str | None = None
        """The first row, where it is and what is wrong with it."""

    @property
    def total(self) -> int:
        """How many rows were rejected, of all kinds together."""
        return sum(self.counts.values())

    def add(self, kind: str, origin: Origin | None, found: str) -> None:
        """Count a row and list it; raises DataError where rows may not be bad."""
        found = shorten(found, _LONGEST_FOUND)
        said = f"{f'{origin}: ' if origin else ''}{kind}: found {found}"
        if self.strict:
            raise DataError(f"{said}; mend the row, or let `data.strict: false` pass over such rows")
        self.first = self.first or said
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.path is not None:
            self._append(self.path, kind, origin, found)

    def summary(self) -> str:
        """Say in one line how many rows were rejected, why, and where they are listed."""
        if not self.counts:
            return "no rows rejected"
        kinds = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        rows = "1 row" if self.total == 1 else f"{self.total:,} rows"
        listed = f" ({self.path})" if self.path else ""
        return f"{rows} rejected: {', '.join(f'{count:,} {kind}' for kind, count in kinds)}{listed}"

    def _append(self, path: Path, kind: str, origin: Origin | None, found: str) -> None:
        file, line = (origin.file, origin.line) if origin else (None, None)
        row = json.dumps({"kind": kind, "file": file, "line": line, "found": found}, ensure_ascii=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as out:
            # A lone surrogate comes out as \udxxx, which is how JSON writes it.
            out.write(row.encode("utf-8", "backslashreplace") + b"\n")


def shorten(text: str, longest: int = 80) -> str:
    """Cut a text for a message."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
