"""Dates as people write them in many languages, paired with ISO 8601. Home of Babel, which has CLDR."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from babel import Locale
from babel.dates import format_date, format_skeleton

LANGUAGES = (
    "ar", "bn", "cs", "da", "de", "el", "en_GB", "es", "fa", "fi", "fr", "hi", "hu", "id", "it", "ja", "ko",
    "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "vi", "zh",
)  # fmt: skip
"""Day, month and year come in one order wherever only numbers are written: no date here means two days.

That rules out American English (month first) and Croatian, whose October is the November of Polish.
"""
FIRST_YEAR, LAST_YEAR = 1950, 2049
"""A span of one century: two digits of a year say which."""
TYPING_ERROR_SHARE = 0.08
NATIVE_DIGITS = {"arab": "٠", "arabext": "۰", "beng": "০", "deva": "०"}
"""The zero of each numbering system that CLDR names as native to a language used here."""
_STYLES = ("full", "long", "long", "medium", "short", "yMMMEd", "yMMMd", "yMd", "spoken", "reordered")


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """One date as somebody wrote it, what it means, and in which language it stands (an English name)."""

    text: str
    iso: str
    language: str


def written_dates(seed: int) -> Iterator[WrittenDate]:
    """Yield dates without end, languages in turn; the same seed yields the same dates."""
    rng = random.Random(seed)
    days = (datetime.date(LAST_YEAR, 12, 31) - datetime.date(FIRST_YEAR, 1, 1)).days
    while True:
        for code in LANGUAGES:
            locale = Locale.parse(code)
            date = datetime.date(FIRST_YEAR, 1, 1) + datetime.timedelta(rng.randint(0, days))
            text = _vary(_write(date, locale, rng), locale, rng)
            yield WrittenDate(text, date.isoformat(), _name(locale))


def _name(locale: Locale) -> str:
    """Return the English name of a language."""
    return str(Locale(locale.language).get_display_name("en"))


def _write(date: datetime.date, locale: Locale, rng: random.Random) -> str:
    """Write a date in one of the ways that its language has."""
    match rng.choice(_STYLES):
        case "full" | "long" | "medium" as style:
            return str(format_date(date, style, locale))
        case "short":  # Korean's begins with two digits of the year, which would be mistaken for a day
            return str(format_date(date, "medium" if locale.language == "ko" else "short", locale))
        case "spoken":
            return _spoken(date, locale)
        case "reordered":
            return _reordered(date, locale)
        case skeleton:
            return str(format_skeleton(skeleton, date, locale=locale))


def _spoken(date: datetime.date, locale: Locale) -> str:
    """Write a date as it is said, where that differs from the patterns: ordinals and articles."""
    month = locale.months["format"]["wide"][date.month]
    match locale.language:
        case "en":
            ending = "th" if 10 < date.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10, "th")
            return f"the {date.day}{ending} of {month} {date.year}"
        case "fr":
            return f"le {'1er' if date.day == 1 else date.day} {month} {date.year}"
        case "de":
            return f"am {date.day}. {month} {date.year}"
        case "es":
            return f"el {date.day} de {month} del {date.year}"
        case "it":
            return f"il {'1º' if date.day == 1 else date.day} {month} {date.year}"
        case _:
            return str(format_date(date, "long", locale))


def _reordered(date: datetime.date, locale: Locale) -> str:
    """Write the month's name first or the year first: the name keeps the meaning clear."""
    month = locale.months["format"]["abbreviated"][date.month]
    if any(character.isdigit() for character in month):  # a month that is a number needs its place
        return str(format_date(date, "medium", locale))
    return f"{month} {date.day}, {date.year}" if date.day % 2 else f"{date.year} {month} {date.day}"


def _vary(text: str, locale: Locale, rng: random.Random) -> str:
    """Change case, digits, punctuation and spaces as people do, and now and then mistype a letter."""
    text = re.sub("[\u200e\u200f]", "", text).replace("\u202f", " ").replace("\xa0", " ")
    change = rng.random()
    if change < 0.15:
        text = text.lower()
    elif change < 0.20:
        text = text.upper()
    elif change < 0.25:
        text = text.replace(",", "")
    elif change < 0.28:
        text = text.replace(" ", "  ", 1)
    native = str(locale.other_numbering_systems.get("native", ""))
    if native in NATIVE_DIGITS and rng.random() < 0.5:
        zero = ord(NATIVE_DIGITS[native])
        text = re.sub("[0-9]", lambda digit: chr(zero + int(digit.group())), text)
    return _mistype(text, rng) if rng.random() < TYPING_ERROR_SHARE else text


def _mistype(text: str, rng: random.Random) -> str:
    """Drop, double or swap one letter inside a longer word; digits stay, as nobody could guess them back."""
    words = [match for match in re.finditer(r"[^\W\d_]{5,}", text)]
    if not words:
        return text
    word = rng.choice(words)
    place = rng.randrange(word.start() + 1, word.end() - 1)
    match rng.randrange(3):
        case 0:
            return text[:place] + text[place + 1 :]
        case 1:
            return text[:place] + text[place] + text[place:]
        case _:
            return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
