"""The command line: one verb a function; each reads a recipe or a bundle and calls one function of the API.

Nothing here imports torch at the top: `--help` answers at once.
"""

from __future__ import annotations

import gc
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragoman.errors import RecipeError, UserError
from dragoman.terminal import (
    drawing,
    inputs_of,
    one_file,
    print_comparison,
    print_forecasts,
    print_json,
    print_line,
    print_prediction,
    print_report,
    print_seeds,
    sounds_of,
    systems_of,
)

if TYPE_CHECKING:
    from dragoman.recipe.data import Parallel, Table

OVERRIDE = re.compile(r"[a-z][a-z0-9_]*([.\[][a-z0-9_\]]+)*=")
"""What tells `decoding.beam=3` from the name of a file."""

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
        str, typer.Argument(metavar="RECIPE", help="A recipe file, or a run's folder to continue.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes of the recipe.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Train so many times, and say how far scores spread.", min=2)
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="What --seeds scores: dev (the default) or test.")
    ] = None,
) -> None:
    """Train what a recipe says, or continue where it was stopped.

        dragoman train recipes/first.yaml model.encoder.layers=4

    Ctrl-C saves and says how to continue; a killed run continues from its last checkpoint to the same
    weights. With --seeds N the recipe is trained with N seeds, in seed-1 to seed-N of its run's folder.
    """
    files, changes = _sorted_words(overrides)
    if files:
        raise RecipeError([f"override {word!r}: expected key=value" for word in files])
    if seeds is not None:
        print_seeds(recipe, changes, seeds, _split(split or "dev"))
        return
    if split is not None:
        raise UserError("--split goes with --seeds N: a single training scores nothing at its end but dev")
    from dragoman.api import train as train_recipe

    bundle = train_recipe(recipe, *changes)
    typer.echo(
        f"the bundle is {bundle.folder}; try: echo 'your text' | dragoman predict {bundle.folder}", err=True
    )


@app.command()
def predict(
    run: RunFolder,
    words: Words = None,
    beam: Annotated[int | None, typer.Option("--beam", help="Beam size; 1 is greedy.", min=1)] = None,
    nbest: Annotated[int | None, typer.Option("--nbest", help="Answers to each input.", min=1)] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="What every answer must begin with.")] = None,
    others: Others = None,
    workers: Workers = 1,
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
    files, changes = _sorted_words(words)
    changes = [*changes, *_beam_changes(beam, nbest)]
    from dragoman.api import load
    from dragoman.model.kernels import hold_memory

    hold_memory()
    bundle = load(run, _device(device), others=others or ())
    gc.freeze()  # what is here stays: no need to look through it again and again
    several = nbest is not None
    if bundle.recipe.data.windows is not None:
        if as_json or prefix is not None or workers != 1:
            raise UserError("--json, --prefix and --workers have no effect on forecasts of series")
        print_forecasts(bundle, files, changes, horizon, chart)
        return
    if horizon is not None or chart is not None:
        raise UserError("--horizon and --chart are for models of series")
    for batch in sounds_of(files) if bundle.recipe.source.kind == "speech" else inputs_of(files):
        for prediction in bundle.predictions(batch, *changes, prefix=prefix, workers=workers):
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
    data = _data(pairs, source, target)
    if data is None:
        raise UserError("nothing to score: give PAIRS, or --source and --target")
    from dragoman.api import score as score_pairs

    for scored in score_pairs(run, data, _device(device), others=others or ()):
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
    pictures: Annotated[
        str | None,
        typer.Option("--pictures", metavar="FOLDER", help="Draw learning curve and examples there."),
    ] = None,
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
    files, changes = _sorted_words(words)
    draw = drawing(pictures, picture_format, picture_count)
    chosen = _split(split)
    data = _data(one_file(files), source, target)
    from dragoman.api import evaluate_bundle, load
    from dragoman.evaluation.evaluate import format_scores, write_report
    from dragoman.model.kernels import hold_memory

    hold_memory()
    bundle = load(run, _device(device), others=others or ())
    report = evaluate_bundle(bundle, *changes, data=data, split=chosen, workers=workers, overlap=overlap)
    data_name = Path(source or files[0]).name if data else split
    name = "-with-".join([data_name, *(Path(other).resolve().name for other in others or ())])
    folder = Path(out) if out else Path(run) / "evaluation" / name
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
    files, changes = _sorted_words(words)
    systems, others = systems_of(files)
    data = _data(one_file(others), source, target)
    chosen, place = _split(split), _device(device)
    print_comparison(systems, changes, data, chosen, worst, place, workers, as_json=as_json)


@app.command()
def report(
    run: RunFolder,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    split: Annotated[str, typer.Option("--split", help="Which set of the recipe: test or dev.")] = "test",
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="RUN/report.html if none.")] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Write a page about a run: scores, where it is good, how sure, what looks made up, data, training.

        dragoman report runs/x --out report.html

    Answers that evaluate wrote are taken where they are still those of the model. --json prints the numbers.
    """
    print_report(run, _sorted_words(overrides), _split(split), out, _device(device), as_json=as_json)


@app.command()
def check(
    subject: Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe file or a run's folder.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
) -> None:
    """Look whether a recipe says what can be, or whether a bundle is whole and still says what it said.

    For a bundle every file's hash is verified and the stored sample is answered again.
    """
    if Path(subject).is_dir():
        from dragoman.api import check as check_bundle

        complaints = check_bundle(subject)
        if complaints:
            raise UserError("\n".join(complaints))
        print_line(f"{subject}: every hash is right, and the stored sample comes out as when it was saved")
        return
    from dragoman.recipe.loading import dump_recipe, load_recipe

    print_line(dump_recipe(load_recipe(subject, _sorted_words(overrides)[1])).rstrip())
    typer.echo(f"{subject}: the recipe is in order; above it is with every default", err=True)


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors that complete and check YAML."""
    from dragoman.recipe.schema import recipe_schema

    print_line(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))


def _sorted_words(words: list[str] | None) -> tuple[list[str], list[str]]:
    """Tell files from `key=value` overrides; what exists as a file is a file."""
    files: list[str] = []
    changes: list[str] = []
    for word in words or []:
        (changes if OVERRIDE.match(word) and not Path(word).exists() else files).append(word)
    return files, changes


def _beam_changes(beam: int | None, nbest: int | None) -> list[str]:
    """Write --beam and --nbest as overrides."""
    changes = []
    if beam is not None or nbest is not None:
        changes.append("decoding.method=beam")
    if beam is not None:
        changes.append(f"decoding.beam={beam}")
    if nbest is not None:
        changes.append(f"decoding.nbest={nbest}")
    return changes


def _split(name: str) -> Any:
    """Check the name of a set of examples."""
    if name not in ("test", "dev"):
        raise UserError(f"--split: expected test or dev, found {name!r}")
    return name


def _device(name: str) -> Any:
    """Check the name of a device."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device: expected auto, cpu or cuda, found {name!r}")
    return name


def _data(pairs: str | None, source: str | None, targets: list[str] | None) -> Parallel | Table | None:
    """Describe the pairs that the command line names, if it names any."""
    from dragoman.recipe.data import Parallel, Table

    if pairs is not None and (source or targets):
        raise UserError(f"give either {pairs} or --source and --target")
    if bool(source) != bool(targets):
        raise UserError("--source and --target go together")
    if pairs is not None:
        named = pairs.split(".")[1:2] == ["jsonl"] or pairs.endswith((".jsonl", ".parquet"))
        return Table(file=pairs, source="source", target="target") if named else Table(file=pairs)
    return Parallel(source=source, target=tuple(targets)) if source and targets else None
