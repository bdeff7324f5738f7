"""The top of a report: the run, its scores, and in a few sentences what to believe of them."""

from __future__ import annotations

from collections import Counter

from dragoman.evaluation.by_group import GroupScores
from dragoman.evaluation.evaluate import perplexity
from dragoman.evaluation.metrics import Score
from dragoman.evaluation.overlap import format_overlap
from dragoman.evaluation.text_quality import TextQuality, times
from dragoman.explanation.page.charts import compact, interval_mark
from dragoman.explanation.page.elements import Child, Html, element, number, per_cent, scrolled, table
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.parts import cards, interval, listed, section

SPLITS = {"test": "test set", "dev": "development set"}
_FAR_OFF = 0.05
"""A confidence that is off by more than this is worth a sentence."""
_FEWEST_WORDS = 20


def header(found: Findings, title: str) -> Html:
    """Return the run's name, its kind, and its main figures."""
    model = found.recipe.model
    sides = f"{found.recipe.source.kind} to {found.recipe.target.kind}"
    parts = f"{model.encoder.kind} reads, {model.decoder.kind} writes"
    if model.decoder.kind == "none":
        parts = f"{model.encoder.kind} reads, CTC writes"
    facts: list[tuple[str, Child, str]] = [
        (score.label, number(score.value, digits_of(found)), f"{_ends(score, found)}")
        for score in found.report.scores[:2]
    ]
    loss = perplexity(found.report)
    if loss is not None and found.text is not None:
        facts.append(("perplexity", number(loss), "on the references"))
    facts.append(("examples", f"{found.report.examples:,}", SPLITS[found.split]))
    facts.append(
        ("parameters", compact(found.parameters), f"{4 * found.parameters / 1e6:,.1f} MB in float32")
    )
    threads = f"{found.speed.threads} thread{'' if found.speed.threads == 1 else 's'}"
    place = threads if found.speed.device == "cpu" else found.speed.device
    facts.append(("answers a second", compact(found.speed.per_second), f"{place}, measured now"))
    return element(
        "header",
        None,
        element("p", {"class": "kicker"}, f"{sides} · {parts}"),
        element("h1", None, title),
        cards(facts),
    )


def digits_of(found: Findings) -> int:
    """Return how many digits scores get: errors of numbers are small."""
    return 2 if found.numbers is None else 4


def _ends(score: Score, found: Findings) -> str:
    digits = digits_of(found)
    low, high = number(score.low, digits), number(score.high, digits)
    return f"{found.report.evaluation.confidence:.0%}: {low} to {high}"


def brief(found: Findings) -> Html:
    """Return what a reader should take away, a sentence each."""
    items: list[Child] = []
    if found.report.overlap is not None:
        items.append(_sentence(format_overlap(found.report.overlap)))
    if found.text is not None:
        items += _of_text(found.text)
    if found.numbers is not None:
        items += _of_numbers(found)
    if found.log is not None and found.log.best_step == found.log.last_step:
        items.append("The last step of the training was the best one: longer training may still help.")
    return section("brief", "In brief", listed(items)) if items else element("span")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _of_text(text: TextQuality) -> list[Child]:
    items: list[Child] = []
    if len(text.by_length) > 1:
        what = "duration" if text.length_unit == "seconds" else "length"
        items.append(_contrast(f"Quality by {what} of the source", text.by_length))
    if text.frequencies:
        rows = [one for one in text.frequencies if one.wanted >= _FEWEST_WORDS]
        if len(rows) > 1:
            rare, often = rows[0], rows[-1]
            items.append(
                f"Of the words that training has {times(rare.low, rare.high)}, {per_cent(rare.recall)} "
                f"are written where they are wanted; of those it has {times(often.low, often.high)}, "
                f"{per_cent(often.recall)}."
            )
    if text.calibration is not None:
        items.append(_confidence(text.calibration.confidence, text.calibration.accuracy))
    if text.suspects:
        rules = Counter(reason.rule for suspect in text.suspects for reason in suspect.reasons)
        named = ", ".join(f"{rule} {count:,}" for rule, count in rules.most_common())
        items.append(f"{len(text.suspects):,} of {len(text.scores):,} answers are suspect: {named}.")
    return items


def _contrast(what: str, groups: tuple[GroupScores, ...]) -> str:
    first, last = groups[0], groups[-1]
    label = first.scores[0].label
    return (
        f"{what}: {label} {interval(first.scores[0])} for {first.name}, "
        f"{interval(last.scores[0])} for {last.name}."
    )


def _confidence(confidence: float, accuracy: float) -> str:
    off = confidence - accuracy
    verdict = "too sure" if off > _FAR_OFF else "not sure enough" if off < -_FAR_OFF else "about right"
    return (
        f"Confidence is {verdict}: tokens get a probability of {per_cent(confidence)} on average, "
        f"and {per_cent(accuracy)} of them are right."
    )


def _of_numbers(found: Findings) -> list[Child]:
    assert found.numbers is not None
    by_step = found.numbers.by_step
    items: list[Child] = [
        f"The error grows from {compact(float(by_step[0]))} at the first step to "
        f"{compact(float(by_step[-1]))} at step {len(by_step)} (deviations of the training values)."
    ]
    for label, (ours, best, name) in _against_baselines(found).items():
        items.append(
            f"By {label} the model has {number(ours, 4)}; the best simple method, {name}, {number(best, 4)}."
        )
    return items


def _against_baselines(found: Findings) -> dict[str, tuple[float, float, str]]:
    rows = {}
    for score in found.report.scores:
        others = [
            (one.value, name)
            for name, scores in found.report.baselines.items()
            for one in scores
            if one.label == score.label
        ]
        if others:
            rows[score.label] = (score.value, *min(others))
    return rows


def scores(found: Findings) -> Html:
    """Return every score with its interval, how it was counted, and those of simple methods."""
    digits = digits_of(found)
    named = [("this model", found.report.scores), *found.report.baselines.items()]
    rows: list[list[Child]] = []
    for label in [score.label for score in found.report.scores]:
        given = [(name, one) for name, many in named for one in many if one.label == label]
        begin, end = min(one.low for _, one in given), max(one.high for _, one in given)
        if found.numbers is None:
            begin, end = 0.0, max(100.0, end)
        for name, one in given:
            mark = interval_mark(one.low, one.value, one.high, begin, end)
            who = [name] if found.report.baselines else []
            rows.append([label, *who, interval(one, digits), mark, _better(one), one.signature])
    who = ["of"] if found.report.baselines else []
    head = ["metric", *who, "score [interval]", "drawn", "better", "signature"]
    caption = (
        f"Scores of the {SPLITS[found.split]}, {found.report.examples:,} examples, with intervals of "
        f"{found.report.evaluation.confidence:.0%}"
    )
    whole = scrolled(caption, table(caption, head, rows, "scores")) if rows else None
    return section("scores", "Scores", whole, _how(found))


def _better(score: Score) -> str:
    return "higher" if score.higher_is_better else "lower"


def _how(found: Findings) -> Html:
    """Say where the answers come from."""
    decoding = ", ".join(
        f"{name} {value}"
        for name, value in found.report.decoding.model_dump(exclude_defaults=True, mode="json").items()
    )
    kept = (
        f"The answers are those that evaluate wrote; {found.speed.examples} of them were asked for again "
        "and came out the same."
        if found.is_kept
        else "The answers were given for this report."
    )
    loss = found.report.loss
    unit = "nats a token" if found.text is not None else "units of the objective"
    said = f" Loss {number(loss, 4)} {unit}." if loss is not None else ""
    return element("p", None, f"{kept}{said} Decoding: {decoding}.")
