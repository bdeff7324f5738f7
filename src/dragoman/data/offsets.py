"""Where in a text, as a person typed it, each of its tokens stands."""

from __future__ import annotations

from dataclasses import dataclass

from dragoman.data.text import Section, Span, TextCodec, normalise_text, split_features
from dragoman.records import Value, text_of

_AHEAD = 8
"""Characters behind a cut that may change what stands before it: accents, final sigma."""


@dataclass(frozen=True)
class Offsets:
    """The place of each token but EOS in the value; `is_exact` says whether the text is read as it is typed.

    Where it is normalised first, what several characters became together stands where all of them do.
    """

    spans: tuple[Span, ...]
    is_exact: bool


def offsets(codec: TextCodec, value: Value) -> Offsets:
    """Find the tokens of `codec.encode(value)` in the value, those of its features too.

    DataError where the value is not proper text.
    """
    text, features = split_features(codec.section, value)
    normal = normalise_text(codec.section, text)
    origins = origins_of(codec.section, text)
    spans = [_joined(origins, span) for span in codec.units.spans(normal)]
    begin = len(text) + 1
    return Offsets((*_feature_spans(codec.section, value, features, begin), *spans), normal == text)


def origins_of(section: Section, text: str) -> list[Span]:
    """Return for each character of the normalised text the characters that it comes from."""
    normal = normalise_text(section, text)
    if normal == text:
        return [(place, place + 1) for place in range(len(text))]
    found: list[Span] = []
    parts = []
    for begin, end in _pieces(section, text):
        part = normalise_text(section, text[begin:end])
        parts.append(part)
        if _is_letter_by_letter(section, text[begin:end], part):
            found += [(place, place + 1) for place in range(begin, end)]
        else:
            found += [(begin, end)] * len(part)
    return found if "".join(parts) == normal else [(0, len(text))] * len(normal)


def _pieces(section: Section, text: str) -> list[Span]:
    """Cut text where both sides can be normalised by themselves."""
    cuts = [0]
    for place in range(1, len(text)):
        before, after = text[cuts[-1] : place], text[place : place + _AHEAD]
        apart = normalise_text(section, before) + normalise_text(section, after)
        if apart == normalise_text(section, before + after):
            cuts.append(place)
    return list(zip(cuts, [*cuts[1:], len(text)], strict=True)) if text else []


def _is_letter_by_letter(section: Section, text: str, normal: str) -> bool:
    """Say whether each letter of a piece became one; a sigma that ends a word is still its sigma."""
    return len(text) == len(normal) and all(
        letter == "ς" or normalise_text(section, typed) == letter
        for typed, letter in zip(text, normal, strict=True)
    )


def _joined(origins: list[Span], span: Span) -> Span:
    """Return what the characters of a span come from; a span without any stands before what follows."""
    begin, end = span
    if begin == end:
        place = origins[begin][0] if begin < len(origins) else origins[-1][1] if origins else 0
        return (place, place)
    return (origins[begin][0], origins[end - 1][1])


def _feature_spans(section: Section, value: Value, features: list[str] | None, begin: int) -> list[Span]:
    """Return the places of features behind the tab; all of them together where they are normalised."""
    behind = text_of(value)[begin:]
    if features is None or section.features is None:
        return []
    if section.features.join(features) != behind:
        return [(begin, begin + len(behind))] * len(features)
    found = []
    for feature in features:
        found.append((begin, begin + len(feature)))
        begin += len(feature) + len(section.features)
    return found
