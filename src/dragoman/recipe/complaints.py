"""What is wrong with a recipe, for people: every fault one line, with its origin, its place and a cure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from dragoman.recipe.anatomy import Choice, Items, Leaf, Place, place_of
from dragoman.recipe.suggestions import meant
from dragoman.recipe.wording import dotted, mismatch, not_one_of, shown
from dragoman.recipe.yaml_reader import Path

MOST = 100
"""More complaints than this are not written: nobody would read them."""


@dataclass(frozen=True)
class Origin:
    """Who said a value: a line of a file, an override, or nobody (''); `order` sorts complaints."""

    text: str = ""
    order: int = 0
    is_override: bool = False


@dataclass(frozen=True)
class Complaint:
    """One fault."""

    origin: Origin
    path: Path
    what: str

    def __str__(self) -> str:
        """Write it on one line."""
        return ": ".join(part for part in (self.origin.text, dotted(self.path), self.what) if part)


def origin_of(origins: Mapping[Path, Origin], path: Path) -> Origin:
    """Find who said a value, or else the nearest section around it."""
    for length in range(len(path), -1, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return Origin()


def lines_of(complaints: Iterable[Complaint]) -> list[str]:
    """Write complaints in the order of the file, then those of overrides, each once, at most `MOST`."""
    ordered = sorted(complaints, key=lambda one: (one.origin.is_override, one.origin.order))
    lines = list(dict.fromkeys(map(str, ordered)))
    return lines if len(lines) <= MOST else [*lines[:MOST], "and more complaints"]


def translate(
    errors: Sequence[ErrorDetails], given: Mapping[str, Any], origins: Mapping[Path, Origin]
) -> list[Complaint]:
    """Turn what pydantic found in `given` into complaints."""
    found: list[Complaint] = []
    missing: list[Complaint] = []
    meant_keys: set[Path] = set()
    for error in errors[: 2 * MOST]:  # enough to see that there are too many
        place = place_of(error["loc"])
        value = _value_at(given, place.path)
        match error["type"], place.node:
            case "value_error", _:
                found += _contradictions(place.path, str(error["ctx"]["error"]), origins)
            case _, None:
                complaint, suggested = _unknown(place, origins)
                found.append(complaint)
                meant_keys |= suggested
            case "too_short", Items() if value:
                pass  # pydantic counts the items without fault; the others have their own complaint
            case "missing", _ if value is None:  # else an item of a list is
                missing.append(_missing(place, origins))
            case "union_tag_not_found" | "union_tag_invalid", Choice() as choice if isinstance(value, dict):
                found += (unknown := _unknown_in_any_kind(place.path, value, choice, origins))[0]
                meant_keys |= unknown[1]
                (missing if choice.key not in value else found).append(
                    _kind(place.path, choice, value, origins)
                )
            case _:
                found.append(_complaint(origins, place.path, _wrong(place.node, value)))
    # A key that is only misspelt is not missing as well.
    return [*found, *(one for one in missing if one.path not in meant_keys)]


def _complaint(origins: Mapping[Path, Origin], path: Path, what: str) -> Complaint:
    return Complaint(origin_of(origins, path), path, what)


def _contradictions(section: Path, said: str, origins: Mapping[Path, Origin]) -> list[Complaint]:
    """Give every contradiction the origin of a key that it names, of an overridden one first."""
    found = []
    for line in said.split("\n"):
        named = [(*section, *_path(key)) for key in re.findall(r"`([a-z0-9_.\[\]]+)", line)]
        said_by = [origins[path] for path in named if path in origins]
        overridden = [origin for origin in said_by if origin.is_override]
        origin = (overridden or said_by or [origin_of(origins, section)])[0]
        found.append(Complaint(origin, section, line))
    return found


def _path(key: str) -> Path:
    return tuple(int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", key))


def _unknown(place: Place, origins: Mapping[Path, Origin]) -> tuple[Complaint, set[Path]]:
    *above, key = place.path
    section, owner = tuple(above), place.owner
    others = [kind for kind, other in owner.sections.items() if key in other.model_fields]
    if owner.key is not None and others:
        what = f"has no effect with {owner.key} {place.kind} (it belongs to {', '.join(others)})"
        switch = origins.get((*section, owner.key), Origin())
        if switch.is_override and not origin_of(origins, place.path).is_override:
            what += f"; to replace the whole section: {dotted(section)}={{{owner.key}: {place.kind}}}"
        return _complaint(origins, place.path, what), set()
    known = owner.sections[place.kind].model_fields if owner.key is not None else owner.keys
    return _unknown_key(place.path, known, origins)


def _unknown_key(
    path: Path, known: Iterable[str], origins: Mapping[Path, Origin]
) -> tuple[Complaint, set[Path]]:
    *above, key = path
    keys = list(known)
    names = meant(str(key), keys, re.sub(r"\[\d+\]", "[0]", dotted(tuple(above))))
    if names:
        cure = f"did you mean {' or '.join(map(repr, names))}?"
    else:
        cure = f"known here: {', '.join(keys)}" if keys else "no key is known here"
    return _complaint(origins, path, f"unknown key; {cure}"), {(*above, name) for name in names}


def _unknown_in_any_kind(
    section: Path, value: Mapping[str, Any], choice: Choice, origins: Mapping[Path, Origin]
) -> tuple[list[Complaint], set[Path]]:
    """Complain about keys that no kind knows, where the kind itself is not clear."""
    known = choice.keys
    unknown = [_unknown_key((*section, key), known, origins) for key in value if key not in known]
    return [one for one, _ in unknown], {path for _, paths in unknown for path in paths}


def _missing(place: Place, origins: Mapping[Path, Origin]) -> Complaint:
    if place.path[-1] == place.owner.key:
        return _kind(place.path[:-1], place.owner, {}, origins)
    return Complaint(origin_of(origins, place.path[:-1]), place.path, "missing")


def _kind(
    section: Path, choice: Choice, value: Mapping[str, Any], origins: Mapping[Path, Origin]
) -> Complaint:
    assert choice.key is not None
    path = (*section, choice.key)
    kinds = tuple(choice.sections)
    if choice.key not in value:
        return _complaint(origins, path, f"missing; it is one of {', '.join(kinds)}")
    return _complaint(origins, path, not_one_of(value[choice.key], kinds))


def _wrong(node: Leaf | Items | Choice | None, value: object) -> str:
    match node:
        case Leaf():
            return mismatch(value, node.annotation, node.notes)
        case Items() if value == ():
            return "expected at least one item, found []"
        case Items():
            cure = "; put `- ` before its first key" if isinstance(value, dict) else ""
            return f"expected a list of sections, found {shown(value)}{cure}"
        case Choice() if node.has_short_form and isinstance(value, str):
            return not_one_of(value, tuple(node.sections))
        case Choice():
            known = isinstance(value, str) and node.key and value in node.sections
            cure = f"; write {{{node.key}: {value}}}" if known else ""
            return f"expected a section, found {shown(value)}{cure}"
    raise AssertionError(node)


def _value_at(given: Any, path: Path) -> Any:
    for step in path:
        match given:
            case dict() if step in given:
                given = given[step]
            case tuple() if isinstance(step, int) and step < len(given):
                given = given[step]
            case _:
                return None
    return given
