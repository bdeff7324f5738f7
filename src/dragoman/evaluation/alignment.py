"""How wrong word alignments are, beside what annotators say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dragoman.data.lines import find_file, read_lines
from dragoman.data.pharaoh import Link, Links, links_of
from dragoman.errors import DataError


@dataclass(frozen=True, slots=True)
class AlignmentScore:
    """Shares of a corpus: links that are possible, sure links that were found, and the error rate of both."""

    precision: float
    recall: float
    error_rate: float


def read_links(path: Path) -> list[Links]:
    """Read the links of each pair, one line a pair; DataError with the place of what is none."""
    found = []
    for line in read_lines(find_file(path.parent, path.name)):
        try:
            found.append(links_of(line.text))
        except DataError as error:
            raise DataError(f"{path}:{line.number}: {line.fault or error}") from error
    return found


def alignment_error_rate(found: Sequence[Collection[Link]], annotated: Sequence[Links]) -> AlignmentScore:
    """Return 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|), links A of all pairs together (Och and Ney 2003).

    S are the sure links, P the possible ones with the sure among them. DataError where there are more pairs
    of one than of the other, and where neither has a link.
    """
    if len(found) != len(annotated):
        raise DataError(
            f"alignments of {len(found):,} pairs cannot be compared with those of {len(annotated):,}; "
            "one line a pair would do"
        )
    links = sum(len(set(given)) for given in found)
    sure = sum(len(one.sure) for one in annotated)
    if not links + sure:
        raise DataError("no link was found and none is sure: there is no error rate of nothing")
    right = sum(len(one.possible.intersection(given)) for given, one in zip(found, annotated, strict=True))
    hits = sum(len(one.sure.intersection(given)) for given, one in zip(found, annotated, strict=True))
    return AlignmentScore(
        right / links if links else 1.0,
        hits / sure if sure else 1.0,
        1 - (hits + right) / (links + sure),
    )
