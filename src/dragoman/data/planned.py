"""A recipe for files of data: which files are data, what is planned for them, and the recipe it makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dragoman.data.facts import measure
from dragoman.data.lines import plain_name
from dragoman.data.roles import WORDS
from dragoman.errors import RecipeError, UserError
from dragoman.recipe.loading import recipe_from
from dragoman.recipe.plan import Plan
from dragoman.recipe.plan import plan as plan_recipe
from dragoman.recipe.sections import Recipe


def is_data(files: Sequence[str | Path]) -> bool:
    """Tell files of data from a recipe and from a run's folder; a recipe is called .yaml or .yml.

    Raises UserError for a folder of several runs, which differ in their seed.
    """
    path = Path(files[0])
    is_recipe = path.suffix in (".yaml", ".yml") or (path / "recipe.yaml").is_file()
    if is_recipe and len(files) > 1:
        raise RecipeError(
            [f"{path} is a recipe, so {files[1]} has no place beside it; changes are written key=value"]
        )
    _refuse_several(path)
    return not is_recipe and path.exists()


def _refuse_several(folder: Path) -> None:
    """Refuse a folder of several seeds where one run is wanted."""
    if (folder / "seed-1" / "recipe.yaml").is_file():
        raise UserError(
            f"{folder} holds runs of several seeds: --seeds N goes on with all, {folder / 'seed-1'} is one"
        )


def plan(*files: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Look at data and choose a recipe, with the reason for every choice.

    Takes a table of pairs, two parallel files (the source first), a list of recordings, a file of series, or
    a folder of such; files called dev and test are found beside those called train, or named too. Raises
    DataError and UserError for data that are not understood.
    """
    found = plan_recipe(measure([str(file) for file in files]))
    return found.changed(overrides) if overrides else found


def recipe_of(planned: Plan, files: Sequence[str | Path]) -> Recipe:
    """Make the recipe of a plan; its run is called after the data."""
    path = Path(files[0]).absolute()
    name = path.name if path.is_dir() else plain_name(path).partition(".")[0]
    name = path.parent.name if name in WORDS else name
    return recipe_from({"run": str(Path("runs", name or "data")), **planned.mapping})
