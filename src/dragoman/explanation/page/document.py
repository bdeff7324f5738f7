"""What all pages are: one file that fetches nothing, with its style and perhaps its script in it."""

from __future__ import annotations

from dragoman import __version__
from dragoman.explanation.page.elements import Child, element, raw

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser itself refuses whatever would come from elsewhere, and all scripts but the page's own."""


def document(title: str, style: str, *body: Child, script: str | None = None) -> str:
    """Return a page; without a script the browser refuses any."""
    policy = _POLICY if script is None else f"{_POLICY}; script-src 'unsafe-inline'"
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("meta", {"name": "generator", "content": f"dragoman {__version__}"}),
        element("title", None, title),
        element("style", None, raw(style)),
    )
    last = None if script is None else element("script", None, raw(script))
    page = element("html", {"lang": "en"}, head, element("body", None, *body, last))
    return f"<!DOCTYPE html>\n{page.source}\n"
