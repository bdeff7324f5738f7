"""ROUGE (Lin 2004): F1 of n-grams, and of the longest common subsequence, of words.

Words are lower-cased runs of letters, digits and combining marks of any script. On ASCII text this is what
the `rouge-score` package does without stemming; it drops every letter beyond a to z, which this does not. A
script without spaces gives one word a run: use characters (chrF, cer) there.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rapidfuzz.distance import LCSseq

Kind = Literal["rouge1", "rouge2", "rougeL"]


def rouge(kind: Kind, answer: str, references: Sequence[str]) -> float:
    """Return the F1 (0 to 1) of an answer against the reference that suits it best; without words it is 0."""
    words = _words(answer)
    return max(_f1(kind, words, _words(reference)) for reference in references)


def _f1(kind: Kind, answer: list[str], reference: list[str]) -> float:
    """Return 2·matches / (units of answer + units of reference): the F1 of precision and recall."""
    match kind:
        case "rougeL":
            matches, units = LCSseq.similarity(answer, reference), len(answer) + len(reference)
        case "rouge1" | "rouge2":
            order = int(kind[-1])
            ours, theirs = _ngrams(answer, order), _ngrams(reference, order)
            matches, units = (ours & theirs).total(), ours.total() + theirs.total()
    return 2 * matches / units if units else 0.0


def _ngrams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[first:] for first in range(order)), strict=False))


def _words(text: str) -> list[str]:
    kept = (char if char.isalnum() or unicodedata.category(char)[0] == "M" else " " for char in text.lower())
    return "".join(kept).split()
