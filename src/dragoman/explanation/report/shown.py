"""The section of a report that shows examples with what their answers came from.

Shapes: P places of a source.
"""

from __future__ import annotations

from dragoman.explanation.attribution import NAMES, Method
from dragoman.explanation.page.charts import WIDE, compact
from dragoman.explanation.page.drawing import label, picture, ticks
from dragoman.explanation.page.elements import Child, Html, element, joined, number, per_cent, said, visible
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.parts import paragraph, section
from dragoman.explanation.report.shown_examples import Rank, ShownExample

_NAMES: dict[Rank, str] = {"worst": "The worst", "middling": "From between", "best": "The best"}
_STRONG = 0.6
"""A place that counts at least this share of the strongest one is underlined, so that colour is not all."""
_FAINT = 0.06


def examples(found: Findings) -> Html | None:
    """Return the best, the worst and some others, each with its source shaded by what counts."""
    if found.text is None or not found.examples:
        return None
    places = [one.places[0] for one in found.examples if one.places]
    parts: list[Child] = [paragraph(_note(places[0].kind == "text", found.shown_by))] if places else []
    grade = found.text.telling.label
    for rank, name in _NAMES.items():
        ours = [one for one in found.examples if one.rank == rank]
        if ours:
            parts.append(element("h3", None, name))
            parts.append(element("ol", {"class": "examples"}, *(_example(one, grade) for one in ours)))
    return section("examples", "Examples", *parts)


def _note(is_text: bool, method: Method) -> str:
    how = "Shades, the strongest underlined," if is_text else "Bars"
    return (
        f"{how} say how much each part of a source counts for its answer ({NAMES[method]}). "
        "dragoman explain says more of a single answer."
    )


def _example(one: ShownExample, grade: str) -> Html:
    sure = "" if one.sureness is None else f" · {per_cent(one.sureness)} sure of a token"
    rows: list[tuple[str, Child]] = [("source", _source(one)), ("answer", said(one.answer or "(nothing)"))]
    rows += [
        ("reference" if len(one.references) == 1 else f"reference {place}", said(text))
        for place, text in enumerate(one.references, 1)
    ]
    cells = [part for name, value in rows for part in (element("dt", None, name), element("dd", None, value))]
    head = element("p", {"class": "kicker"}, said(one.name), f" · {grade} {number(one.grade, 1)}{sure}")
    return element("li", None, head, element("dl", {"class": "strip"}, *cells))


def _source(one: ShownExample) -> Html:
    if not one.places:
        return said(one.source)
    return _shaded(one) if one.places[0].kind == "text" else _sounding(one)


def _shaded(one: ShownExample) -> Html:
    parts: list[Child] = []
    read = 0
    for place, weight in zip(one.places, one.weights_P.tolist(), strict=True):
        begin, end = int(place.begin), int(place.end)
        if end <= begin or begin < read:
            continue
        parts.append(one.source[read:begin])
        classes = "place lit" + (" strong" if weight >= _STRONG else "")
        attributes = {"class": classes, "style": f"--w:{weight:.2f}"} if weight >= _FAINT else None
        parts.append(element("span", attributes, one.source[begin:end]))
        read = end
    return element("bdi", {"class": "said", "dir": "auto"}, *parts, one.source[read:])


def _sounding(one: ShownExample) -> Html:
    """Draw what counts over the time of a recording."""
    end = max(place.end for place in one.places) or 1.0
    high, floor = 56.0, 38.0
    parts: list[Child] = []
    for place, weight in zip(one.places, one.weights_P.tolist(), strict=True):
        left, right = (WIDE * at / end for at in (place.begin, place.end))
        tall = 34 * weight
        size = {"x": left, "y": floor - tall, "width": max(0.5, right - left - 0.5), "height": tall}
        parts.append(element("rect", {**size, "class": "bar-fill"}))
    parts += [
        label(min(max(WIDE * at / end, 6), WIDE - 10), high - 4, f"{compact(at)}", "axis middle")
        for at in ticks(0.0, end, 5)
    ]
    strongest = max(range(len(one.places)), key=lambda place: float(one.weights_P[place]))
    most = visible(one.places[strongest].label)
    words = f"What counts for the answer over {number(end)} seconds, most at {most}"
    return joined([said(one.source), picture(WIDE, high, words, *parts)])
