"""A run of each kind, and its report; a strict reader of pages."""

import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from conftest import FEW_STEPS, train_few_steps
from dragoman.api import report

KINDS = ["text", "speech", "series"]
NASTY = "<script>alert(\"x\")</script> & 'y'"
VOID = {"meta", "br", "col"}


class Page(HTMLParser):
    """Reads a page strictly: what opens closes, in order; `found` has (name, attributes, names around it)."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {attrs}"
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    def all(self, *names):
        return [attributes for name, attributes, _ in self.found if name in names]


@pytest.fixture(scope="session")
def page():
    return Page


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    """A run of text with markup in it."""
    folder = tmp_path_factory.mktemp("text")
    words = ["dog", "cat", "Ada", "42", NASTY, "sees", "the"]
    rows = []
    for number in range(40):
        chosen = [words[(number * step + step) % len(words)] for step in range(1, 3 + number % 4)]
        rows.append(f"{' '.join(chosen)}\t{' '.join(chosen[::-1])}\n")
    (folder / "pairs.tsv").write_text("".join(rows), "utf-8")
    (folder / "dev.tsv").write_text("".join(rows[:20]) + "new 7\t7 wen\n", "utf-8")
    return train_few_steps(
        folder,
        data={
            "train": [{"file": "pairs.tsv"}],
            "dev": {"file": "dev.tsv"},
            "test": {"file": "dev.tsv"},
            "cache": "cache",
        },
        source={"kind": "characters"},
        target={"kind": "characters"},
        training=FEW_STEPS | {"max_steps": 4, "log_every": 1},
        decoding={"method": "beam", "beam": 2, "max_length": 12},
        evaluation={"metrics": ["bleu", "chrf"], "bootstrap_samples": 100},
    )


@pytest.fixture(scope="session")
def findings(request, text_run):
    """What was found out about a run of a kind."""
    known = {}

    def found(kind):
        if kind not in known:
            run = text_run if kind == "text" else request.getfixturevalue(f"{kind}_run")
            known[kind] = report(run, split="dev", trust=2)
        return known[kind]

    return found
