"""Explanations of every kind of source and answer, and a reader of pages, for the tests of pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

from dragoman.explanation.explanation import explain
from dragoman.records import Example

LSTM = {"kind": "lstm", "width": 8}
TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 2, "heads": 2}
KINDS = ["text", "recurrent", "speech", "ctc", "series", "long"]
_VOID = {"meta", "br", "col"}


def explained(kind, made, speech_made, series_made, methods="quick", trust=False):
    """Explain an answer of a fresh model of a kind."""
    beam = {"method": "beam", "beam": 3, "max_length": 5}
    match kind:
        case "text":
            bundle = made(model={"encoder": TRANSFORMER, "decoder": TRANSFORMER}, decoding=beam)
            return explain(bundle, Example("ein Hund", id="a"), methods=methods, trust=trust)
        case "recurrent":
            bundle = made(model={"encoder": LSTM, "decoder": LSTM | {"attention": {"kind": "none"}}})
            return explain(bundle, Example("ein Hund"), methods=methods, trust=trust)
        case "speech":
            bundle, example = speech_made(TRANSFORMER)
            return explain(bundle, example, methods=methods, trust=trust)
        case "ctc":
            bundle, example = speech_made(None)
            return explain(bundle, example, target="one two", methods=methods, trust=trust)
        case "series":
            bundle, example = series_made()
            return explain(bundle, example, methods=methods, trust=trust)
        case "long":
            bundle = made(model={"encoder": TRANSFORMER, "decoder": TRANSFORMER})
            text = "die Katze sieht " * 10
            return explain(bundle, Example(text), target=text, methods=["attention"])


@dataclass
class Element:
    """An element with all that is in it; `text` is its own and that of what is in it."""

    name: str
    attributes: dict[str, str]
    inside: list = field(default_factory=list)

    @property
    def text(self):
        return "".join(one if isinstance(one, str) else one.text for one in self.inside)

    def all(self, *names):
        """Every element within of these names, in order."""
        for one in self.inside:
            if isinstance(one, Element):
                if one.name in names or not names:
                    yield one
                yield from one.all(*names)


class Page(HTMLParser):
    """Reads a page strictly: what opens closes, in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert len(self._open) == 1, f"never closed: {[one.name for one in self._open[1:]]}"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {attrs}"
        assert all(value is not None for _, value in attrs)
        found = Element(tag, dict(attrs))
        self._open[-1].inside.append(found)
        if tag not in _VOID:
            self._open.append(found)

    def handle_endtag(self, tag):
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data):
        self._open[-1].inside.append(data)

    def all(self, *names):
        return list(self.root.all(*names))
