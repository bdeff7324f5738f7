"""HTML that is escaped by being made: text becomes part of a page in no other way."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_VOID = frozenset({"meta", "br", "col"})
_PICTURES = {code: 0x2400 + code for code in range(32)} | {127: 0x2421}
"""Control characters have pictures in Unicode; HTML has no way to write them."""
_PICTURES_IN_TEXT = {code: picture for code, picture in _PICTURES.items() if chr(code) not in "\n\t"}
_BLANKS = {" ": "␣", "\n": "↵", "\t": "⇥", "": "∅"}
WORD_START = "▁"
"""SentencePiece writes it for a blank."""

Attributes = Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Html:
    """A part of a page, as it stands in the file."""

    source: str


Child = Html | str | None


def element(name: str, attributes: Attributes | None = None, *children: Child) -> Html:
    """Return an element; strings among its children are text. Attributes that are None are left out."""
    said = "".join(
        f' {key}="{_attribute(value)}"' for key, value in (attributes or {}).items() if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(children).source}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Put parts one behind the other."""
    return Html("".join(_child(child) for child in children))


def raw(source: str) -> Html:
    """Take the page's own style or script as it is; never anything that was read from data."""
    return Html(source)


def visible(text: str) -> str:
    """Make blanks and control characters visible, for a piece that would else look like nothing."""
    piece = _BLANKS.get(text) or text.replace(WORD_START, "␣")
    return piece.translate(_PICTURES)


def said(text: str, class_name: str = "said") -> Html:
    """Return text that a person or a model wrote, kept from turning the writing around it."""
    return element("bdi", {"class": class_name, "dir": "auto"}, text)


def table(
    caption: Child,
    head: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    class_name: str = "",
) -> Html:
    """Return a table whose first column names the rows."""
    columns = [element("th", {"scope": "col"}, cell) for cell in head]
    body = []
    for row in rows:
        first, *rest = row
        cells = [element("th", {"scope": "row"}, first), *(element("td", None, cell) for cell in rest)]
        body.append(element("tr", None, *cells))
    return element(
        "table",
        {"class": class_name or None},
        element("caption", None, caption),
        element("thead", None, element("tr", None, *columns)),
        element("tbody", None, *body),
    )


def scrolled(label: str, *children: Child) -> Html:
    """Return what may be wider than the page, to be scrolled by keys too."""
    return element(
        "div", {"class": "scrolled", "role": "region", "aria-label": label, "tabindex": 0}, *children
    )


def number(value: float, digits: int = 2) -> str:
    """Write a number with a true minus sign; one that is not finite by its name."""
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """Write a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def per_cent(share: float) -> str:
    """Write a share for people: never 0% or 100% of what is neither."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}%" if share < 0.0995 or share > 0.9905 else f"{100 * share:.0f}%"


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return html.escape(value.translate(_PICTURES))
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child.source
    return html.escape(child.translate(_PICTURES_IN_TEXT), quote=False)
