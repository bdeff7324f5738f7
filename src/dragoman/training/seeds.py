"""One recipe trained with several seeds: how much of a score is the recipe's, and how much is luck."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from dragoman.bundle import MANIFEST, Bundle
from dragoman.data.prepare import read_split
from dragoman.data.rejects import Rejects
from dragoman.errors import CheckpointError, Interrupted, UserError
from dragoman.evaluation.evaluate import Report, evaluate, write_report
from dragoman.evaluation.overlap import find_overlap
from dragoman.recipe.loading import load_recipe, recipe_from
from dragoman.recipe.sections import Recipe
from dragoman.training.checkpoint import write_whole
from dragoman.training.progress import telling
from dragoman.training.resuming import RECIPE, differences, with_batch_tokens
from dragoman.training.train import train

SEEDS = "seeds.json"


@dataclass(frozen=True, slots=True)
class Spread:
    """One metric over seeds: its values in the order of the seeds, their mean and standard deviation.

    The deviation is that of a sample: its square divides by one less than there are seeds.
    """

    label: str
    values: tuple[float, ...]
    mean: float
    deviation: float
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class Seeds:
    """What several trainings of one recipe scored on one set of examples; `runs` are their folders."""

    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    split: str
    examples: int
    metrics: tuple[Spread, ...]


def train_seeds(
    recipe: Recipe,
    count: int,
    split: Literal["dev", "test"] = "dev",
    *,
    say: Callable[[str], None] | None = None,
) -> Seeds:
    """Train a recipe `count` times, with its seed and those that follow, and score every bundle.

    The runs lie in `seed-1`, `seed-2` and so on below the recipe's `run`, the scores in seeds.json. A run
    that was stopped goes on, and one that is finished is only scored. What the first run finds for
    `batch_tokens: auto` holds for all. Raises what `train` does, and, before anything is trained, UserError
    where there is nothing to score or the folder holds a run of its own, and CheckpointError where a folder
    below holds a run of another recipe.
    """
    if count < 2:
        raise UserError(f"{count} seeds have no deviation: expected 2 or more")
    _refuse_single_run(Path(recipe.run))
    recipes = [_with_seed(recipe, number) for number in range(1, count + 1)]
    _refuse_other_runs(recipes)
    examples = read_split(recipe, split, Rejects(strict=recipe.data.strict))
    if not examples:
        raise UserError(f"the recipe names no {split} set to score seeds on")
    overlap = find_overlap(recipe, examples)
    reports: list[Report] = []
    for number, each in enumerate(recipes, 1):
        bundle = _trained(each, number, count, say)
        found_tokens = bundle.recipe.training.batch_tokens
        assert isinstance(found_tokens, int), "a finished run has found its batch"
        recipes[number:] = [with_batch_tokens(later, found_tokens) for later in recipes[number:]]
        reports.append(evaluate(bundle, examples, overlap=overlap))
        write_report(reports[-1], Path(each.run) / "evaluation" / split)
    found = Seeds(
        tuple(each.seed for each in recipes),
        tuple(each.run for each in recipes),
        split,
        len(examples),
        _spreads(reports),
    )
    write_whole(Path(recipe.run) / SEEDS, json.dumps(asdict(found), indent=2) + "\n")
    return found


def recipe_of_begun(folder: str | Path, overrides: Sequence[str] = ()) -> Recipe | None:
    """Read what is trained in a folder of several seeds; None where it is another folder, or none."""
    path = Path(folder, "seed-1", RECIPE)
    return load_recipe(path, [f"run={json.dumps(str(folder))}", *overrides]) if path.is_file() else None


def _with_seed(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of one of the runs, counted from 1."""
    changed = {"seed": recipe.seed + number - 1, "run": str(Path(recipe.run) / f"seed-{number}")}
    return recipe_from({**recipe.model_dump(exclude_unset=True), **changed})


def _refuse_single_run(folder: Path) -> None:
    if any((folder / name).exists() for name in (MANIFEST, "checkpoints", "log.jsonl")):
        raise UserError(
            f"{folder} holds a single run already; runs of several seeds need a folder of their own: "
            f"run={folder}-seeds"
        )


def _refuse_other_runs(recipes: Sequence[Recipe]) -> None:
    """Find out before the first training what would stop the last."""
    for recipe in recipes:
        path = Path(recipe.run) / RECIPE
        if not path.is_file():
            continue
        before = load_recipe(path)
        tokens, now = before.training.batch_tokens, recipe
        if recipe.training.batch_tokens == "auto" and isinstance(tokens, int):
            now = with_batch_tokens(recipe, tokens)
        differing = differences(before.model_dump(mode="json"), now.model_dump(mode="json"))
        if differing:
            raise CheckpointError(
                f"{path.parent} holds a run of another recipe; these keys differ:\n  "
                + "\n  ".join(differing)
                + "\nput them back, or give another `run`"
            )


def _trained(recipe: Recipe, number: int, count: int, say: Callable[[str], None] | None) -> Bundle:
    with telling(say) as teller:
        teller.say(f"seed {recipe.seed} ({number} of {count})")
    try:
        return train(recipe, say=say)
    except Interrupted as stop:
        raise Interrupted(f"{stop}\nor with all {count} seeds: the same command as before") from stop


def _spreads(reports: Sequence[Report]) -> tuple[Spread, ...]:
    first = reports[0]
    columns = [
        (score.label, [report.scores[place].value for report in reports], score.higher_is_better)
        for place, score in enumerate(first.scores)
    ]
    losses = [report.loss for report in reports if report.loss is not None]
    if len(losses) == len(reports):
        columns.append(("loss", losses, False))
    return tuple(
        Spread(label, tuple(values), fmean(values), stdev(values), rising)
        for label, values, rising in columns
    )


def format_seeds(found: Seeds) -> str:
    """Write the scores for the console: a line a metric, the mean, the deviation, and every value."""
    named = ", ".join(map(str, found.seeds))
    lines = [
        f"{len(found.seeds)} seeds ({named}) on {found.split}, {found.examples:,} examples: mean, standard "
        "deviation of one training, and every value"
    ]
    width = max((len(one.label) for one in found.metrics), default=0)
    for one in found.metrics:
        digits = 2 if abs(one.mean) >= 10 else 4
        values = "  ".join(f"{value:.{digits}f}" for value in one.values)
        lines.append(f"{one.label:<{width}}  {one.mean:.{digits}f} ± {one.deviation:.{digits}f}  ({values})")
    return "\n".join(lines)
