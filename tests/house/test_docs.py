"""Pages say what is: links lead somewhere, listed files and verbs exist, generated files are current."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from source import PACKAGE, ROOT

import dragoman
from dragoman.cli.program import app

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not link.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_the_readme_lists_every_file_of_the_package_once():
    _, _, files = (ROOT / "README.md").read_text("utf-8").partition("\n## The files\n")
    listed = re.findall(r"^    ([\w/]+\.\w+)\s", files, re.MULTILINE)
    there = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.*")
        if path.suffix in (".py", ".yaml", ".css", ".js", ".c", ".h")
        and not (path.name == "__init__.py" and path.parent != PACKAGE)
    ]
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_verbs_are_there(page):
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    named = set(re.findall(r"^\s*(?:.*\| )?dragoman ([a-z]+)\b", page.read_text("utf-8"), re.MULTILINE))
    assert named <= verbs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_recipes_are_there(page):
    for name in re.findall(r"\brecipes/[\w.-]+\.yaml", page.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{page}: {name}"


def test_the_schema_for_editors_is_current():
    stored = json.loads((ROOT / "docs" / "recipe.schema.json").read_text("utf-8"))
    assert stored == dragoman.recipe_schema(), "say: dragoman schema > docs/recipe.schema.json"


def test_the_changelog_knows_this_version():
    assert f"## {dragoman.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
