"""Overrides: `key=value` on the command line, by the same rules as a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from dragoman.recipe.anatomy import RECIPE, Choice, Items, Node, node_at
from dragoman.recipe.complaints import Complaint, Origin
from dragoman.recipe.section import Section
from dragoman.recipe.wording import dotted, shown
from dragoman.recipe.yaml_reader import Path, Plain, Unreadable, read_yaml

_KEY = re.compile(r"[^\s.\[\]=]+(?:\.[^\s.\[\]=]+|\[[0-9]+\])*")
_INDEX = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class Override:
    """One `key=value`, taken apart."""

    steps: tuple[str, ...]
    value: Plain
    origin: Origin


class Refused(Exception):  # noqa: N818 - reads as a statement, like KeyboardInterrupt
    """An override that leads nowhere."""

    def __init__(self, path: Path, what: str) -> None:
        """Keep the place where the way ends."""
        self.path, self.what = path, what
        super().__init__(what)


def parse(texts: Sequence[str]) -> tuple[list[Override], list[Complaint]]:
    """Take overrides apart; sections come before what is inside them, in whatever order they were given."""
    overrides: list[Override] = []
    complaints: list[Complaint] = []
    seen: dict[tuple[str, ...], str] = {}
    for order, text in enumerate(texts):
        origin = Origin(f"override {text!r}", order, is_override=True)
        key, equals, value = text.partition("=")
        steps = tuple(re.findall(r"[^.\[\]]+", key))
        if not equals or not _KEY.fullmatch(key):
            complaints.append(Complaint(origin, (), "expected key=value, for instance decoding.beam=3"))
        elif steps in seen:
            complaints.append(Complaint(origin, (), f"this key is given twice; first by {seen[steps]!r}"))
        else:
            seen[steps] = text
            try:
                document = read_yaml(value)
            except Unreadable as error:
                complaints.append(Complaint(origin, (), error.what))
            else:
                complaints += [
                    Complaint(origin, (*steps, *fault.path), fault.what) for fault in document.faults
                ]
                overrides.append(Override(steps, document.value, origin))
    return sorted(overrides, key=lambda one: len(one.steps)), complaints


def apply(
    overrides: Iterable[Override], given: dict[str, Any], origins: dict[Path, Origin]
) -> list[Complaint]:
    """Put every override where it belongs in `given` and its origin in `origins`; both are changed in place.

    Sections that `given` lacks start as their defaults.
    """
    complaints = []
    for override in overrides:
        try:
            path = _put(override, given, origins)
        except Refused as refused:
            complaints.append(Complaint(override.origin, refused.path, refused.what))
        else:
            for inner in [known for known in origins if known[: len(path)] == path]:
                del origins[inner]
            origins[path] = override.origin
    return complaints


def forget_other_kinds(overrides: Iterable[Override], given: dict[str, Any]) -> None:
    """Drop, where an override switches the kind of a section, the keys that belong to the old kind alone."""
    for override in overrides:
        *section, key = override.steps
        holder: Any = given
        node: Node | None = RECIPE
        for step in section:
            node = _inner(node, holder, step)
            match holder:
                case dict():
                    holder = holder.get(step)
                case list() if _is_index(step, holder):
                    holder = holder[int(step)]
        if not isinstance(node, Choice) or key != node.key or not isinstance(holder, dict):
            continue
        new = node.section_of({key: override.value})
        if new is not None:
            for old in [old for old in holder if old not in new.model_fields]:
                del holder[old]


def _put(override: Override, given: dict[str, Any], origins: dict[Path, Origin]) -> Path:
    """Walk to the place of an override, making sections on the way, and put its value there."""
    holder: Any = given
    node: Node | None = RECIPE
    path: Path = ()
    for step in override.steps[:-1]:
        inner_node = _inner(node, holder, step)
        slot = _slot(holder, step, path)
        path = (*path, slot)
        inner = holder.get(slot) if isinstance(holder, dict) else holder[slot]
        if inner is None:
            inner = _default(node, holder, step, inner_node)
            origins[path] = override.origin
        elif isinstance(inner, str) and isinstance(inner_node, Choice) and inner_node.has_short_form:
            inner = {inner_node.key: inner}
        holder[slot] = inner
        holder, node = inner, inner_node
    slot = _slot(holder, override.steps[-1], path)
    holder[slot] = override.value
    return (*path, slot)


def _slot(holder: Any, step: str, path: Path) -> str | int:
    if isinstance(holder, dict):
        return step
    if not isinstance(holder, list):
        raise Refused(path, f"is {shown(holder)}, not a section: it has no '{step}'")
    if _is_index(step, holder):
        return int(step)
    has = f"items 0 to {len(holder) - 1}" if holder else "no items"
    raise Refused(path, f"is a list with {has}, found '{step}'; to replace the list: {dotted(path)}=[…]")


def _is_index(step: str, holder: list[Any]) -> bool:
    return bool(_INDEX.fullmatch(step)) and int(step) < len(holder)


def _inner(node: Node | None, holder: Any, step: str) -> Node | None:
    match node:
        case Items():
            return node.of
        case Choice():
            section = node.section_of(holder)
            return None if section is None else node_at(section, step)
    return None


def _default(node: Node | None, holder: Any, key: str, inner: Node | None) -> Any:
    """Give a copy of the default of a section or list, as sparse as it was written: its kind, mostly."""
    section: type[Section] | None = node.section_of(holder) if isinstance(node, Choice) else None
    field = section.model_fields.get(key) if section is not None else None
    if field is not None and isinstance(field.default, BaseModel):
        return field.default.model_dump(exclude_unset=True)
    return [] if isinstance(inner, Items) else {}
