"""Numbers and names of a source that should stand in the answer as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_SENTENCE_ENDS = '.!?:"“„»'


@dataclass(frozen=True, slots=True)
class Copies:
    """How many items of sources stand in a reference unchanged, and how many of these in the answer.

    `lost` are examples where one is missing: the number of the example and the item.
    """

    kind: str
    wanted: int
    found: int
    lost: tuple[tuple[int, str], ...]

    @property
    def recall(self) -> float:
        """The share of wanted items that were found."""
        return self.found / self.wanted


def copies(
    sources: Sequence[str], answers: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[Copies, ...]:
    """Look for numbers and names of sources that a reference has too; kinds that never come are left out.

    Names are words with a capital that do not begin a sentence.
    """
    found = []
    for kind, items_of in (("numbers", numbers_in), ("names", names_in)):
        wanted, lost = 0, []
        for number, (source, answer, given) in enumerate(zip(sources, answers, references, strict=True)):
            for item in dict.fromkeys(items_of(source)):
                if any(_holds(reference, item) for reference in given):
                    wanted += 1
                    lost += [] if _holds(answer, item) else [(number, item)]
        if wanted:
            found.append(Copies(kind, wanted, wanted - len(lost), tuple(lost)))
    return tuple(found)


def numbers_in(text: str) -> list[str]:
    """Return the numbers written in digits."""
    return _NUMBER.findall(text)


def names_in(text: str) -> list[str]:
    """Return words of two letters or more with a capital that do not begin a sentence."""
    found = []
    for match in _WORD.finditer(text):
        word, before = match.group(), text[: match.start()].rstrip()
        if before and before[-1] not in _SENTENCE_ENDS and len(word) > 1 and word[0].isupper():
            found.append(word)
    return found


def _holds(text: str, item: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(item)}(?!\w)", text) is not None
