"""The command line: one verb a function; each reads a recipe or a bundle and calls one function of the API.

Nothing here imports torch at the top: `--help` answers at once.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Annotated

import typer

from dragoman.errors import UserError
from dragoman.judging import compare, evaluate, explain, score
from dragoman.options import (
    AsJson,
    Device,
    LanguageModel,
    LanguageModelWeight,
    Others,
    RunFolder,
    Terminology,
    Words,
    Workers,
)
from dragoman.terminal import (
    beam_changes,
    device_of,
    inputs_of,
    lm_options,
    print_forecasts,
    print_json,
    print_line,
    print_prediction,
    print_seeds,
    sorted_words,
    sounds_of,
    split_of,
)

app = typer.Typer(
    name="dragoman",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, trust and use sequence-to-sequence models: any sequence in, any sequence out.",
    epilog="Start with `dragoman demo`. With your own data: `dragoman train recipe.yaml`, then "
    "`echo text | dragoman predict runs/NAME`. Any `key=value` changes the recipe for one call. "
    "Exit codes: 0 done, 2 a fault that you can mend, 4 stopped and saved, 5 diverged. "
    "`--debug` shows the traceback of any fault.",
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from dragoman import __version__

        typer.echo(f"dragoman {__version__}")
        raise typer.Exit


@app.command()
def demo(
    run: Annotated[str, typer.Option("--run", help="Folder of the run.")] = "runs/demo",
) -> None:
    """Everything on an embedded task, in minutes: dates as people write them, turned into ISO 8601.

    Writes a corpus, trains, evaluates on held-out dates, shows answers and saves pictures. Downloads nothing.
    """
    from dragoman.demo.demo import demo as run_demo

    run_demo(Path(run))


@app.command()
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
    from dragoman.api import is_data, plan

    if seeds is not None:
        print_seeds(files, changes, seeds, split_of(split or "dev"))
        return
    if split is not None:
        raise UserError("--split goes with --seeds N: a single training scores nothing at its end but dev")
    from dragoman.api import train as train_recipe

    if is_data(files):
        typer.echo(plan(*files, overrides=changes).text(), err=True)
    bundle = train_recipe(files, *changes)
    typer.echo(
        f"the bundle is {bundle.folder}; try: echo 'your text' | dragoman predict {bundle.folder}", err=True
    )


@app.command()
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
    from dragoman.api import plan as plan_files
    from dragoman.api import recipe_of

    planned = plan_files(*names, overrides=changes)
    recipe_of(planned, names)  # what cannot be is refused before it is printed
    print_line(planned.text().rstrip())


@app.command()
def predict(
    run: RunFolder,
    words: Words = None,
    beam: Annotated[int | None, typer.Option("--beam", help="Beam size; 1 is greedy.", min=1)] = None,
    nbest: Annotated[int | None, typer.Option("--nbest", help="Answers to each input.", min=1)] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="What every answer must begin with.")] = None,
    others: Others = None,
    workers: Workers = 1,
    terminology: Terminology = None,
    lm: LanguageModel = None,
    lm_weight: LanguageModelWeight = None,
    horizon: Annotated[
        int | None, typer.Option("--horizon", min=1, help="Steps of a series to forecast.")
    ] = None,
    chart: Annotated[
        str | None, typer.Option("--chart", metavar="FILE", help="Draw a forecast: FILE.png or FILE.svg.")
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Answer each line of a file or of standard input, in order, as answers are ready.

        echo "le 3 mars 2021" | dragoman predict runs/demo

    With --nbest N, N lines come for each input, the score before each answer. A `.jsonl` file gives
    `source` by name. A model of speech takes sound files, `predict RUN a.wav b.flac`, or their names a line;
    a model of series takes their files, and writes CSV: `predict RUN series.csv --horizon 96`.
    """
    files, changes = sorted_words(words)
    changes = [*changes, *beam_changes(beam, nbest)]
    from dragoman.api import load
    from dragoman.model.kernels import hold_memory

    hold_memory()
    bundle = load(run, device_of(device), others=others or (), **lm_options(lm, lm_weight))
    gc.freeze()  # what is here stays: no need to look through it again and again
    several = nbest is not None
    if bundle.recipe.data.windows is not None:
        if as_json or prefix is not None or workers != 1 or terminology is not None:
            raise UserError(
                "--json, --prefix, --workers and --terminology have no effect on forecasts of series"
            )
        print_forecasts(bundle, files, changes, horizon, chart)
        return
    if horizon is not None or chart is not None:
        raise UserError("--horizon and --chart are for models of series")
    for batch in sounds_of(files) if bundle.recipe.source.kind == "speech" else inputs_of(files):
        for prediction in bundle.predictions(
            batch, *changes, prefix=prefix, workers=workers, terminology=terminology
        ):
            print_prediction(prediction, as_json, several)


for _verb in (score, evaluate, explain, compare):
    app.command()(_verb)


@app.command()
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


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors that complete and check YAML."""
    from dragoman.recipe.schema import recipe_schema

    print_line(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
