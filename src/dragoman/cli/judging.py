"""Verbs that judge: scores, comparisons, the report of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dragoman.cli.options import (
    AsJson,
    Device,
    LanguageModel,
    LanguageModelWeight,
    LooksForOverlap,
    Methods,
    Others,
    PictureCount,
    PictureFormat,
    Pictures,
    RunFolder,
    SourceFile,
    TargetFiles,
    Terminology,
    Words,
    Workers,
)
from dragoman.errors import UserError
from dragoman.terminal import (
    check_writable,
    data_of,
    device_of,
    lm_options,
    methods_of,
    one_file,
    print_json,
    print_line,
    sorted_words,
    split_of,
)

if TYPE_CHECKING:
    from dragoman.api import Bundle
    from dragoman.api import Device as Place
    from dragoman.evaluation.evaluate import Report
    from dragoman.explanation.attribution import Method
    from dragoman.explanation.explanation import Group
    from dragoman.recipe.data import Parallel, Table


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
    picture_format: PictureFormat = None,
    picture_count: PictureCount = None,
    overlap: LooksForOverlap = True,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Score a run, each score with its confidence interval, and write the predictions beside the scores.

        dragoman evaluate runs/x --source test.en --target test.de 'evaluation.metrics=[bleu, chrf]'

    Without data it takes the test set of the recipe. Pictures show where a decoder looked, under a
    spectrogram where sources are speech, and forecasts against what came.
    """
    files, changes = sorted_words(words)
    draw = drawing(pictures, picture_format, picture_count)
    chosen = split_of(split)
    data = data_of(one_file(files), source, target)
    check_writable("--out", out, is_folder=True)
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
    name = "-with-".join([data_name, *(Path(other).resolve().name for other in others or ())])
    folder = Path(out) if out else Path(run) / "evaluation" / name
    write_report(report, folder)
    print_line((folder / "scores.json").read_text("utf-8").rstrip() if as_json else format_scores(report))
    typer.echo(f"scores and predictions: {folder}", err=True)
    if draw is not None:
        typer.echo("pictures: " + ", ".join(map(str, draw(bundle, report))), err=True)


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


def report(
    run: RunFolder,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    split: Annotated[str, typer.Option("--split", help="Which set of the recipe: test or dev.")] = "test",
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="RUN/report.html if none.")] = None,
    trust: Annotated[
        int | None,
        typer.Option("--trust", min=0, help="Examples to measure methods of explanation on; 8 by default."),
    ] = None,
    trust_seconds: Annotated[
        float | None,
        typer.Option("--trust-seconds", min=0, help="Begin no further example after so long."),
    ] = None,
    methods: Methods = None,
    others: Others = None,
    workers: Workers = 1,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Write a page about a run: scores, where it is good, how sure, what looks made up, data, training.

        dragoman report runs/x --out report.html

    Answers that evaluate wrote are taken where they are still those of the model. --json prints the numbers.
    --method names what --trust measures: all but integrated gradients, which take long, by default.
    """
    if trust == 0 and (methods or trust_seconds is not None):
        raise UserError(
            "--method and --trust-seconds have no effect with --trust 0, which measures no method"
        )
    if others and (trust or methods or trust_seconds is not None):
        raise UserError(
            "--trust, --trust-seconds and --method have no effect with --with: name one run to have it "
            "explained"
        )
    words, chosen = sorted_words(overrides), methods_of(methods or [], "quick")
    place, named = device_of(device), split_of(split)
    print_report(
        run, words, named, out, place, workers, (trust, trust_seconds), chosen, others or [], as_json=as_json
    )


def systems_of(files: list[str]) -> tuple[list[str], list[str]]:
    """Tell what can be compared from files of examples."""
    from dragoman.evaluation.systems import is_system

    systems = [name for name in files if is_system(Path(name))]
    return systems, [name for name in files if name not in systems]


def print_comparison(
    systems: list[str],
    changes: Sequence[str],
    data: Parallel | Table | None,
    split: Literal["test", "dev"],
    worst: int,
    device: Place,
    workers: int,
    *,
    as_json: bool,
) -> None:
    """Compare systems and print what is found."""
    from dragoman.api import compare
    from dragoman.evaluation.comparison import comparison_json, format_comparison

    found = compare(systems, *changes, data=data, split=split, worst=worst, device=device, workers=workers)
    if as_json:
        print_json(comparison_json(found))
    else:
        print_line(format_comparison(found))


def print_report(
    run: str,
    words: tuple[list[str], list[str]],
    split: Literal["test", "dev"],
    out: str | None,
    device: Place,
    workers: int,
    trust: tuple[int | None, float | None],
    methods: Sequence[Method] | Group,
    others: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Write the page of a run, and print its numbers on request; `trust` is how many examples and seconds."""
    files, changes = words
    if files:
        raise UserError(f"report: expected key=value after the run, found {', '.join(files)}")
    check_writable("--out", out)
    from dragoman.api import report
    from dragoman.explanation.report.page import as_html
    from dragoman.explanation.report.report_json import as_json as numbers_of
    from dragoman.explanation.report.weighing import EXAMPLES

    count, seconds = trust
    found = report(
        run,
        *changes,
        split=split,
        device=device,
        others=others,
        workers=workers,
        trust=EXAMPLES if count is None else count,
        trust_seconds=seconds,
        methods=methods,
    )
    name = "-with-".join(["report", *(Path(other).resolve().name for other in others)])
    path = Path(out) if out is not None else Path(run) / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_html(found), encoding="utf-8", newline="\n")
    if as_json:
        print_json(numbers_of(found))
    typer.echo(f"report: {path}", err=True)


def drawing(
    folder: str | None, picture_format: str | None, count: int | None
) -> Callable[[Bundle, Report], list[Path]] | None:
    """Say how to draw an evaluation, if that is asked for; what is missing for it is told before the work."""
    if folder is None:
        if picture_format is not None or count is not None:
            raise UserError("--picture-format and --picture-count go with --pictures FOLDER")
        return None
    check_writable("--pictures", folder, is_folder=True)
    if picture_format not in (None, "png", "svg"):
        raise UserError(f"--picture-format: expected png or svg, found {picture_format!r}")
    from dragoman.explanation.evaluation_pictures import draw_evaluation
    from dragoman.explanation.pictures import check_drawing

    check_drawing()
    form: Any = picture_format or "png"
    return lambda bundle, report: draw_evaluation(
        bundle, report, Path(folder), form, 4 if count is None else count
    )
