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
from dragoman.terminal import (
    beam_changes,
    data_of,
    device_of,
    drawing,
    inputs_of,
    lm_options,
    one_file,
    print_comparison,
    print_forecasts,
    print_json,
    print_line,
    print_prediction,
    print_seeds,
    sorted_words,
    sounds_of,
    split_of,
    systems_of,
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

RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a trained run, for instance runs/demo.")
]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE] [KEY=VALUE]...", help="A file, and changes of the recipe for this call."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")]
Others = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="RUN", help="A run of the same vocabulary to answer with; repeatable."),
]
Workers = Annotated[
    int, typer.Option("--workers", help="Processes that answer at the same time, on a CPU.", min=1)
]
Terminology = Annotated[
    str | None,
    typer.Option("--terminology", metavar="FILE", help="TSV: source phrase, target phrase, perhaps `never`."),
]
LanguageModel = Annotated[
    str | None,
    typer.Option("--lm", metavar="RUN", help="A run without a source, whose opinion of answers counts too."),
]
LanguageModelWeight = Annotated[
    float | None, typer.Option("--lm-weight", help="How much it counts; 0.3 by default.")
]
Pictures = Annotated[
    str | None,
    typer.Option("--pictures", metavar="FOLDER", help="Draw learning curve and examples there."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SourceFile = Annotated[str | None, typer.Option("--source", help="File with one source a line.")]
TargetFiles = Annotated[
    list[str] | None, typer.Option("--target", help="File with one target a line; again for more references.")
]


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


@app.command()
def score(
    run: RunFolder,
    pairs: Annotated[
        str | None, typer.Argument(metavar="[PAIRS]", help="TSV, CSV, JSON lines or Parquet.")
    ] = None,
    source: SourceFile = None,
    target: TargetFiles = None,
    others: Others = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Print the log-probability (nats) that the model gives to each target.

    dragoman score runs/demo --source test.en --target test.de
    """
    data = data_of(pairs, source, target)
    if data is None:
        raise UserError("nothing to score: give PAIRS, or --source and --target")
    from dragoman.api import score as score_pairs

    for scored in score_pairs(run, data, device_of(device), others=others or ()):
        for value, given in zip(scored.example.targets, scored.targets, strict=True):
            if as_json:
                row = {"id": scored.example.id, "source": scored.example.source, "target": value}
                print_json(
                    {**row, "score": given.total, "pieces": given.pieces, "log_probs": given.log_probs}
                )
            else:
                print_line(f"{given.total:.4f}\t{value}")


@app.command()
def evaluate(
    run: RunFolder,
    words: Words = None,
    source: SourceFile = None,
    target: TargetFiles = None,
    split: Annotated[str, typer.Option("--split", help="Which set of the recipe: test or dev.")] = "test",
    out: Annotated[str | None, typer.Option("--out", help="Folder for scores and predictions.")] = None,
    others: Others = None,
    workers: Workers = 1,
    terminology: Terminology = None,
    lm: LanguageModel = None,
    lm_weight: LanguageModelWeight = None,
    pictures: Pictures = None,
    picture_format: Annotated[
        str | None, typer.Option("--picture-format", help="png (the default) or svg.")
    ] = None,
    picture_count: Annotated[
        int | None, typer.Option("--picture-count", help="Examples to draw; 4 by default.", min=0)
    ] = None,
    overlap: Annotated[
        bool, typer.Option("--overlap/--no-overlap", help="Look whether the examples were trained on.")
    ] = True,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Score a run, each score with its confidence interval, and write the predictions beside the scores.

        dragoman evaluate runs/x --source test.en --target test.de 'evaluation.metrics=[bleu, chrf]'

    Without data it takes the test set of the recipe. Pictures show where a decoder looked, under a
    spectrogram where sources are speech, and forecasts against what came.
    """
    files, changes = sorted_words(words)
    chosen = split_of(split)
    draw = drawing(pictures, picture_format, picture_count)
    data = data_of(one_file(files), source, target)
    from dragoman.api import evaluate_bundle, load
    from dragoman.evaluation.evaluate import format_scores, write_report
    from dragoman.model.kernels import hold_memory

    hold_memory()
    bundle = load(run, device_of(device), others=others or (), **lm_options(lm, lm_weight))
    report = evaluate_bundle(
        bundle,
        *changes,
        data=data,
        split=chosen,
        workers=workers,
        terminology=terminology,
        overlap=overlap,
    )
    data_name = Path(source or files[0]).name if data else split
    names = [data_name, *(Path(other).resolve().name for other in (*(others or ()), *([lm] if lm else [])))]
    folder = Path(out) if out else Path(run) / "evaluation" / "-with-".join(names)
    write_report(report, folder)
    print_line((folder / "scores.json").read_text("utf-8").rstrip() if as_json else format_scores(report))
    typer.echo(f"scores and predictions: {folder}", err=True)
    if draw is not None:
        typer.echo("pictures: " + ", ".join(map(str, draw(bundle, report))), err=True)


@app.command()
def compare(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [PAIRS] [KEY=VALUE]...",
            help="Folders of runs or predictions that evaluate wrote, the baseline first; perhaps data.",
        ),
    ],
    source: SourceFile = None,
    target: TargetFiles = None,
    split: Annotated[str, typer.Option("--split", help="Which set of the recipes: test or dev.")] = "test",
    worst: Annotated[int, typer.Option("--worst", help="Examples to show that differ most.", min=0)] = 5,
    workers: Workers = 1,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Say whether one system is better than another, or the test set cannot tell: paired tests, every metric.

        dragoman compare runs/x runs/y --source test.en --target test.de

    Systems are runs, which answer the same examples now, or what evaluate wrote, which needs no model:
    `dragoman compare runs/x/evaluation/test runs/y/evaluation/test`.
    """
    files, changes = sorted_words(words)
    systems, others = systems_of(files)
    data = data_of(one_file(others), source, target)
    chosen, place = split_of(split), device_of(device)
    print_comparison(systems, changes, data, chosen, worst, place, workers, as_json=as_json)


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
