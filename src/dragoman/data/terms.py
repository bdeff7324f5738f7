"""Terminology files: TSV rows of a source phrase, a target phrase, and `never` where it is forbidden."""

from __future__ import annotations

from pathlib import Path

from dragoman.data.lines import find_file
from dragoman.data.tables import Fields, tsv_fields
from dragoman.errors import DataError
from dragoman.recipe.decoding import Term

_MOST = 20
"""More complaints than this are not written."""


def read_terms(name: str | Path) -> tuple[Term, ...]:
    """Read the terms of a file, relative to the current directory; empty lines do not count.

    Raises DataError with a line for each bad row, and where there are no terms.
    """
    path = find_file(Path(), str(name))
    terms: list[Term] = []
    complaints: list[str] = []
    for row in tsv_fields(path):
        fields = [field.strip() for field in row.fields]
        if not row.fault and not any(fields):
            continue
        if complaint := _complaint(row, fields):
            complaints.append(f"{path}:{row.number}: {complaint}")
            continue
        source, target, *forbids = fields
        is_never = forbids == ["never"]
        terms.append(Term(source=source, never=target) if is_never else Term(source=source, must=target))
    if complaints:
        more = [f"and {len(complaints) - _MOST:,} more"] if len(complaints) > _MOST else []
        raise DataError("\n".join([*complaints[:_MOST], *more]))
    if not terms:
        raise DataError(f"{path}: expected rows of a source phrase, a tab and a target phrase; found none")
    return tuple(terms)


def _complaint(row: Fields, fields: list[str]) -> str | None:
    if row.fault:
        return f"{row.fault}: {row.found[:60]!r}"
    if len(fields) not in (2, 3):
        return (
            f"expected a source phrase, a tab, a target phrase, and perhaps a tab and `never`; found "
            f"{len(fields)} columns"
        )
    if not fields[0]:
        return (
            "expected a source phrase, found none; `decoding.phrases.must` and `never` hold for all sources"
        )
    if not fields[1]:
        return "expected a target phrase, found none"
    if fields[2:] not in ([], [""], ["never"]):
        return f"expected `never` or nothing in the third column, found {fields[2]!r:.60}"
    return None
