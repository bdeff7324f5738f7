"""What a search considered, as a drawing and as tables."""

from __future__ import annotations

import math
from collections import defaultdict

from dragoman.explanation.beam_tree import BeamTree, Node
from dragoman.explanation.page.drawing import label, picture
from dragoman.explanation.page.elements import (
    Child,
    Html,
    element,
    number,
    per_cent,
    said,
    scrolled,
    table,
    visible,
)

FATES = {
    "answer": "★ the answer",
    "finished": "■ ended, beaten",
    "cut": "✂ cut at the length limit",
    "fell_out": "✕ fell out",
    "left_behind": "… left behind",
    "passed_over": "· passed over",
}
_LEGEND = (
    "From left to right a token a step; the thicker a line, the more probable its token. ★ is the answer "
    "with its score. Behind others stands by how much they lost: ■ ended with a worse score, ✕ fell out of "
    "the beam, · was never kept, … was left behind when the search was done, ✂ was cut at the length limit."
)
_MOST_LEAVES = 28
"""Lines that are drawn; what was kept comes first, then what lacked least."""
_ROW, _LETTER, _GAP, _TOP, _LEFT = 26.0, 8.0, 26.0, 34.0, 12.0
_LONGEST = 18
"""Letters of a piece that are drawn."""
_NOTE_WIDTH = 190.0


def tree_section(tree: BeamTree | None) -> Html | None:
    """Return the search as a section; None where nothing was searched for."""
    if tree is None:
        return None
    return element(
        "section",
        {"id": "search", "aria-labelledby": "search-title"},
        element("h2", {"id": "search-title"}, "What was considered, and why it lost"),
        element("p", None, *_summary(tree)),
        scrolled("The tree of the search", _drawing(tree)) if tree.nodes else None,
        element("p", {"class": "legend"}, _LEGEND),
        _ends(tree),
        _passed_over(tree),
    )


def _summary(tree: BeamTree) -> list[Child]:
    """Say in a few sentences how the search went."""
    kept = sum(node.fate != "passed_over" for node in tree.nodes)
    ended = sorted((node for node in tree.nodes if node.fate == "finished"), key=_lack)
    ways = {"beam": f"A beam of {tree.width}", "sample": f"Sampling {tree.width} times"}
    said_first = (
        f"{ways.get(tree.method, 'Greedy search')} kept {kept:,} continuations in {tree.steps:,} steps"
    )
    parts: list[Child] = [said_first, f" and ended with {len(ended) + (tree.answer is not None):,} answers. "]
    if ended and ended[0].lacked is not None:
        parts += [
            "The runner-up is “",
            said(ended[0].text or ""),
            f"”, {number(ended[0].lacked, 3)} behind.",
        ]
    return parts


def why(node: Node) -> str:
    """Say why a line is not the answer."""
    by = "" if node.lacked is None else f"{number(node.lacked)} nats"
    match node.fate:
        case "answer":
            return "the best score"
        case "finished":
            return f"its score is {number(_lack(node), 3)} behind"
        case "cut":
            return "it came to no end within the length limit"
        case "fell_out":
            return (
                f"at the next step its best continuation was {by} behind the last one kept"
                if by
                else "fell out"
            )
        case "left_behind":
            return f"the search was done: at best {number(_lack(node), 3)} behind in score"
        case _:
            return f"{by} behind the last one kept" if by else "another token was drawn"


def _lack(node: Node) -> float:
    return math.inf if node.lacked is None else node.lacked


def _ends(tree: BeamTree) -> Html:
    """Return every line that was kept, with its end."""
    order = list(FATES)
    lines = [node for node in tree.nodes if node.fate not in ("went_on", "passed_over")]
    lines.sort(key=lambda node: (order.index(node.fate), _lack(node), -node.total))
    rows: list[list[Child]] = [
        [
            said(node.text or "(nothing)"),
            FATES[node.fate],
            str(node.step),
            number(node.total),
            "" if node.score is None else number(node.score, 3),
            why(node),
        ]
        for node in lines
    ]
    caption = "Every line that the search kept, and how it ended"
    head = ["answer so far", "fate", "tokens", "log-probability (nats)", "score", "why"]
    return scrolled(caption, table(caption, head, rows, "lines"))


def _passed_over(tree: BeamTree) -> Html | None:
    """Return the best of what was never kept, folded away."""
    lines = [node for node in tree.nodes if node.fate == "passed_over"]
    if not lines:
        return None
    rows: list[list[Child]] = [
        [
            str(node.step),
            said(node.text or "(nothing)"),
            per_cent(math.exp(node.log_prob)),
            number(node.total),
            why(node),
        ]
        for node in lines
    ]
    caption = "The best of what was never kept, by step"
    head = ["step", "answer so far", "probability of its last token", "log-probability (nats)", "why"]
    return element(
        "details",
        None,
        element("summary", None, f"{len(lines):,} continuations that were passed over"),
        scrolled(caption, table(caption, head, rows, "lines")),
    )


def _drawing(tree: BeamTree) -> Html:
    """Draw lines from left to right, a column a token, the answer on top."""
    shown = _shown(tree)
    rows = _rows(tree, shown)
    lefts = _columns(tree, shown)
    on_line = set() if tree.answer is None else set(tree.line(tree.answer))
    edges: list[Child] = []
    names: list[Child] = []
    for number_of, node in enumerate(tree.nodes):
        if number_of not in shown:
            continue
        x, y = lefts[node.step], _TOP + _ROW * rows[number_of]
        classes = "on" if number_of in on_line else node.fate.replace("_", "-")
        edges.append(_edge(tree, node, lefts, rows, x, y, classes))
        title = f"{per_cent(math.exp(node.log_prob))}, in all {number(node.total)} nats"
        names.append(label(x, y + 4, _clipped(node.piece), classes, title))
        if node.fate != "went_on":
            end = x + _LETTER * len(visible(_clipped(node.piece))) + 8
            names.append(label(end, y + 4, _note(node), f"note {classes}"))
    steps = [
        label(lefts[step], 14, str(step), "axis")
        for step in range(1, 1 + max((tree.nodes[number_of].step for number_of in shown), default=0))
    ]
    size = (max(lefts.values(), default=0.0) + _NOTE_WIDTH, _TOP + _ROW * (1 + max(rows.values(), default=0)))
    words = (
        f"A tree of {len(shown):,} continuations from left to right, the answer as the upmost line; "
        "the tables below say the same."
    )
    return picture(*size, words, *steps, *edges, *names, class_name="tree")


def _note(node: Node) -> str:
    mark = FATES[node.fate].split(" ")[0]
    if node.fate == "answer" and node.score is not None:
        return f"{mark} {number(node.score, 3)}"
    return mark if node.lacked is None else f"{mark} −{number(node.lacked)}"


def _shown(tree: BeamTree) -> set[int]:
    """Return all that was kept, and of what was passed over the closest, while there is room.

    What follows a line that fell out is left to the tables: its note says by how much it was beaten.
    """
    kept = {number_of for number_of, node in enumerate(tree.nodes) if node.fate != "passed_over"}
    ends = sum(tree.nodes[number_of].fate != "went_on" for number_of in kept)
    went_on = {None, *(number_of for number_of in kept if tree.nodes[number_of].fate == "went_on")}
    beside = [
        number_of
        for number_of, node in enumerate(tree.nodes)
        if node.fate == "passed_over" and node.parent in went_on
    ]
    others = sorted(beside, key=lambda number_of: _lack(tree.nodes[number_of]))
    return kept | set(others[: max(0, _MOST_LEAVES - ends)])


def _rows(tree: BeamTree, shown: set[int]) -> dict[int, int]:
    """Give each line a row of its own; a node stands where its first line goes on."""
    children: dict[int | None, list[int]] = defaultdict(list)
    for number_of in sorted(shown):
        children[tree.nodes[number_of].parent].append(number_of)
    on_line = set() if tree.answer is None else set(tree.line(tree.answer))
    rows: dict[int, int] = {}
    waiting = _ordered(children[None], on_line)
    row = -1
    is_new = True
    while waiting:
        number_of = waiting.pop()
        row += is_new
        rows[number_of] = row
        below = _ordered(children[number_of], on_line)
        is_new = not below
        waiting += below
    return rows


def _ordered(numbers: list[int], on_line: set[int]) -> list[int]:
    """Put the last first: a stack gives back the answer's line before the others, in their order."""
    return sorted(numbers, key=lambda number_of: (number_of not in on_line, number_of), reverse=True)


def _columns(tree: BeamTree, shown: set[int]) -> dict[int, float]:
    """Return where each step begins: behind the longest piece of the step before, and the notes of ends."""
    widest: dict[int, float] = defaultdict(float)
    for number_of in shown:
        node = tree.nodes[number_of]
        letters = len(visible(_clipped(node.piece)))
        widest[node.step] = max(widest[node.step], _LETTER * letters + _GAP)
    lefts, x = {}, _LEFT
    for step in sorted(widest):
        lefts[step] = x
        x += widest[step]
    return lefts


def _edge(
    tree: BeamTree,
    node: Node,
    lefts: dict[int, float],
    rows: dict[int, int],
    x: float,
    y: float,
    class_name: str,
) -> Html | None:
    """Draw where a token follows its parent, the thicker the more probable."""
    if node.parent is None:
        return None
    parent = tree.nodes[node.parent]
    start = lefts[parent.step] + _LETTER * len(visible(_clipped(parent.piece))) + 3
    above = _TOP + _ROW * rows[node.parent]
    end, middle = x - 4, x - _GAP / 2
    path = f"M{start:.0f} {above:.0f}H{middle - 8:.0f}Q{middle:.0f} {above:.0f} {middle:.0f} "
    path += f"{above + 8:.0f}V{y - 8:.0f}Q{middle:.0f} {y:.0f} {end:.0f} {y:.0f}"
    if y == above:
        path = f"M{start:.0f} {above:.0f}H{end:.0f}"
    width = 1 + 3 * math.exp(node.log_prob)
    return element("path", {"class": f"edge {class_name}", "stroke-width": width, "d": path})


def _clipped(piece: str) -> str:
    return piece if len(piece) <= _LONGEST else piece[: _LONGEST - 1] + "…"
