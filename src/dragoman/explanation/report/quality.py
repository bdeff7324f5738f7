"""Sections of a report about answers in text: where they are good, how sure they are, what looks made up."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.data.portable import shown
from dragoman.evaluation.calibration import Calibration
from dragoman.evaluation.copies import Copies
from dragoman.evaluation.suspects import REPEATED_NGRAM, Suspect
from dragoman.evaluation.text_quality import TextQuality, times
from dragoman.evaluation.word_frequency import FrequencyBucket
from dragoman.evaluation.word_matches import Confusion
from dragoman.explanation.page.charts import Axes, figure, histogram, side_by_side
from dragoman.explanation.page.drawing import line, picture
from dragoman.explanation.page.elements import (
    Child,
    Html,
    element,
    joined,
    number,
    per_cent,
    said,
    scrolled,
    table,
)
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.parts import groups_table, paragraph, section, share_bar
from dragoman.records import text_of

_MOST_LOST = 12
_MOST_SUSPECTS = 20
_FEW = 20
"""So few decisions say little."""
_SQUARE = 280.0


def quality(found: Findings) -> Html | None:
    """Return quality by length, rarity and words, and what was copied."""
    text = found.text
    if text is None:
        return None
    what = "duration" if text.length_unit == "seconds" else "length"
    parts: list[Child] = []
    if len(text.by_length) > 1:
        caption = f"Scores by {what} of the source"
        parts += [element("h3", None, f"By {what}"), groups_table(caption, what, text.by_length)]
    if len(text.by_rarity) > 1:
        caption = "Scores by how often the training data have the rarest word of the reference"
        parts += [
            element("h3", None, "By the rarest word"),
            groups_table(caption, "rarest word", text.by_rarity),
        ]
    if len(text.frequencies) > 1:
        parts += [element("h3", None, "Words by their frequency"), _frequencies(text.frequencies)]
    if text.copies:
        parts += [element("h3", None, "Numbers and names"), _copies(found, text.copies)]
    if text.confusions:
        parts += [element("h3", None, "What is written instead"), _confusions(text)]
    return section("quality", "Where it is good, and where not", *parts) if parts else None


def _frequencies(buckets: Sequence[FrequencyBucket]) -> Html:
    rows: list[list[Child]] = [
        [
            times(one.low, one.high),
            f"{one.wanted:,}",
            f"{one.written:,}",
            per_cent(one.precision),
            per_cent(one.recall),
            element("span", {"class": "share"}, share_bar(one.f1), f" {per_cent(one.f1)}"),
        ]
        for one in buckets
    ]
    caption = "Are words right, by how often they stand in the training targets? (as compare-mt counts)"
    head = ["in the training data", "wanted", "written", "precision", "recall", "F"]
    return scrolled(caption, table(caption, head, rows))


def _copies(found: Findings, kinds: Sequence[Copies]) -> Html:
    rows: list[list[Child]] = []
    for one in kinds:
        lost = joined(_with_commas([said(item) for _, item in one.lost[:_MOST_LOST]]))
        more = f" and {len(one.lost) - _MOST_LOST:,} more" if len(one.lost) > _MOST_LOST else None
        share = element("span", {"class": "share"}, share_bar(one.recall), f" {per_cent(one.recall)}")
        rows.append(
            [one.kind, f"{one.wanted:,}", share, element("span", None, lost, more) if one.lost else "none"]
        )
    caption = "Numbers and names that source and reference share: are they in the answer too?"
    return scrolled(caption, table(caption, ["what", "wanted", "found", "missing"], rows))


def _with_commas(items: Sequence[Child]) -> list[Child]:
    return [part for place, item in enumerate(items) for part in ([", ", item] if place else [item])]


def _confusions(text: TextQuality) -> Html:
    exchanged = [one for one in text.confusions if one.wanted and one.written]
    missing = [one for one in text.confusions if not one.written]
    added = [one for one in text.confusions if not one.wanted]
    return element(
        "div",
        {"class": "tables"},
        _edits("One word for another", ["wanted", "written", "times"], exchanged),
        _edits("Words that are missing", ["wanted", "times"], missing),
        _edits("Words that are too many", ["written", "times"], added),
    )


def _edits(caption: str, head: Sequence[str], given: Sequence[Confusion]) -> Html | None:
    if not given:
        return None
    rows: list[list[Child]] = [
        [*(said(word) for word in (one.wanted, one.written) if word), f"{one.count:,}"] for one in given
    ]
    return scrolled(caption, table(caption, head, rows))


def confidence(found: Findings) -> Html | None:
    """Return whether the model's probabilities can be believed; None where nobody knows."""
    text = found.text
    if text is None or (text.calibration is None and len(text.by_confidence) < 2):
        return None
    parts: list[Child] = []
    if text.calibration is not None:
        parts.append(paragraph(_verdict(text.calibration)))
        parts.append(side_by_side(_reliability(text.calibration)))
    if text.confidence_tells is not None:
        parts.append(
            paragraph(
                f"Confidence and quality ({text.telling.label}) of an answer have a rank correlation of "
                f"{number(text.confidence_tells)}: 1 would sort answers by quality, 0 says nothing."
            )
        )
    if len(text.by_confidence) > 1:
        caption = "Scores of the least sure to the surest quarter of the answers"
        parts.append(groups_table(caption, "mean probability", text.by_confidence))
    return section("confidence", "Is its confidence right?", *parts)


def _verdict(given: Calibration) -> str:
    return (
        f"The expected calibration error is {number(100 * given.error, 1)} points: so far, on average, "
        "is the probability of a token from the share of such tokens that are right. Right is what the "
        "cheapest edits into the reference leave alone; another good wording counts as wrong."
    )


def _reliability(given: Calibration) -> Html:
    """Draw how many are right of what the model is so sure of."""
    axes = Axes(0, 1, 0, 1, _SQUARE + 40, _SQUARE)

    def written(share: float) -> str:
        return f"{100 * share:.0f}%"

    parts: list[Child] = [axes.drawn("probability that the model gives", written, written)]
    for one in given.bins:
        left, right, top = axes.x(one.low) + 1, axes.x(one.high) - 1, axes.y(one.accuracy)
        size = {"x": left, "y": top, "width": right - left, "height": axes.y(0) - top}
        few = " few" if one.count < _FEW else ""
        parts.append(element("rect", {**size, "class": f"bar-fill{few}"}))
    parts.append(line([axes.x(0), axes.x(1)], [axes.y(0), axes.y(1)], "line ahead"))
    parts += [
        element("circle", {"cx": axes.x(one.confidence), "cy": axes.y(one.accuracy), "r": 3, "class": "dot"})
        for one in given.bins
    ]
    rows: list[list[Child]] = [
        [
            f"{100 * one.low:.0f} to {100 * one.high:.0f}%",
            f"{one.count:,}",
            per_cent(one.confidence),
            per_cent(one.accuracy),
        ]
        for one in given.bins
    ]
    title = "Reliability of tokens"
    words = "; ".join(f"{row[0]}: {row[3]} right" for row in rows)
    chart = picture(axes.wide, axes.high, f"{title}. {words}", *parts)
    numbers = table(title, ["probability", "tokens", "on average", "right"], rows)
    return figure(
        title,
        chart,
        numbers,
        f"Bars: what share is right, empty ones of fewer than {_FEW}; dashes: as it should be.",
    )


def suspects(found: Findings) -> Html | None:
    """Return lengths, repetitions and answers that look made up."""
    text = found.text
    if text is None:
        return None
    parts: list[Child] = [
        paragraph(
            f"{per_cent(text.repetition.answers)} of the runs of {REPEATED_NGRAM} words in answers came "
            f"before in the same answer; in references it is {per_cent(text.repetition.references)}."
        )
    ]
    if len(set(text.length_ratios)) > 1:
        note = "1 is as long as the reference."
        name = "answer over reference, in words"
        chart = histogram("Length ratio", text.length_ratios, name, mark=1.0, mark_name="as long", note=note)
        parts.append(side_by_side(chart))
    if text.suspects:
        parts.append(_suspects(found, text.suspects))
    else:
        parts.append(paragraph("No answer looks made up by any of the rules."))
    return section("suspects", "Repetitions, lengths and suspects", *parts)


def _suspects(found: Findings, given: Sequence[Suspect]) -> Html:
    rows: list[list[Child]] = []
    for one in given[:_MOST_SUSPECTS]:
        prediction = found.report.predictions[one.number]
        reasons = element(
            "ul",
            {"class": "reasons"},
            *(
                element("li", None, element("strong", None, reason.rule), f": {reason.seen}")
                for reason in one.reasons
            ),
        )
        name = prediction.example.id or str(one.number + 1)
        source, answer = prediction.example.source, prediction.values[0]
        rows.append([said(name), reasons, said(str(shown(source))), said(text_of(answer))])
    some = "" if len(given) <= _MOST_SUSPECTS else f", the first {_MOST_SUSPECTS} of them"
    caption = f"{len(given):,} answers that may be made up{some}; a rule that fires is no proof"
    return scrolled(caption, table(caption, ["example", "why", "source", "answer"], rows, "texts"))
