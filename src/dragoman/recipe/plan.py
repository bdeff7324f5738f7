"""From what was measured of data to a recipe, with the reason for every choice; a pure function.

Rules follow published practice and what docs/results.md reports; none was fitted to a test set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from dragoman.errors import RecipeError
from dragoman.recipe import overriding
from dragoman.recipe.complaints import lines_of
from dragoman.recipe.facts import Facts, PairFacts, SeriesFacts, SpeechFacts
from dragoman.recipe.plan_series import series_choices
from dragoman.recipe.plan_speech import speech_choices
from dragoman.recipe.plan_text import text_choices
from dragoman.recipe.planning import Choice, notes_of_few
from dragoman.recipe.yaml_writer import comment, write_yaml


@dataclass(frozen=True)
class Plan:
    """A recipe in plain values, without `run`; reasons by dotted key; how files were recognised."""

    mapping: Mapping[str, Any]
    reasons: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Write the recipe as YAML that can be loaded, every reason a comment above what it is for."""
        head = "".join(f"{line}\n" for note in self.notes for line in comment(note))
        return head + write_yaml(self.mapping, self.reasons)

    def changed(self, overrides: Sequence[str]) -> Plan:
        """Change the recipe by overrides, which take the place of reasons. Raises RecipeError."""
        parsed, complaints = overriding.parse(overrides)
        mapping = deepcopy(dict(self.mapping))
        overriding.forget_other_kinds(parsed, mapping)
        complaints += overriding.apply(parsed, mapping, {})
        if complaints:
            raise RecipeError(lines_of(complaints))
        keys = [".".join(one.steps) for one in parsed]
        reasons = {key: why for key, why in self.reasons.items() if not _is_touched(key, keys)}
        notes = [f"Changed on the command line: {text}" for text in overrides]
        return Plan(mapping, reasons, (*self.notes, *notes))


def _is_touched(key: str, changed: Iterable[str]) -> bool:
    """Say whether a change is of a key, of what holds it, or of what it holds: its reason is gone."""
    return any(f"{key}.".startswith(f"{one}.") or one.startswith(f"{key}.") for one in changed)


def plan(facts: Facts) -> Plan:
    """Choose a recipe for data of which these facts are known."""
    match facts:
        case PairFacts():
            choices, few = list(text_choices(facts)), notes_of_few(facts.rows)
        case SpeechFacts():
            choices, few = list(speech_choices(facts)), notes_of_few(facts.rows)
        case SeriesFacts():
            choices, few = list(series_choices(facts)), ()
    choices = [Choice("data.folder", facts.files.folder), *choices]
    reasons = {choice.key: choice.why for choice in choices if choice.why}
    return Plan(_nested(choices), reasons, (*facts.files.notes, *few))


def _nested(choices: Iterable[Choice]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for choice in choices:
        *above, last = choice.key.split(".")
        place = whole
        for key in above:
            place = place.setdefault(key, {})
        place[last] = choice.value
    return whole
