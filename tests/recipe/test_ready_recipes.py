"""Every recipe in `recipes/` loads, and the manual is complete."""

import re
from pathlib import Path

import pytest

from dragoman.recipe.anatomy import RECIPE, Choice, Items, node_at
from dragoman.recipe.loading import load_recipe
from dragoman.recipe.yaml_reader import read_yaml

RECIPES = Path(__file__).parents[2] / "recipes"
MANUAL = RECIPES / "manual.yaml"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_ready_recipes_load_and_leave_their_runs_where_pages_look_for_them(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = load_recipe(path).run
    expected = RECIPES.parent / "runs" if path == MANUAL else tmp_path / "runs"
    assert Path(run) == expected / path.stem


def choices(node, key=""):
    """Every section of the language with the key where it stands."""
    match node:
        case Items():
            yield from choices(node.of, key)
        case Choice():
            yield key, node
            for section in dict.fromkeys(node.sections.values()):
                for inner in section.model_fields:
                    yield from choices(node_at(section, inner), inner)


def declared(section, key):
    """The section that declares a key: what a parent documents need not be repeated."""
    return next(
        parent for parent in reversed(section.__mro__[:-1]) if key in getattr(parent, "model_fields", {})
    )


def alternatives():
    """What stands in comments: `# key: {...}`, or `# key:` above lines that are indented."""
    text = MANUAL.read_text(encoding="utf-8")
    for key, said in re.findall(r"^ *# (\w+): (\{.*?\})(?: |$)", text, re.MULTILINE):
        yield (
            key,
            {inner: value for inner, value in read_yaml(said).value.items() if inner != "..."},
            "..." in said,
        )
    for margin, key, block in re.findall(r"^( *)# (\w+):(?: +#.*)?\n((?:\1#   .*\n)+)", text, re.MULTILINE):
        said = read_yaml(block.replace(f"{margin}#   ", "")).value
        for section in said if isinstance(said, list) else [said]:
            yield key, section, False


def documented():
    found = set()

    def visit(node, said):
        match node, said:
            case Items(), list():
                for item in said:
                    visit(node.of, item)
            case Choice(), str():
                found.add((node.sections[said], node.key))
            case Choice(), dict():
                section = node.section_of(said)
                for key, inner in said.items():
                    found.add((declared(section, key), key))
                    visit(node_at(section, key), inner)

    visit(RECIPE, read_yaml(MANUAL.read_text(encoding="utf-8")).value)
    for key, said, _ in alternatives():
        for place, choice in choices(RECIPE):
            if place == key and choice.section_of(said) is not None:
                visit(choice, said)
    return found


def test_the_manual_has_every_key_of_every_section():
    known = documented()
    sections = {section for _, choice in choices(RECIPE) for section in choice.sections.values()}
    assert len(sections) > 30
    keys = {(declared(section, key), key) for section in sections for key in section.model_fields}
    missing = {(section.__name__, key) for section, key in keys - known}
    shown_with_a_twin = {
        ("Parallel", "merge"),
        ("ErrorRate", "label"),
        ("Rouge", "label"),
        ("ExactMatch", "label"),
    }
    assert missing == shown_with_a_twin


def test_the_manual_names_every_kind():
    text = MANUAL.read_text(encoding="utf-8")
    kinds = {kind for _, choice in choices(RECIPE) if choice.key for kind in choice.sections}
    assert [kind for kind in kinds if not re.search(rf"\b{kind}\b", text)] == []


def test_the_alternatives_of_the_manual_are_valid_and_state_the_defaults():
    checked = 0
    for key, said, is_cut in alternatives():
        sections = [choice.section_of(said) for place, choice in choices(RECIPE) if place == key]
        (section,) = {section for section in sections if section is not None}
        if not is_cut:
            given = {
                inner: tuple(value) if isinstance(value, list) else value for inner, value in said.items()
            }
            needed = {inner for inner, field in section.model_fields.items() if field.is_required()}
            assert section.model_validate(given) == section.model_validate(
                {inner: value for inner, value in given.items() if inner in needed or inner == list(said)[0]}
            )
            checked += 1
    assert checked >= 25
