"""The whole report as one page: nothing is fetched, nothing is executed."""

from __future__ import annotations

from importlib import resources

from dragoman import __version__
from dragoman.explanation import page as pages
from dragoman.explanation.page.document import document
from dragoman.explanation.page.drawing import patterns
from dragoman.explanation.page.elements import Html, element
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.forecasting import forecasts
from dragoman.explanation.report.opening import SPLITS, brief, header, scores
from dragoman.explanation.report.origins import data, recipe, training
from dragoman.explanation.report.quality import confidence, quality, suspects
from dragoman.explanation.report.shown import examples
from dragoman.explanation.report.trusting import trusting

_CONTENTS = {
    "scores": "Scores",
    "quality": "Quality",
    "forecasts": "Forecasts",
    "confidence": "Confidence",
    "suspects": "Suspects",
    "examples": "Examples",
    "trust": "Explanations",
    "data": "Data",
    "training": "Training",
    "recipe": "Recipe",
}


def as_html(found: Findings) -> str:
    """Return the page; sections that have nothing to say are not there."""
    name = "model" if found.bundle.folder is None else found.bundle.folder.resolve().name
    title = f"{name}: report"
    sections = {
        "scores": scores(found),
        "quality": quality(found),
        "forecasts": forecasts(found),
        "confidence": confidence(found),
        "suspects": suspects(found),
        "examples": examples(found),
        "trust": trusting(found),
        "data": data(found),
        "training": training(found),
        "recipe": recipe(found),
    }
    present = [part for part in sections if sections[part] is not None]
    main = element(
        "main",
        {"id": "report"},
        header(found, name),
        _contents(present),
        brief(found),
        *(sections[part] for part in present),
        _footer(found),
    )
    skip = element("a", {"class": "skip", "href": "#scores"}, "To the scores")
    return document(title, _styles(), skip, patterns(), main)


def _contents(present: list[str]) -> Html:
    links = [element("li", None, element("a", {"href": f"#{part}"}, _CONTENTS[part])) for part in present]
    return element("nav", {"aria-label": "Contents"}, element("ul", None, *links))


def _footer(found: Findings) -> Html:
    words = (
        f"dragoman {__version__}, on the {SPLITS[found.split]}. The page needs no network and no script; "
        "dragoman report --json has its numbers."
    )
    return element("footer", None, element("p", None, words))


def _styles() -> str:
    own = resources.files(__package__).joinpath("report.css").read_text("utf-8")
    return resources.files(pages).joinpath("page.css").read_text("utf-8") + own
