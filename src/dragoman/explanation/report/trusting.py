"""The section of a report about explanations: which method to trust with this model."""

from __future__ import annotations

from dragoman.evaluation.overlap import NotKnown
from dragoman.explanation.page.elements import Html
from dragoman.explanation.page.trust import trust_parts
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.opening import SPLITS
from dragoman.explanation.report.parts import paragraph, section


def trusting(found: Findings) -> Html | None:
    """Return what speaks for methods and against them; None where it was not asked for."""
    trust = found.trust
    if trust is None:
        return None
    title = "Which explanations to trust"
    if isinstance(trust, NotKnown):
        return section("trust", title, paragraph(f"Nobody knows: {trust.reason}."))
    some = "1 example of" if trust.examples == 1 else f"{trust.examples:,} examples, spread over"
    words = (
        f"Measured on {some} the {SPLITS[found.split]}: what the model says of its answers as their "
        "sources are hidden in the order that a method finds important, beside random orders."
    )
    left_out = [paragraph(trust.left_out)] if trust.left_out else []
    return section("trust", title, paragraph(words), *left_out, *trust_parts(trust))
