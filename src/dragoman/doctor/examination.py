"""Everything that the doctor looks at, for a recipe, for data, or for a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dragoman.api import check
from dragoman.bundle import MANIFEST
from dragoman.data.planned import is_data, plan, recipe_of
from dragoman.doctor.data_checks import data_findings
from dragoman.doctor.environment import environment
from dragoman.doctor.findings import Finding
from dragoman.doctor.losses import Yardsticks, loss_findings
from dragoman.doctor.overfit import overfit_findings
from dragoman.doctor.yardsticks import yardsticks_of
from dragoman.errors import BundleError, RecipeError
from dragoman.recipe.loading import load_recipe
from dragoman.recipe.sections import Recipe
from dragoman.training.progress import read_log

_OF_RUNS = (MANIFEST, "log.jsonl", "recipe.yaml")
"""Files that tell the folder of a run from one of data."""


def examine(files: Sequence[str | Path], overrides: Sequence[str] = (), quick: bool = False) -> list[Finding]:
    """Look at a recipe, a run's folder or data, and at the machine; `quick` trains nothing.

    Raises RecipeError for a recipe that cannot be read, UserError and DataError for data that are not
    understood.
    """
    path = Path(files[0])
    if len(files) == 1 and any((path / name).is_file() for name in _OF_RUNS):
        return list(_of_run(path, quick))
    if is_data(files):
        recipe = recipe_of(plan(*files, overrides=overrides), files)
        named = "the recipe is the one that `dragoman plan` prints"
    else:
        recipe, named = load_recipe(path, overrides), f"{path} is in order"
    return [Finding("recipe", "note", named), *_of_recipe(recipe, quick)]


def _of_recipe(recipe: Recipe, quick: bool) -> Iterator[Finding]:
    yield from environment(recipe)
    found = list(data_findings(recipe))
    yield from found or [Finding("data", "note", "nothing to complain of")]
    if not quick:
        yield from overfit_findings(recipe)


def _of_run(folder: Path, quick: bool) -> Iterator[Finding]:
    log = read_log(folder / "log.jsonl")
    try:
        complaints = check(folder)
    except BundleError as error:
        complaints = [str(error)]
    if not complaints:
        told = "every hash is right, and the stored sample comes out as when it was saved"
        yield Finding("bundle", "note", told)
    has_ended = any(line["kind"] == "end" for line in log)
    for complaint in complaints:
        if has_ended or not log:
            means = "it is not what training left: its answers cannot be trusted"
            yield Finding("bundle", "fault", complaint, means, "train again, or copy the folder again")
        else:
            yield Finding("bundle", "note", "the run has not ended, so there is no bundle yet")
            break
    if not log:
        yield Finding("losses", "note", "no log.jsonl: a bundle without the folder of its run")
        return
    yardsticks = Yardsticks() if complaints or quick else yardsticks_of(folder)
    try:
        max_steps = load_recipe(folder / "recipe.yaml").training.max_steps
    except RecipeError:
        max_steps = None
    found = list(loss_findings(log, yardsticks, max_steps))
    yield from found or [Finding("losses", "note", "the curves look as they should")]
