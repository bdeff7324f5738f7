"""Text of one corpus: encodings, characters, copies, repeats, lengths, headers, shifted lines."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import NDArray

from dragoman.data.column_roles import FEATURES, SOURCES, TARGETS, TRANSCRIPTS
from dragoman.data.splitting import key_of
from dragoman.doctor.findings import Finding, Severity

MOST_ROWS = 500_000
"""Rows of a corpus that are looked at, from its beginning."""
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf]|â€[™œ\u009d“”\u009c\u0099¦]|Ð[\u0080-\u00bf]Ð|ï»¿")
"""What UTF-8 looks like that was read as Latin 1 or Windows 1252 and written as UTF-8 again."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_Floats = NDArray[np.float64]
_NAMES = frozenset((*SOURCES, *TARGETS, *TRANSCRIPTS, *FEATURES))
_BLOCK = 500
_LEAST_CORRELATION, _CLEAR = 0.3, 0.2
_TURNED = 0.03
"""Nats a letter, both sides together, by which turned columns must fit better."""
_MOST_RATIO = 9.0
"""Times the usual ratio of lengths: what is above is hardly a translation (Moses cleans at this)."""


@dataclass
class Text:
    """A corpus of pairs as it was read: what is kept of every row is small."""

    name: str
    rows: int = 0
    is_whole: bool = True
    kinds: Counter[str] = field(default_factory=Counter)
    first_lines: dict[str, str] = field(default_factory=dict)
    source_keys: dict[bytes, int] = field(default_factory=dict)
    pair_keys: set[bytes] = field(default_factory=set)
    repeated_pairs: int = 0
    several_targets: int = 0
    lengths: list[tuple[int, int]] = field(default_factory=list)
    source_letters: Counter[str] = field(default_factory=Counter)
    target_letters: Counter[str] = field(default_factory=Counter)

    def add(self, source: str, target: str, place: str) -> None:
        """Look at one pair."""
        self.rows += 1
        for kind, is_found in _CHECKS.items():
            if is_found(source) or is_found(target):
                self._count(kind, place)
        if source == target:
            self._count("copied", place)
        if self.rows == 1 and _is_header(source) and _is_header(target):
            self._count("header", place)
        pair = key_of(f"{source}\t\t{target}")
        source_key = key_of(source)
        if pair in self.pair_keys:
            self.repeated_pairs += 1
        elif source_key in self.source_keys:
            self.several_targets += 1
        self.pair_keys.add(pair)
        self.source_keys.setdefault(source_key, self.rows)
        self.lengths.append((len(source), len(target)))
        if self.rows <= 20_000:
            self.source_letters.update(source)
            self.target_letters.update(target)

    def _count(self, kind: str, place: str) -> None:
        self.kinds[kind] += 1
        self.first_lines.setdefault(kind, place)


def _is_header(text: str) -> bool:
    return text.strip().lower() in _NAMES


_CHECKS: dict[str, Callable[[str], bool]] = {
    "mojibake": lambda text: _MOJIBAKE.search(text) is not None,
    "lost": lambda text: "\ufffd" in text,
    "mark": lambda text: "\ufeff" in text,
    "space": lambda text: "\u00a0" in text,
    "control": lambda text: _CONTROL.search(text) is not None,
    "form": lambda text: not text.isascii() and not unicodedata.is_normalized("NFC", text),
    "margin": lambda text: text != text.strip(" \r\u3000"),
}
_SAID: dict[str, tuple[Severity, str, str, str]] = {
    "mojibake": (
        "warning",
        "look like UTF-8 that was read as Latin 1 (Ã© for é)",
        "the model learns this spelling, and answers in it",
        "ftfy mends such files; or write them anew as UTF-8 from where they came",
    ),
    "lost": (
        "warning",
        "have U+FFFD, which stands where a character was lost",
        "what was lost cannot be learnt, and the sign itself may be answered",
        "take them from their source again, or leave these rows out",
    ),
    "mark": (
        "warning",
        "have a byte order mark (U+FEFF) inside",
        "an unseen character: words that begin with it are other words",
        "remove=\"\\ufeff\" of both codecs, or sed 's/\\xef\\xbb\\xbf//g'",
    ),
    "space": (
        "note",
        "have no-break spaces (U+00A0)",
        "words on both sides of one are one word to a vocabulary of words",
        "unicode: NFKC in the codec makes them ordinary spaces",
    ),
    "control": (
        "warning",
        "have control characters",
        "symbols that nobody sees and nobody types",
        "remove the characters, for instance with tr -d '\\000-\\010\\013\\014\\016-\\037'",
    ),
    "form": (
        "note",
        "are not in Unicode form NFC",
        "letters with accents are written in two ways",
        "unicode: NFC of the codecs, the default, makes them one; compare with references: normalised",
    ),
    "margin": (
        "note",
        "begin or end with spaces",
        "characters learn to write them, and exact match counts them",
        "strip the columns",
    ),
}


def text_findings(text: Text) -> Iterator[Finding]:
    """Say what is wrong with a corpus by itself."""
    if not text.is_whole:
        yield Finding("data", "note", f"{text.name}: looked at the first {text.rows:,} rows, not at all")
    for kind, (severity, found, means, mend) in _SAID.items():
        if count := text.kinds[kind]:
            where = f"{text.name}: {_rows(count, text.rows)} {found}; first {text.first_lines[kind]}"
            yield Finding("data", severity, where, means, mend)
    yield from _header(text)
    yield from _repeats(text)
    yield from _ratios(text)
    yield from _shifts(text)


def _rows(count: int, total: int) -> str:
    return f"{count:,} of {total:,} rows ({count / max(1, total):.2%})"


def _header(text: Text) -> Iterator[Finding]:
    if text.kinds["header"]:
        yield Finding(
            "data",
            "warning",
            f"{text.name}: the first row is a header, read as an example",
            "one example teaches that a name means a name; others see wrong columns",
            "give `source` and `target` by their names in the header",
        )


def _repeats(text: Text) -> Iterator[Finding]:
    if text.repeated_pairs:
        share = text.repeated_pairs / text.rows
        yield Finding(
            "data",
            "warning" if share > 0.2 else "note",
            f"{text.name}: {_rows(text.repeated_pairs, text.rows)} repeat a pair that came before",
            "an epoch shows these more often; the model learns them by heart first",
            "sort -u the file, if that is not meant",
        )
    if text.several_targets > 0.01 * text.rows:
        yield Finding(
            "data",
            "note",
            f"{text.name}: {_rows(text.several_targets, text.rows)} give a known source another target",
            "what is right is not unique: exact match stays below 100",
            "merge: true for development and test makes them references of one example",
        )
    if text.rows >= 20 and text.kinds["copied"] > 0.5 * text.rows:
        yield Finding(
            "data",
            "warning",
            f"{text.name}: {_rows(text.kinds['copied'], text.rows)} have a target equal to the source",
            "copying is learnt before anything else, and may be all that is",
            "check that both columns are the right ones; leave copies out if they are accidents",
        )


def _ratios(text: Text) -> Iterator[Finding]:
    lengths = np.array(text.lengths, float).reshape(-1, 2)
    if len(lengths) < 20:
        return
    logs = np.log(lengths[:, 1] + 5) - np.log(lengths[:, 0] + 5)
    far = np.abs(logs - np.median(logs)) > log(_MOST_RATIO)
    if count := int(far.sum()):
        worst = int(np.abs(logs - np.median(logs)).argmax())
        source, target = text.lengths[worst]
        yield Finding(
            "data",
            "warning" if count > 0.01 * len(lengths) else "note",
            f"{text.name}: {_rows(count, len(lengths))} are nine times longer or shorter than usual for "
            f"their source; the worst is row {worst + 1:,}: {source:,} characters and {target:,}",
            "such pairs are mostly no translations of each other, and teach to leave out or to invent",
            "leave them out, or look at how the file was aligned",
        )


def _shifts(text: Text) -> Iterator[Finding]:
    """Hold lengths of sources against those of targets a line before and after."""
    lengths = np.log(np.array(text.lengths, float).reshape(-1, 2) + 1)
    shifted: dict[int, int] = {}
    for first in range(0, max(1, len(lengths) - _BLOCK // 2), _BLOCK):
        block = lengths[first : first + _BLOCK]
        if len(block) < 60 or (step := _shift(block)) == 0:
            continue
        shifted.setdefault(step, first + 1)
    if shifted:
        step, first = min(shifted.items(), key=lambda item: item[1])
        side = "later" if step > 0 else "earlier"
        yield Finding(
            "data",
            "fault",
            f"{text.name}: from about row {first:,} on, lengths of sources fit the target a line {side}, not "
            "their own",
            "sources stand beside the targets of their neighbours: nothing can be learnt from such pairs",
            "find where a line is missing or broken in two near that row, and mend the file",
        )


def _shift(block: _Floats) -> int:
    """Return by how many lines targets of a block seem moved: -1, 0 or 1."""
    own = _correlation(block[:, 0], block[:, 1])
    moved = {1: _correlation(block[:-1, 0], block[1:, 1]), -1: _correlation(block[1:, 0], block[:-1, 1])}
    best = max(moved, key=lambda step: moved[step])
    # In a sorted file neighbours are alike as well: then no shift stands out.
    is_clear = moved[best] > _LEAST_CORRELATION and moved[best] > own + _CLEAR
    return best if is_clear else 0


def _correlation(ours: _Floats, theirs: _Floats) -> float:
    if not ours.std() or not theirs.std():
        return 0.0
    return float(np.corrcoef(ours, theirs)[0, 1])


def split_findings(train: Text, held: Text) -> Iterator[Finding]:
    """Say what a held-out corpus shares with training, and whether its columns are turned round."""
    pairs = len(train.pair_keys & held.pair_keys)
    sources = len(train.source_keys.keys() & held.source_keys.keys())
    if pairs:
        yield Finding(
            "data",
            "warning" if pairs > 0.01 * len(held.pair_keys) else "note",
            f"{held.name}: {_rows(pairs, len(held.pair_keys))} pairs stand in {train.name} too",
            "their score says how well the model remembers, not how well it answers",
            f"leave them out of {train.name}",
        )
    if sources > max(pairs, 0.01 * len(held.source_keys)):
        yield Finding(
            "data",
            "note",
            f"{held.name}: {_rows(sources, len(held.source_keys))} sources stand in {train.name} too, "
            "some with other targets",
            "the score is a little too good for new sources",
            f"leave them out of {train.name}, or say so beside the score",
        )
    yield from _turned(train, held)


def _turned(train: Text, held: Text) -> Iterator[Finding]:
    """Ask by letters whether the source of one file is the target of the other."""
    own = _likelihood(held.source_letters, train.source_letters)
    own += _likelihood(held.target_letters, train.target_letters)
    crossed = _likelihood(held.source_letters, train.target_letters)
    crossed += _likelihood(held.target_letters, train.source_letters)
    if min(held.source_letters.total(), held.target_letters.total()) > 200 and crossed > own + _TURNED:
        yield Finding(
            "data",
            "fault",
            f"{held.name}: its sources look like the targets of {train.name}, its targets like the sources",
            "the model is asked to answer in the other direction, and every score is near nothing",
            "turn `source` and `target` of this file round",
        )


def _likelihood(letters: Counter[str], known: Counter[str]) -> float:
    """Return the mean log-probability of letters by the counts of others."""
    total, types = known.total(), len(known) + 1
    seen = sum(
        count * log((known[letter] + 0.5) / (total + 0.5 * types)) for letter, count in letters.items()
    )
    return seen / max(1, letters.total())


def rejected_findings(name: str, rejects: dict[str, int], rows: int) -> Iterator[Finding]:
    """Say how many rows cannot be used at all."""
    for kind, count in rejects.items():
        total = rows + sum(rejects.values())
        yield Finding(
            "data",
            "warning" if count > 0.001 * total else "note",
            f"{name}: {_rows(count, total)} cannot be used: {kind}",
            "they are passed over, and listed in `rejected.jsonl` of a run",
            "mend them, or leave them out to be rid of this",
        )


def is_sorted(lengths: Sequence[tuple[int, int]]) -> bool:
    """Say whether sources come by length."""
    sizes = [source for source, _ in lengths]
    return len(sizes) >= 20 and sizes == sorted(sizes) and sizes[0] < sizes[-1]
