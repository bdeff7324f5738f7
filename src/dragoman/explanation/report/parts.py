"""What sections of a report share: headings, cards, scores with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.evaluation.by_group import GroupScores
from dragoman.evaluation.metrics import Score
from dragoman.explanation.page.charts import interval_mark
from dragoman.explanation.page.elements import Child, Html, element, joined, number, scrolled, table


def section(name: str, title: str, *children: Child) -> Html:
    """Return a section that the page's contents can name."""
    heading = element("h2", {"id": f"{name}-title"}, title)
    return element("section", {"id": name, "aria-labelledby": f"{name}-title"}, heading, *children)


def paragraph(*children: Child) -> Html:
    """Return a paragraph."""
    return element("p", None, *children)


def cards(facts: Sequence[tuple[str, Child, str]]) -> Html:
    """Return the main facts: what, how much, and a word about it."""
    return element(
        "dl",
        {"class": "cards"},
        *(
            element(
                "div",
                None,
                element("dt", None, name),
                element(
                    "dd", None, element("strong", None, value), element("span", None, note) if note else None
                ),
            )
            for name, value, note in facts
        ),
    )


def pairs(caption: str, rows: Sequence[tuple[str, Child]]) -> Html:
    """Return facts as a table of two columns."""
    return scrolled(caption, table(caption, ["what", "how much"], rows, "facts"))


def interval(score: Score, digits: int = 2) -> str:
    """Write a score with the ends of its interval."""
    low, high = number(score.low, digits), number(score.high, digits)
    return f"{number(score.value, digits)} [{low}, {high}]"


def groups_table(caption: str, name: str, groups: Sequence[GroupScores], digits: int = 2) -> Html:
    """Return groups as a table: every score with its interval, the first drawn on one scale for all."""
    firsts = [group.scores[0] for group in groups]
    begin, end = min(one.low for one in firsts), max(one.high for one in firsts)
    labels = [score.label for score in groups[0].scores]
    rows: list[list[Child]] = []
    for group in groups:
        first = group.scores[0]
        rows.append(
            [
                group.name,
                f"{group.examples:,}",
                interval_mark(first.low, first.value, first.high, begin, end),
                *(interval(score, digits) for score in group.scores),
            ]
        )
    head = [name, "examples", f"{labels[0]}, drawn", *labels]
    return scrolled(caption, table(caption, head, rows, "groups"))


def share_bar(share: float) -> Html:
    """Draw a share, to stand beside its number."""
    return element("span", {"class": "bar", "style": f"--w:{share:.3f}", "aria-hidden": "true"})


def listed(items: Sequence[Child]) -> Html:
    """Return a list."""
    return element("ul", None, *(element("li", None, item) for item in items))


def spaced(*children: Child) -> Html:
    """Put parts one behind the other with blanks between them."""
    return joined(part for child in children for part in (child, " "))
