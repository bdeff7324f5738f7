"""From a file, a dict or overrides to a recipe, strictly, and back to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dragoman.errors import RecipeError
from dragoman.recipe import overriding, yaml_reader
from dragoman.recipe.anatomy import KINDS
from dragoman.recipe.complaints import Complaint, Origin, lines_of, origin_of, translate
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.section import Section
from dragoman.recipe.sections import Recipe, with_fitting_defaults
from dragoman.recipe.wording import dotted, shown
from dragoman.recipe.yaml_writer import write_yaml

_Kind = TypeVar("_Kind", bound=Section)


@dataclass
class _Draft:
    """What was said so far, by whom, and what is wrong with it."""

    given: dict[str, Any]
    folder: Path
    """Where relative paths start that no override said."""
    origins: dict[yaml_reader.Path, Origin] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe from a YAML file and change it by overrides such as `model.encoder.layers=4`.

    `run`, `data.folder` and `data.cache` come out absolute: those of the file are relative to it, those of
    overrides to the current directory. A file without `run` runs in `runs/<its name>` there.
    Raises RecipeError with one line for every fault.
    """
    path = Path(path)
    draft = _draft_of(path)
    _override(draft, overrides)
    if "run" not in draft.given:
        draft.given["run"] = str(Path("runs", path.stem).absolute())
    return _recipe(draft)


def recipe_from(mapping: Mapping[str, object], folder: str | Path = ".") -> Recipe:
    """Make a recipe from a dict by the rules of a file in `folder`; `run` is required; raises RecipeError."""
    draft = _Draft(_plain_mapping(mapping), Path(folder))
    return _recipe(draft)


def override(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Change a recipe by overrides, dropping the keys of kinds that they replace; raises RecipeError."""
    return _overridden(recipe, tuple(overrides)) if overrides else recipe


@lru_cache(maxsize=16)
def _overridden(recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
    """Do so; who asks for one answer after another overrides the same recipe in the same way each time."""
    parsed, complaints = overriding.parse(overrides)
    draft = _Draft(_plain_mapping(recipe.model_dump(exclude_unset=True)), Path(), complaints=complaints)
    overriding.forget_other_kinds(parsed, draft.given)
    draft.complaints += overriding.apply(parsed, draft.given, draft.origins)
    return _recipe(draft)


def evaluation_from(mapping: Mapping[str, object], overrides: Sequence[str] = ()) -> Evaluation:
    """Make the section that scores answers; overrides begin with `evaluation.`; raises RecipeError."""
    parsed, complaints = overriding.parse(overrides)
    draft = _Draft(_plain_mapping({"evaluation": mapping}), Path(), complaints=complaints)
    overriding.forget_other_kinds(parsed, draft.given)
    draft.complaints += overriding.apply(parsed, draft.given, draft.origins)
    return _validated(draft, _Scoring).evaluation


class _Scoring(Section):
    """Of a recipe the part that scores answers which are there already."""

    evaluation: Evaluation


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML with every default; loading it gives an equal recipe."""
    return write_yaml(_kinds_first(recipe.model_dump()))


def _kinds_first(value: Any) -> Any:
    """Put the key that decides what the others mean before them, fields of a parent class included."""
    match value:
        case dict():
            keys = sorted(value, key=lambda key: key not in KINDS)
            return {key: _kinds_first(value[key]) for key in keys}
        case list() | tuple():
            return [_kinds_first(item) for item in value]
    return value


def _draft_of(path: Path) -> _Draft:
    """Read a file; faults that leave nothing to go on with are raised at once."""
    try:
        with path.open("rb") as file:
            raw = file.read(yaml_reader.MAX_BYTES + 1)
        document = yaml_reader.read_yaml(yaml_reader.decode_text(raw))
    except OSError as error:
        raise RecipeError([f"{path}: cannot be read: {error.strerror}"]) from error
    except yaml_reader.Unreadable as error:
        raise RecipeError([f"{path}:{error.line}: {error.what}"]) from error
    origins = {place: Origin(f"{path}:{line}", line) for place, line in document.lines.items()}
    complaints = [
        Complaint(Origin(f"{path}:{fault.line}", fault.line), fault.path, fault.what)
        for fault in document.faults
    ]
    if document.value is None and not complaints:
        raise RecipeError(
            [f"{path}:1: empty; a recipe has at least `data`, `source`, `target` and `training`"]
        )
    if not isinstance(document.value, dict):
        found = f"expected keys with values at the top, found {shown(document.value)}"
        complaints.append(Complaint(origin_of(origins, ()), (), found))
        raise RecipeError(lines_of(complaints))
    return _Draft(document.value, path.parent, origins, complaints)


def _override(draft: _Draft, overrides: Sequence[str]) -> None:
    parsed, complaints = overriding.parse(overrides)
    draft.complaints += complaints
    draft.given = with_fitting_defaults(draft.given)  # what overrides change starts as these
    draft.complaints += overriding.apply(parsed, draft.given, draft.origins)


def _recipe(draft: _Draft) -> Recipe:
    return _with_absolute_paths(_validated(draft, Recipe), draft)


def _validated(draft: _Draft, kind: type[_Kind]) -> _Kind:
    given = {key: _with_tuples(value) for key, value in draft.given.items()}
    try:
        found = kind.model_validate(given)
    except ValidationError as error:
        wrong = translate(error.errors(include_url=False), given, draft.origins)
        known = {complaint.path for complaint in draft.complaints}  # such values were not read at all
        new = [complaint for complaint in wrong if complaint.path not in known]
        raise RecipeError(lines_of([*draft.complaints, *new])) from error
    if draft.complaints:
        raise RecipeError(lines_of(draft.complaints))
    return found


def _with_absolute_paths(recipe: Recipe, draft: _Draft) -> Recipe:
    def absolute(said: str, *place: str) -> str:
        start = Path() if origin_of(draft.origins, place).is_override else draft.folder
        # Not `resolve`: symbolic links keep the names that the user gave them.
        return os.path.abspath(start / Path(said).expanduser())  # noqa: PTH100

    folder = absolute(recipe.data.folder, "data", "folder")
    cache = recipe.data.cache and absolute(recipe.data.cache, "data", "cache")
    vocabulary = recipe.data.target_vocabulary
    vocabulary = vocabulary and absolute(vocabulary, "data", "target_vocabulary")
    paths = {"folder": folder, "cache": cache, "target_vocabulary": vocabulary}
    data = recipe.data.model_copy(update=paths)
    return recipe.model_copy(update={"run": absolute(recipe.run, "run"), "data": data})


def _plain_mapping(mapping: Mapping[Any, object]) -> dict[str, Any]:
    return {str(key): _plain(value, (str(key),)) for key, value in mapping.items()}


def _plain(value: object, path: yaml_reader.Path) -> Any:
    """Copy what Python code gave as a file would have it: sections as dicts, tuples as lists."""
    if len(path) > yaml_reader.MAX_DEPTH:
        raise RecipeError([f"more than {yaml_reader.MAX_DEPTH} levels deep: that is not a recipe"])
    match value:
        case BaseModel():
            return _plain(value.model_dump(exclude_unset=True), path)
        case Mapping():
            return {str(key): _plain(inner, (*path, str(key))) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(item, (*path, index)) for index, item in enumerate(value)]
        case os.PathLike():
            return os.fspath(value)
        case str() if yaml_reader.SURROGATE.search(value):
            raise RecipeError([f"{dotted(path)}: half of a surrogate pair is not text"])
    return value


def _with_tuples(value: Any) -> Any:
    match value:
        case dict():
            return {key: _with_tuples(inner) for key, inner in value.items()}
        case list():
            return tuple(_with_tuples(item) for item in value)
    return value
