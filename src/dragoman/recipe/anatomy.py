"""What may stand where in a recipe, read off the annotations of the sections."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic.fields import FieldInfo

from dragoman.recipe.section import Section
from dragoman.recipe.sections import Recipe
from dragoman.recipe.yaml_reader import Path


@dataclass(frozen=True)
class Leaf:
    """A scalar, or a list of scalars, with the notes of its annotation (bounds)."""

    annotation: Any
    notes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Items:
    """A list of sections."""

    of: Node


@dataclass(frozen=True)
class Choice:
    """A section, in one kind or several."""

    sections: Mapping[str, type[Section]]
    """By kind; the only one of a section without kinds has the name ''."""
    key: str | None
    """The key that says which kind: `kind`, `method`, `name`; None where other keys tell."""
    tell: Callable[[Any], Hashable] | None = None
    """Tells the kind where no key does."""
    has_short_form: bool = False
    """The name of the kind alone stands for the section."""

    def kind_of(self, value: object) -> str | None:
        """Tell which kind a mapping means, or None where it does not say."""
        if self.tell is not None:
            return str(self.tell(value))
        if self.key is None:
            return ""
        kind = value.get(self.key) if isinstance(value, dict) else None
        return kind if isinstance(kind, str) and kind in self.sections else None

    def section_of(self, value: object) -> type[Section] | None:
        """Tell which section a mapping means, or None where it does not say."""
        kind = self.kind_of(value)
        return None if kind is None else self.sections[kind]

    @property
    def is_tagged(self) -> bool:
        """Whether pydantic names the kind in the place of an error."""
        return len(set(self.sections.values())) > 1

    @property
    def keys(self) -> dict[str, FieldInfo]:
        """Every key of every kind."""
        return {
            key: field for section in self.sections.values() for key, field in section.model_fields.items()
        }


Node = Leaf | Items | Choice
KINDS = ("kind", "method", "name")
"""The keys that say which kind a section is."""
RECIPE = Choice(MappingProxyType({"": Recipe}), None)


@cache
def node_at(section: type[Section], key: str) -> Node | None:
    """Say what may stand at a key of a section; None where the section does not know it."""
    field = section.model_fields.get(key)
    if field is None:
        return None
    return _node(field.annotation, (*field.metadata, field.discriminator))  # pydantic moves this note out


@dataclass(frozen=True)
class Place:
    """A place in a recipe: its path, what may stand there (None: nothing), which kind of section holds it."""

    path: Path
    node: Node | None
    owner: Choice
    kind: str


def place_of(location: Path) -> Place:
    """Translate the location of a pydantic error, which also names kinds and branches of unions."""
    place = Place((), RECIPE, RECIPE, "")
    node: Node | None = RECIPE
    kind = ""
    is_kind_next = False
    for step in location:
        if is_kind_next:
            kind, is_kind_next = str(step), False
            continue
        match node:
            case Choice():
                inner = node_at(node.sections[kind], str(step))
                place = Place((*place.path, step), inner, node, kind)
            case Items():
                inner = node.of
                place = Place((*place.path, step), inner, place.owner, place.kind)
            case _:  # inside a leaf: branches of unions, items of lists
                return place
        node = inner
        if isinstance(node, Choice):
            is_kind_next = node.is_tagged
            kind = next(iter(node.sections))
    return place


@cache
def keys_by_name() -> Mapping[str, tuple[str, ...]]:
    """List for every key of every section the dotted places where it may stand."""
    found: dict[str, dict[str, None]] = {}
    for name, place in _keys(RECIPE, ""):
        found.setdefault(name, {})[place] = None
    return {name: tuple(places) for name, places in found.items()}


def _keys(node: Node | None, place: str) -> Iterator[tuple[str, str]]:
    match node:
        case Items():
            yield from _keys(node.of, f"{place}[0]")
        case Choice():
            for section in node.sections.values():
                for key in section.model_fields:
                    inner = f"{place}.{key}" if place else key
                    yield key, inner
                    yield from _keys(node_at(section, key), inner)


def members(annotation: Any) -> tuple[Any, ...]:
    """Split a union into its members, without None; anything else is its only member."""
    if get_origin(annotation) not in (Union, UnionType):
        return (annotation,)
    return tuple(member for member in get_args(annotation) if member is not NoneType)


def _node(annotation: Any, notes: tuple[Any, ...]) -> Node:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _node(inner, (*more, *notes))
    parts = members(annotation)
    if parts != (annotation,) and len(parts) == 1:
        return _node(parts[0], notes)
    if all(isinstance(_bare(part), type) and issubclass(_bare(part), Section) for part in parts):
        return _choice(parts, notes)
    if get_origin(annotation) is tuple and not isinstance(item := _node(get_args(annotation)[0], ()), Leaf):
        return Items(item)
    return Leaf(annotation, notes)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _choice(parts: tuple[Any, ...], notes: tuple[Any, ...]) -> Choice:
    sections = [_bare(part) for part in parts]
    short = any(isinstance(note, BeforeValidator) for note in notes)
    key = next((key for key in KINDS if _is_kind(sections, key)), None)
    if key is not None:
        by_kind = {
            kind: section for section in sections for kind in get_args(section.model_fields[key].annotation)
        }
        return Choice(MappingProxyType(by_kind), key, None, short)
    for note in notes:
        if isinstance(note, Discriminator) and callable(note.discriminator):
            tagged = {get_args(part)[1].tag: _bare(part) for part in parts}
            assert all(isinstance(get_args(part)[1], Tag) for part in parts)
            return Choice(MappingProxyType(tagged), None, note.discriminator, short)
    assert len(sections) == 1, f"no key tells {sections} apart"
    return Choice(MappingProxyType({"": sections[0]}), None, None, short)


def _is_kind(sections: list[type[Section]], key: str) -> bool:
    fields = [section.model_fields.get(key) for section in sections]
    return all(
        field is not None and field.is_required() and get_origin(field.annotation) is Literal
        for field in fields
    )
