"""How values and expectations are worded in complaints: always one short line."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo

from dragoman.recipe.anatomy import members
from dragoman.recipe.suggestions import nearest
from dragoman.recipe.yaml_reader import Path, read_scalar

_LONGEST = 60
_SWITCHES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def shown(value: object) -> str:
    """Write a value as a recipe would, cut to a short line."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a section" if value else "an empty section"
        case list() | tuple():
            return _cut(f"[{', '.join(shown(item) for item in value[:_LONGEST])}]")
        case str():
            return _cut(repr(value))
        case int() | float():
            return _cut(str(value))
    return f"a Python {type(value).__name__}"


def dotted(path: Path) -> str:
    """Write a path as `data.train[0].file`."""
    said = ""
    for step in path:
        if isinstance(step, int):
            said += f"[{step}]"
        else:
            word = step if re.fullmatch(r"[\w-]{1,60}", step) else _cut(repr(step))
            said += f".{word}" if said else word
    return said


def expected(annotation: Any, notes: tuple[Any, ...] = ()) -> str:
    """Say in words what an annotation takes; None is left out."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return expected(inner, (*more, *notes))
    parts = members(annotation)
    if parts != (annotation,):
        if len(parts) == 1:
            return expected(parts[0], notes)
        said = ["a list of these" if get_origin(part) is tuple else expected(part) for part in parts]
        return " or ".join(said)
    if get_origin(annotation) is Literal:
        return _one_of(choices(annotation))
    if get_origin(annotation) is tuple:
        item, *others = get_args(annotation)
        number = "" if others == [...] else f" of {1 + len(others)}"
        return f"a list{number}, each item {expected(item)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return f"{words[annotation]}{_bounds(notes)}"


def mismatch(value: object, annotation: Any, notes: tuple[Any, ...]) -> str:
    """Say what was expected, what was found, and what would do."""
    options = choices(annotation)
    if options and get_origin(annotation) is Literal and isinstance(value, str | bool | None):
        return not_one_of(value, options)
    return f"expected {expected(annotation, notes)}, found {shown(value)}{_cure(value, annotation, options)}"


def not_one_of(value: object, options: tuple[str, ...]) -> str:
    """Say that a word is none of those that may stand here, and which is nearest."""
    near = nearest(value, options) if isinstance(value, str) else None
    if value in (None, False) and "none" in options:
        near = "none"
    if near:
        return f"found {shown(value)}; did you mean '{near}'? (one of {', '.join(options)})"
    return f"expected {_one_of(options)}, found {shown(value)}"


def choices(annotation: Any) -> tuple[str, ...]:
    """List the fixed words that an annotation takes, those of its unions included."""
    if get_origin(annotation) is Literal:
        return tuple(str(option) for option in get_args(annotation))
    parts = members(annotation)
    return tuple(word for part in parts for word in choices(part)) if parts != (annotation,) else ()


def _one_of(options: tuple[str, ...]) -> str:
    return options[0] if len(options) == 1 else f"one of {', '.join(options)}"


def _bounds(notes: tuple[Any, ...]) -> str:
    said = []
    for note in notes:
        match note:
            case FieldInfo():
                said += [bounds] if (bounds := _bounds(tuple(note.metadata)).strip()) else []
            case Gt(gt=bound):
                said.append(f"above {bound}")
            case Ge(ge=bound):
                said.append(f"of at least {bound}")
            case Lt(lt=bound):
                said.append(f"below {bound}")
            case Le(le=bound):
                said.append(f"up to {bound}")
            case MinLen():
                said.append("that is not empty")
    return f" {' and '.join(dict.fromkeys(said))}" if said else ""


def _cure(value: object, annotation: Any, options: tuple[str, ...]) -> str:
    types = {part for part in map(_plain_type, members(annotation)) if part is not None}
    if isinstance(value, str):
        if near := nearest(value, options):
            return f"; did you mean '{near}'?"
        if bool in types and value.lower() in _SWITCHES:
            return f"; did you mean {_SWITCHES[value.lower()]}?"
        if types & {int, float} and _is_number(value):
            return "; write it without quotes"
        if types & {int, float} and _is_number(value.replace("_", "").replace(",", "")):
            return "; write the digits only"
    elif str in types and not types & {int, float} and isinstance(value, int | float):
        return "; put text in quotes"
    return ""


def _plain_type(annotation: Any) -> type | None:
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    return annotation if isinstance(annotation, type) else None


def _is_number(text: str) -> bool:
    try:
        value = read_scalar(text)
    except ValueError:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
