"""Verbs that make: a plan, a run, a demo; and the doctor, who looks before anything is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dragoman.cli.options import AsJson
from dragoman.errors import UserError
from dragoman.terminal import print_json, print_line, sorted_words, split_of

if TYPE_CHECKING:
    from dragoman.api import Bundle


def demo(
    run: Annotated[str, typer.Option("--run", help="Folder of the run.")] = "runs/demo",
) -> None:
    """Everything on an embedded task, in minutes: dates as people write them, turned into ISO 8601.

    Writes a corpus, trains, evaluates on held-out dates, shows answers and saves pictures. Downloads nothing.
    """
    from dragoman.demo.demo import demo as run_demo

    run_demo(Path(run))


def plan(
    files: Annotated[list[str], typer.Argument(metavar="DATA... [KEY=VALUE]...", help="See below.")],
) -> None:
    """Look at data and print the recipe for it, with the reason for every choice; `train DATA` trains it.

        dragoman plan pairs.tsv > recipe.yaml

        dragoman plan train.en train.de

    DATA is a table of pairs (TSV, CSV, JSON lines, Parquet), two parallel files, a list of recordings, a file
    of series, or a folder of these. Files called dev and test are found beside those called train.
    """
    names, changes = sorted_words(files)
    if not names:
        raise UserError("nothing to look at: give a file of data, dragoman plan pairs.tsv")
    from dragoman.data.planned import plan as plan_files
    from dragoman.data.planned import recipe_of

    planned = plan_files(*names, overrides=changes)
    recipe_of(planned, names)  # what cannot be is refused before it is printed
    print_line(planned.text().rstrip())


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE|DATA", help="A recipe, a run's folder to continue, or data.")
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATA] [KEY=VALUE]...", help="More files of data, changes of the recipe."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Train so many times, and say how far scores spread.", min=2)
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="What --seeds scores: dev (the default) or test.")
    ] = None,
) -> None:
    """Train what a recipe says, or continue where it was stopped; of data, the recipe that `plan` chooses.

        dragoman train recipes/first.yaml model.encoder.layers=4

        dragoman train pairs.tsv

    Ctrl-C saves and says how to continue; a killed run continues from its last checkpoint to the same
    weights. With --seeds N the recipe is trained with N seeds, in seed-1 to seed-N of its run's folder.
    """
    files, changes = sorted_words(words)
    files = [recipe, *files]
    from dragoman.data.planned import is_data, plan

    if seeds is not None:
        print_seeds(files, changes, seeds, split_of(split or "dev"))
        return
    if split is not None:
        raise UserError("--split goes with --seeds N: a single training scores nothing at its end but dev")
    from dragoman.api import train as train_recipe

    if is_data(files):
        typer.echo(plan(*files, overrides=changes).text(), err=True)
    bundle = train_recipe(files, *changes)
    typer.echo(f"the bundle is {bundle.folder}; try: {first_question(bundle)}", err=True)


def first_question(bundle: Bundle) -> str:
    """Return the command that asks a model for the first time."""
    if bundle.recipe.data.windows is not None:
        return f"dragoman predict {bundle.folder} SERIES.csv"
    match bundle.recipe.source.kind:
        case "speech":
            return f"dragoman predict {bundle.folder} SOUND.wav"
        case "numbers":
            return f"echo '1.5 2 3' | dragoman predict {bundle.folder}"
        case "nothing":
            return f"dragoman score {bundle.folder} TEXT"
        case _:
            return f"echo 'your text' | dragoman predict {bundle.folder}"


def check(
    subject: Annotated[str, typer.Argument(metavar="RECIPE|RUN|DATA", help="What the doctor looks at.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[DATA] [KEY=VALUE]...")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Train nothing: no batch is learnt by heart.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The doctor: what is wrong with a machine, a recipe, its data, a run; what it means, and what mends it.

    Of a recipe or data, a batch is learnt by heart too, for a minute at most. Of a run, every file's hash is
    verified, the stored sample is answered again, and its log is read. A recipe is also printed with every
    default. Exit code 2 where there are faults.
    """
    files, changes = sorted_words(words)
    from dragoman.doctor.examination import examine
    from dragoman.doctor.findings import as_rows, as_text, faults_of

    findings = examine([subject, *files], changes, quick)
    for row in as_rows(findings) if as_json else ():
        print_json(row)
    if not as_json:
        is_recipe = subject.endswith((".yaml", ".yml"))
        if is_recipe:
            from dragoman.recipe.loading import dump_recipe, load_recipe

            print_line(dump_recipe(load_recipe(subject, changes)).rstrip())
        typer.echo(as_text(findings), err=is_recipe)
    if faults := faults_of(findings):
        raise UserError("\n".join(f"{one.section}: {one.found}" for one in faults))


def schema() -> None:
    """Print the JSON schema of recipes, for editors that complete and check YAML."""
    from dragoman.recipe.schema import recipe_schema

    print_line(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))


def print_seeds(
    files: Sequence[str], changes: Sequence[str], seeds: int, split: Literal["dev", "test"]
) -> None:
    """Train a recipe with several seeds and print how far its scores spread."""
    from dragoman.api import train_seeds
    from dragoman.training.seeds import SEEDS, format_seeds

    found = train_seeds(files[0] if len(files) == 1 else files, *changes, seeds=seeds, split=split)
    print_line(format_seeds(found))
    typer.echo(f"scores: {Path(found.runs[0]).parent / SEEDS}", err=True)
