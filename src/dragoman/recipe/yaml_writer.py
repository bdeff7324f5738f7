"""Readable YAML that every YAML reader, of version 1.1 or 1.2, reads back as it was."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.+-]*")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Words that some version of YAML takes for something else than text, whatever their case."""
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON leaves as they are and YAML does not allow or takes for the end of a line."""
_LONGEST_LINE = 100
NO_COMMENTS: Mapping[str, str] = {}


def write_yaml(mapping: Mapping[str, object], comments: Mapping[str, str] = NO_COMMENTS) -> str:
    """Write a mapping of plain values in block style; lists of scalars stay on one line where they fit.

    `comments` stand above the keys whose dotted paths they have; none goes into a list.
    """
    return "".join(f"{line}\n" for line in _mapping(mapping, comments, ""))


def _mapping(mapping: Mapping[str, object], comments: Mapping[str, str], place: str) -> list[str]:
    lines = []
    for key, value in mapping.items():
        lines += comment(comments.get(f"{place}{key}", ""))
        match value:
            case Mapping() if value:
                lines += [f"{_text(key)}:", *_indented(_mapping(value, comments, f"{place}{key}."))]
            case list() | tuple() if _needs_block(value):
                lines += [f"{_text(key)}:", *_indented(_list(value))]
            case _:
                lines.append(f"{_text(key)}: {_inline(value)}")
    return lines


def _list(items: Sequence[object]) -> list[str]:
    lines = []
    for item in items:
        match item:
            case Mapping() if item:
                first, *rest = _mapping(item, NO_COMMENTS, "")
                lines += [f"- {first}", *_indented(rest)]
            case _:
                lines.append(f"- {_inline(item)}")
    return lines


def comment(text: str) -> list[str]:
    """Fold a comment; what YAML would take for the end of a line becomes a space."""
    return [f"# {line}" for line in textwrap.wrap(_UNPRINTABLE.sub(" ", text), _LONGEST_LINE - 2)]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _needs_block(items: Sequence[object]) -> bool:
    return any(isinstance(item, Mapping) for item in items) or len(_inline(items)) > _LONGEST_LINE


def _inline(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_inline(item) for item in value)}]"
        case Mapping() if not value:
            return "{}"
    raise TypeError(f"cannot write {type(value).__name__} as YAML")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return repr(value).replace("inf", ".inf").replace("nan", ".nan")
    mantissa, _, exponent = repr(value).partition("e")
    if exponent and "." not in mantissa:  # YAML 1.1 takes 1e-09 for text
        mantissa += ".0"
    return f"{mantissa}e{exponent}" if exponent else mantissa


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)
