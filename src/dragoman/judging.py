"""The verbs that say what to think of answers: score, evaluate, explain, compare.

As in `cli.py`, each calls one function of the API, and nothing imports torch at the top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dragoman.errors import RecipeError, UserError
from dragoman.options import (
    AsJson,
    Device,
    LanguageModel,
    LanguageModelWeight,
    Others,
    Pictures,
    RunFolder,
    SourceFile,
    TargetFiles,
    Terminology,
    Words,
    Workers,
)
from dragoman.terminal import (
    data_of,
    device_of,
    drawing,
    explained_input,
    lm_options,
    methods_of,
    one_file,
    print_comparison,
    print_json,
    print_line,
    show_explanation,
    sorted_words,
    split_of,
    systems_of,
)


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


def explain(
    run: RunFolder,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A text, a sound file, a file of series.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Explain this answer, not the model's own.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", help="attention, occlusion, ..., or usual, quick, all; repeatable."),
    ] = None,
    step: Annotated[int | None, typer.Option("--step", min=1, help="Contrast this token alone.")] = None,
    foil: Annotated[str | None, typer.Option("--foil", help="Why not this, at --step?")] = None,
    series: Annotated[str | None, typer.Option("--series", help="Which series of a file.")] = None,
    page: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write a page that shows it all.")
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Say where an answer comes from: what each token was read from, what else was considered, why it lost.

        dragoman explain runs/demo "le 3 mars 2021" --html why.html

    Without --method it takes attention and occlusion, for a page all that the model has but integrated
    gradients, which take long.
    """
    files, changes = sorted_words(words)
    if files:
        raise RecipeError([f"override {word!r}: expected key=value" for word in files])
    chosen = methods_of(methods or [], is_page=page is not None)
    from dragoman.api import load

    bundle = load(run, device_of(device))
    example = explained_input(bundle, source, series)
    found = bundle.explain(example, *changes, target=target, methods=chosen, step=step, foil=foil)
    show_explanation(found, page, as_json)


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
