"""Strict YAML for people: the scalars of YAML 1.2, line numbers, and nothing that can surprise or explode.

Differs from `yaml.safe_load`: `1e-4` is a number; `no`, `on`, `12:30`, `1_000` and dates are text; keys given
twice, anchors, aliases and tags are refused; depth, number of values and size are limited. Executes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What a file can hold."""
Path = tuple[str | int, ...]
"""Where a value stands in a file: keys and list indices from the top."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
"""The deepest recipe has 6 levels; the parser's own recursion ends far beyond this."""
MAX_VALUES = 10_000
MAX_DIGITS = 100
"""Python itself refuses to read integers of more than 4,300 digits."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_CURES = {
    r"'\t'": "; indent with spaces, not tabs",
    "cannot start any token": "; put text that starts with a sign in quotes",
    "alphabetic or numeric": "; put text that starts with a sign in quotes",
    "mapping values are not allowed": "; put text with a colon in quotes, or check the indentation",
    "expected <block end>": "; check the indentation",
}
"""What helps, by a part of what PyYAML says."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a pair: Python strings can hold it, files cannot."""


class Unreadable(Exception):  # noqa: N818 - reads as a statement, like KeyboardInterrupt
    """Text that is not YAML, or more than a recipe may hold: nothing after `line` was looked at."""

    def __init__(self, line: int, what: str) -> None:
        """Keep the line, which counts from 1, and what is wrong there."""
        self.line, self.what = line, what
        super().__init__(f"line {line}: {what}")


@dataclass(frozen=True)
class Fault:
    """Something that a file may not say, at a line and a place of it; reading goes on."""

    line: int
    path: Path
    what: str


@dataclass(frozen=True)
class Document:
    """What a file says, the line of every key and list item, and the faults that did not end the reading."""

    value: Plain
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def decode_text(raw: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark; raises `Unreadable` with the line that is not."""
    if len(raw) > MAX_BYTES:
        raise Unreadable(1, f"larger than {MAX_BYTES:,} bytes: that is not a recipe")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, f"not UTF-8: found byte 0x{raw[error.start]:02x}; save it as UTF-8") from error


def read_yaml(text: str) -> Document:
    """Read one YAML document; raises `Unreadable` where the text is none or passes a limit."""
    loader = yaml.SafeLoader.__new__(yaml.SafeLoader)
    try:
        loader.__init__(text)  # type: ignore[misc]  # checks every character, so it belongs inside the `try`
        return _Builder(loader).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, _one_line(error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(line, f"a character that YAML forbids: U+{ord(text[error.position]):04X}") from error
    except (ValueError, OverflowError) as error:  # PyYAML lets escapes beyond Unicode through: "\UFFFFFFFF"
        raise Unreadable(loader.get_mark().line + 1, f"not YAML: {error}") from error


def read_scalar(text: str) -> bool | int | float | str | None:
    """Read a scalar without quotes by the core schema of YAML 1.2; raises ValueError for endless integers."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) or _BASED.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"an integer of {len(text):,} digits")
        return int(text, 0 if text.startswith(("0x", "0o")) else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    assert mark is not None
    return mark.line + 1


def _one_line(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(part for part in (error.context, error.problem) if part)
    cure = next((cure for sign, cure in _CURES.items() if sign in said), "")
    return f"not YAML: {' '.join(said.split())}{cure}"


class _Builder:
    """Builds values from the parser's events, which come one by one, so that limits end the reading early."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.loader = loader
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self.values = 0

    def document(self) -> Document:
        """Build the only document of the stream."""
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Document(None)
        first = self._next()
        self.lines[()] = _line(first)
        value = self._value(first, ())
        self._next()  # the end of the document
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise Unreadable(_line(after), "a second document (`---`): a recipe is one document")
        return Document(value, self.lines, self.faults)

    def _next(self) -> yaml.Event:
        event: yaml.Event = self.loader.get_event()  # type: ignore[no-untyped-call]
        return event

    def _value(self, event: yaml.Event, path: Path) -> Plain:
        line = _line(event)
        self.values += 1
        if self.values > MAX_VALUES:
            raise Unreadable(line, f"more than {MAX_VALUES:,} values: that is not a recipe")
        if len(path) > MAX_DEPTH:
            raise Unreadable(line, f"more than {MAX_DEPTH} levels deep: that is not a recipe")
        if isinstance(event, yaml.AliasEvent):
            self._fault(line, path, f"aliases (*{event.anchor}) are not allowed; write the value out")
            return None
        assert isinstance(event, yaml.NodeEvent)
        if event.anchor is not None:
            self._fault(line, path, f"anchors (&{event.anchor}) are not allowed; write each value out")
        match event:
            case yaml.MappingStartEvent():
                self._refuse_tag(event.tag, line, path)
                return self._mapping(path)
            case yaml.SequenceStartEvent():
                self._refuse_tag(event.tag, line, path)
                return self._list(path)
            case yaml.ScalarEvent():
                self._refuse_tag(event.tag, line, path)
                return self._scalar(event, path)
        raise AssertionError(event)

    def _mapping(self, path: Path) -> dict[str, Plain]:
        found: dict[str, Plain] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._value(event, (*path, "?"))
                self._fault(line, path, "a key must be one word")
                self._value(self._next(), (*path, "?"))
                continue
            key = self._key(event, path)
            here = (*path, key)
            if key in found:
                self._fault(line, here, f"key given twice; first at line {self.lines[here]}")
                kept, self.lines = self.lines, {}
                self._value(self._next(), here)
                self.lines = kept
                continue
            self.lines[here] = line
            found[key] = self._value(self._next(), here)
        return found

    def _list(self, path: Path) -> list[Plain]:
        found: list[Plain] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            here = (*path, len(found))
            self.lines[here] = _line(event)
            found.append(self._value(event, here))
        return found

    def _key(self, event: yaml.ScalarEvent, path: Path) -> str:
        line = _line(event)
        if event.anchor is not None:
            self._fault(line, path, f"anchors (&{event.anchor}) are not allowed; write each value out")
        self._refuse_tag(event.tag, line, path)
        return SURROGATE.sub("�", event.value)

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Plain:
        line = _line(event)
        if SURROGATE.search(event.value):
            self._fault(line, path, "half of a surrogate pair is not text")
            return SURROGATE.sub("�", event.value)
        if not event.implicit[0]:
            return str(event.value)
        try:
            return read_scalar(event.value)
        except ValueError as error:
            self._fault(line, path, str(error))
            return None

    def _refuse_tag(self, tag: str | None, line: int, path: Path) -> None:
        if tag is not None:
            self._fault(line, path, f"tags ({_short(tag)}) are not allowed; write the plain value")

    def _fault(self, line: int, path: Path, what: str) -> None:
        self.faults.append(Fault(line, path, what))


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:60]
