"""The whole page: facts, steps, methods, the search; style and script are in it, nothing is fetched."""

from __future__ import annotations

import json
import math
from importlib import resources

import numpy as np

from dragoman import __version__
from dragoman.explanation.attribution import NAMES, Attribution, Method
from dragoman.explanation.explanation import Explanation
from dragoman.explanation.page.choices import choices_section
from dragoman.explanation.page.document import document
from dragoman.explanation.page.drawing import patterns
from dragoman.explanation.page.elements import (
    Child,
    Html,
    element,
    joined,
    number,
    per_cent,
    raw,
    said,
    visible,
)
from dragoman.explanation.page.matrix import matrix, named, thumbnail
from dragoman.explanation.page.series import series_map
from dragoman.explanation.page.sound import sound_map
from dragoman.explanation.page.strip import strip
from dragoman.explanation.page.tree import tree_section
from dragoman.explanation.page.trust import trust_parts
from dragoman.explanation.subject import Subject

_WORDS: dict[Method, str] = {
    "attention": "What the decoder looked at, in per cent: a row sums to 100.",
    "rollout": (
        "Attention followed through all layers down to the source, in per cent (Abnar and Zuidema 2020)."
    ),
    "gradient_input": "How much the token's log-probability changes with each source step, to first order.",
    "integrated_gradients": (
        "Shares of the change in log-probability from an empty source to this one (Sundararajan et al. "
        "2017). What they miss of it is in the last column."
    ),
    "occlusion": "What the token's log-probability loses when a source step is blotted out.",
    "contrastive": "What speaks for this token and not for another one.",
}
_MOST_PART_WEIGHTS = 120_000
"""Weights of layers and heads that the page carries so that they can be looked at large."""


def as_html(explanation: Explanation) -> str:
    """Return the page; it reads the same without its script, which adds pointing, keys and switching."""
    subject = explanation.subject
    title = f"Why “{_clipped(_written(subject))}”?"
    main = element("main", None, *_sections(explanation))
    return document(title, _own("page.css"), patterns(), main, script=_own("page.js"))


def _sections(explanation: Explanation) -> list[Child]:
    return [
        _facts(explanation),
        choices_section(explanation),
        _methods(explanation),
        _trust(explanation),
        _parts(explanation),
        tree_section(explanation.tree),
        _costs(explanation),
    ]


def _facts(explanation: Explanation) -> Html:
    subject = explanation.subject
    name = "model" if subject.bundle.folder is None else subject.bundle.folder.name
    asked = "the given answer" if explanation.is_given else "this answer"
    return element(
        "header",
        None,
        element("p", {"class": "kicker"}, f"{name} · {_kind(subject)}"),
        element("h1", None, f"Why {asked}?"),
        strip(subject),
        element("p", {"id": "detail", "role": "status"}),
        element("p", {"class": "summary"}, *_summary(explanation)),
        _notes(explanation),
    )


def _notes(explanation: Explanation) -> Html | None:
    """Say what a reader should know, and which methods there are not."""
    left_out = [f"Left out: {reason}" for reason in explanation.left_out.values()]
    notes = [element("li", None, note) for note in (*explanation.subject.notes, *left_out)]
    return element("ul", {"class": "notes"}, *notes) if notes else None


def _kind(subject: Subject) -> str:
    model = subject.bundle.recipe.model
    sides = f"{subject.bundle.recipe.source.kind} to {subject.bundle.recipe.target.kind}"
    return f"{sides} · {model.encoder.kind} reads, {model.decoder.kind} writes"


def _summary(explanation: Explanation) -> list[Child]:
    """Say how sure the model was, and where least."""
    choices = explanation.choices
    if not choices:
        return []
    total = sum(choice.log_prob for choice in choices)
    parts: list[Child] = [
        f"The model gives this answer a probability of {per_cent(math.exp(total))} "
        f"({number(total)} nats for {len(choices):,} tokens)."
    ]
    least = min(choices, key=lambda choice: choice.log_prob)
    if len(choices) > 1:
        parts += [
            " It was least sure of “",
            said(visible(least.piece)),
            f"” ({per_cent(math.exp(least.log_prob))}",
        ]
        for other in least.alternatives[:1]:
            parts += [
                "; next to it stood “",
                said(visible(other.piece)),
                f"”, {per_cent(math.exp(other.log_prob))}",
            ]
        parts.append(").")
    return parts


def _methods(explanation: Explanation) -> Html | None:
    if not explanation.attributions:
        return None
    found = [
        _method(explanation, attribution, place) for place, attribution in enumerate(explanation.attributions)
    ]
    return element(
        "section",
        {"id": "reads", "aria-labelledby": "reads-title"},
        element("h2", {"id": "reads-title"}, "What each step of the answer comes from"),
        element("div", {"class": "methods"}, *found),
    )


def _method(explanation: Explanation, attribution: Attribution, place: int) -> Html:
    subject = explanation.subject
    name, words = NAMES[attribution.method].capitalize(), _WORDS[attribution.method]
    part = f" ({attribution.part})" if attribution.part not in ("", attribution.method) else ""
    unit = "signed weights" if attribution.is_signed else "weights in per cent"
    caption = f"{name}{part}: {unit} of the source for each step of the answer"
    given = named(explanation, attribution, caption)
    match subject.places[0].kind if subject.places else "text":
        case "seconds":
            shown = sound_map(given, subject)
        case "steps":
            shown = series_map(given, subject)
        case _:
            shown = matrix(given)
    attributes = {
        "class": "method",
        "id": f"method-{place}",
        "data-method": attribution.method,
        "aria-labelledby": f"method-{place}-title",
    }
    title = element("h3", {"id": f"method-{place}-title"}, f"{name}{part}")
    return element("section", attributes, title, element("p", None, words), shown)


def _trust(explanation: Explanation) -> Html | None:
    if explanation.trust is None:
        return None
    return element(
        "section",
        {"id": "trust", "aria-labelledby": "trust-title"},
        element("h2", {"id": "trust-title"}, "Which method to trust"),
        *trust_parts(explanation.trust),
    )


def _parts(explanation: Explanation) -> Html | None:
    """Return a small picture of each layer and head, and their weights for the script to show large."""
    if not explanation.parts:
        return None
    drawn = [thumbnail(named(explanation, part, part.part)) for part in explanation.parts]
    words = "Each layer and head by itself: answer downwards, source to the right. Means hide what differs."
    return element(
        "section",
        {"id": "heads", "aria-labelledby": "heads-title"},
        element("h2", {"id": "heads-title"}, "Attention by layer and head"),
        element("p", None, words),
        element("div", {"class": "parts"}, *drawn),
        _part_weights(explanation),
    )


def _part_weights(explanation: Explanation) -> Html | None:
    if sum(part.weights_TS.size for part in explanation.parts) > _MOST_PART_WEIGHTS:
        return None
    rounded = [
        np.rint(1000 * np.nan_to_num(part.weights_TS)).astype(int).tolist() for part in explanation.parts
    ]
    return element(
        "script",
        {"type": "application/json", "id": "part-weights"},
        raw(json.dumps(rounded, separators=(",", ":"))),
    )


def _costs(explanation: Explanation) -> Html:
    spent = "; ".join(f"{what} {number(seconds)} s" for what, seconds in explanation.seconds.items())
    words = f"dragoman {__version__}. The page needs no network; weights are those of the JSON, rounded."
    return element("footer", None, element("p", None, joined([words, f" Time: {spent}." if spent else None])))


def _written(subject: Subject) -> str:
    return subject.answer if isinstance(subject.answer, str) else "this forecast"


def _clipped(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
