"""Word alignments as they are written, Pharaoh's way: `0-0 1-2`, source word and target word from 0.

A link that annotators found possible and not sure has `?` for `-`, as in `3?4`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from dragoman.errors import DataError

Link = tuple[int, int]
"""Number of a source word and of a target word, from 0."""
_LINK = re.compile(r"([0-9]{1,6})([-?])([0-9]{1,6})", re.ASCII)


class Links(NamedTuple):
    """What an annotator says of a pair: sure links, and possible ones, the sure among them."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def links_of(text: str) -> Links:
    """Read a line; DataError for what is no link."""
    sure, possible = set(), set()
    for word in text.split():
        found = _LINK.fullmatch(word)
        if found is None:
            raise DataError(f"expected links like 0-0 1-2, or 1?2 for possible ones, found {word!r}")
        link = (int(found[1]), int(found[3]))
        possible.add(link)
        if found[2] == "-":
            sure.add(link)
    return Links(frozenset(sure), frozenset(possible))


def written(links: Iterable[Link]) -> str:
    """Write sure links in order of their source words."""
    return " ".join(f"{source}-{target}" for source, target in sorted(links))
