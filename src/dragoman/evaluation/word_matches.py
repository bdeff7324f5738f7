"""Which words of an answer are right: those that the cheapest edits into the reference leave alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True, slots=True)
class Confusion:
    """A word of references with what was written instead; "" where a word is missing or one too many."""

    wanted: str
    written: str
    count: int


def closest(answer: Sequence[Hashable], references: Sequence[Sequence[Hashable]]) -> int:
    """Return the number of the reference that fewest edits lead to, the first of several."""
    distances = [Levenshtein.distance(answer, one) for one in references]
    return distances.index(min(distances))


def right_places(answer: Sequence[Hashable], reference: Sequence[Hashable]) -> list[bool]:
    """Say of each step of an answer whether the cheapest edits leave it as it is."""
    is_right = [False] * len(answer)
    for block in Levenshtein.editops(answer, reference).as_matching_blocks():
        is_right[block.a : block.a + block.size] = [True] * block.size
    return is_right


def confusions(
    answers: Sequence[Sequence[str]], references: Sequence[Sequence[str]], most: int = 12
) -> tuple[Confusion, ...]:
    """Count the edits between answers and references: of each kind the most frequent, `most` at most."""
    counts: Counter[tuple[str, str]] = Counter()
    for answer, reference in zip(answers, references, strict=True):
        for edit in Levenshtein.editops(reference, answer):
            wanted = "" if edit.tag == "insert" else reference[edit.src_pos]
            written = "" if edit.tag == "delete" else answer[edit.dest_pos]
            counts[wanted, written] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = [Confusion(*pair, count) for pair, count in ordered]
    kinds = Counter[tuple[bool, bool]]()
    kept = []
    for one in found:
        kind = (bool(one.wanted), bool(one.written))
        kinds[kind] += 1
        kept += [one] if kinds[kind] <= most else []
    return tuple(kept)
