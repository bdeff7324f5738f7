"""Phrases followed through a text that is written token by token, however it is cut into tokens."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LEAD = " "
"""What is written before a phrase where a word has just ended."""


class Place(NamedTuple):
    """How far a phrase has been written.

    `matched` counts its characters at the end of the text. `is_free`: a word may begin here. `pending` are
    the bytes of a character that is not complete.
    """

    matched: int
    is_free: bool
    pending: bytes


class Spelling:
    """What each token of a vocabulary adds to a text, and the phrases that were looked for with it."""

    def __init__(self, written: Sequence[bytes], separator: str = _LEAD) -> None:
        """Take what each token writes, and what separates words."""
        self.written = written
        self.separator = separator
        self._tokens: dict[bytes, list[int]] = {}
        for token, text in enumerate(written):
            if text:
                self._tokens.setdefault(text, []).append(token)
        self._longest = max(map(len, self._tokens), default=0)
        self._phrases: dict[tuple[str, bool], Phrase] = {}

    def phrase(self, text: str, whole_words: bool) -> Phrase:
        """Return what follows a phrase; the same object for the same phrase."""
        key = (text, whole_words)
        if key not in self._phrases:
            self._phrases[key] = Phrase(text, whole_words, self)
        return self._phrases[key]

    def beginnings(self, wanted: bytes) -> list[int]:
        """Return the tokens that write the beginning of some text, or all of it, the shortest first."""
        ends = range(1, min(len(wanted), self._longest) + 1)
        return [token for end in ends for token in self._tokens.get(wanted[:end], ())]

    def can_write(self, wanted: bytes) -> bool:
        """Say whether tokens one after the other can write exactly this."""
        reached = {0}
        for start in range(len(wanted)):
            if start in reached:
                found = self.beginnings(wanted[start:])
                reached.update(start + len(self.written[token]) for token in found)
        return len(wanted) in reached


class Phrase:
    """A phrase that is not empty, and where each token leads from each place in it.

    With `whole_words` it begins and ends where a word does: before and after it stands no letter, digit or
    mark, unless its own first or last character is none.
    """

    START = Place(0, True, b"")

    def __init__(self, text: str, whole_words: bool, spelling: Spelling) -> None:
        """Prepare to follow a phrase."""
        self.text = text
        self._spelling = spelling
        self._begins_word = whole_words and is_of_word(text[0])
        self._ends_word = whole_words and is_of_word(text[-1])
        self._found = len(text) + 1
        self._next: dict[tuple[Place, int], Place] = {}
        self._bytes = text.encode()
        self._led = (spelling.separator + text).encode()

    @property
    def can_be_written(self) -> bool:
        """Say whether tokens can write the phrase at all."""
        return any(map(self._spelling.can_write, (self._bytes, self._led)))

    def after(self, place: Place, token: int) -> Place:
        """Return the place after one more token."""
        key = (place, token)
        found = self._next.get(key)
        if found is None:
            found = self._next[key] = self._follow(place, self._spelling.written[token])
        return found

    def is_past(self, place: Place) -> bool:
        """Say whether the phrase stands in the text, whatever comes."""
        return place.matched == self._found

    def is_in(self, place: Place) -> bool:
        """Say whether the phrase stands in the text if it ends here."""
        return place.matched >= len(self.text)

    def progress(self, place: Place) -> int:
        """Return how many bytes of a phrase that is not in the text have been written."""
        begun = len(self.text[: place.matched].encode())
        fits = self._bytes.startswith(place.pending, begun) and (place.matched or self._may_begin(place))
        return begun + len(place.pending) if fits else 0

    def next_tokens(self, place: Place) -> list[int]:
        """Return the tokens that write more of a phrase that is not in the text, the shortest first.

        Where a word has ended or may begin, those that begin with a separator are among them, behind others.
        """
        rest = self._bytes[len(self.text[: place.matched].encode()) :]
        if place.matched and rest.startswith(place.pending):
            return self._spelling.beginnings(rest[len(place.pending) :])
        # What is pending and does not go on with the phrase will stand for no letter.
        begins = self._bytes.startswith(place.pending)
        begun = self._bytes[len(place.pending) :] if begins else self._bytes
        is_free = self._may_begin(place) or not begins
        return (self._spelling.beginnings(begun) if is_free else []) + self._spelling.beginnings(self._led)

    def stands_in(self, text: str) -> bool:
        """Say whether the phrase stands in a whole text."""
        return self.is_in(self._read(self.START, text))

    def _may_begin(self, place: Place) -> bool:
        return place.is_free or not self._begins_word

    def _follow(self, place: Place, written: bytes) -> Place:
        raw = place.pending + written
        text, used = codecs.utf_8_decode(raw, "replace", False)
        return self._read(place, text)._replace(pending=raw[used:])

    def _read(self, place: Place, text: str) -> Place:
        matched, is_free = place.matched, place.is_free
        for character in text:
            matched = self._read_one(matched, is_free, character)
            is_free = not is_of_word(character)
        return Place(matched, is_free, place.pending)

    def _read_one(self, matched: int, is_free: bool, character: str) -> int:
        """Find the longest end of the text that the phrase begins with; all before it follows from these."""
        if matched == self._found:
            return matched
        if matched == len(self.text) and not is_of_word(character):
            return self._found
        seen = self.text[:matched] + character
        for start in range(len(seen)):
            can_start = is_free or matched if start == 0 else not is_of_word(seen[start - 1])
            if (can_start or not self._begins_word) and self.text.startswith(seen[start:]):
                length = len(seen) - start
                return length if length < len(self.text) or self._ends_word else self._found
        return 0


def is_of_word(character: str) -> bool:
    """Say whether a character belongs to words: letters, digits and marks do, and the underscore."""
    return character == "_" or unicodedata.category(character)[0] in "LNM"


def phrases_in(text: str, phrases: Iterable[str], whole_words: bool) -> list[str]:
    """Return which phrases stand in a text: from left to right the longest, none within another."""
    by_first: dict[str, list[str]] = {}
    for phrase in sorted(set(phrases), key=len, reverse=True):
        by_first.setdefault(phrase[0], []).append(phrase)
    found, at = [], 0
    while at < len(text):
        fitting = (
            phrase
            for phrase in by_first.get(text[at], ())
            if text.startswith(phrase, at) and (not whole_words or _is_whole(text, at, at + len(phrase)))
        )
        phrase = next(fitting, "")
        found += [phrase] if phrase else []
        at += len(phrase) or 1
    return found


def _is_whole(text: str, begin: int, end: int) -> bool:
    """Say whether no word goes on beyond an end of a part of a text."""
    ends = [(begin - 1, begin), (end - 1, end)]
    return not any(
        before >= 0 and after < len(text) and is_of_word(text[before]) and is_of_word(text[after])
        for before, after in ends
    )
