"""Verbs that answer: predictions, scores of given answers, where answers come from."""

from __future__ import annotations

import gc
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dragoman.cli.options import (
    AsJson,
    Device,
    LanguageModel,
    LanguageModelWeight,
    Methods,
    Others,
    Pairs,
    RunFolder,
    SourceFile,
    TargetFiles,
    Terminology,
    Words,
    Workers,
)
from dragoman.errors import RecipeError, UserError
from dragoman.terminal import (
    beam_changes,
    check_writable,
    data_of,
    device_of,
    inputs_of,
    lm_options,
    methods_of,
    print_forecasts,
    print_json,
    print_line,
    print_prediction,
    sorted_words,
    sounds_of,
)

if TYPE_CHECKING:
    from dragoman.api import Bundle
    from dragoman.api import Device as Place
    from dragoman.explanation.explanation import Explanation
    from dragoman.recipe.data import Parallel, Table
    from dragoman.records import Example


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
    check_writable("--chart", chart)
    if chart is not None and not chart.lower().endswith((".png", ".svg")):
        raise UserError(f"--chart: expected FILE.png or FILE.svg, found {chart!r}")
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


def score(
    run: RunFolder,
    pairs: Pairs = None,
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


def explain(
    run: RunFolder,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A text, a sound file, a file of series.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Explain this answer, not the model's own.")
    ] = None,
    methods: Methods = None,
    step: Annotated[int | None, typer.Option("--step", min=1, help="Contrast this token alone.")] = None,
    foil: Annotated[str | None, typer.Option("--foil", help="Why not this, at --step?")] = None,
    series: Annotated[str | None, typer.Option("--series", help="Which series of a file.")] = None,
    page: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write a page that shows it all.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Measure which method to trust; takes some seconds.")
    ] = False,
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
    chosen = methods_of(methods or [], "usual" if page is None else "quick")
    check_writable("--html", page)
    from dragoman.api import load

    bundle = load(run, device_of(device))
    example = explained_input(bundle, source, series)
    found = bundle.explain(
        example, *changes, target=target, methods=chosen, step=step, foil=foil, trust=trust
    )
    show_explanation(found, page, as_json)


def align(
    run: RunFolder,
    pairs: Pairs = None,
    source: SourceFile = None,
    target: TargetFiles = None,
    method: Annotated[
        str, typer.Option("--method", help="What says it: attention, occlusion...")
    ] = "attention",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Share that links both ways.")
    ] = None,
    gold: Annotated[str | None, typer.Option("--gold", help="File of true links: print the error.")] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Print which words belong together, `0-0 1-2` a pair: the number of a source word, of a target word.

    dragoman align runs/x --source test.en --target test.de
    """
    data = data_of(pairs, source, target)
    print_alignments(run, data, method, threshold, gold, device_of(device), as_json=as_json)


def print_alignments(
    run: str,
    data: Parallel | Table | None,
    method: str,
    threshold: float | None,
    gold: str | None,
    device: Place,
    *,
    as_json: bool,
) -> None:
    """Print the word alignment of each pair, and how wrong they are where the true ones are given."""
    from dragoman.api import load
    from dragoman.data.corpus import read_corpus
    from dragoman.data.pharaoh import written
    from dragoman.data.rejects import Rejects
    from dragoman.evaluation.alignment import alignment_error_rate, read_links
    from dragoman.explanation.alignment import alignments
    from dragoman.explanation.attribution import METHODS

    if data is None:
        raise UserError("nothing to align: give PAIRS, or --source and --target")
    chosen = next((known for known in METHODS if known == method), None)
    if chosen is None:
        raise UserError(f"--method: expected one of {', '.join(METHODS)}, found {method!r}")
    annotated = None if gold is None else read_links(Path(gold))
    read, given = tee(read_corpus(data, Path.cwd(), Rejects(strict=True)))
    found = []
    for example, one in zip(read, alignments(load(run, device), given, chosen, threshold), strict=True):
        found.append(one.links)
        if as_json:
            words = {"source_words": one.source_words, "target_words": one.target_words}
            print_json({"id": example.id, **words, "links": one.links, "weights": one.weights_JI.tolist()})
        else:
            print_line(written(one.links))
    if annotated is not None:
        score = alignment_error_rate(found, annotated)
        typer.echo(
            f"alignment error rate {score.error_rate:.1%}; precision {score.precision:.1%}, "
            f"recall {score.recall:.1%}",
            err=True,
        )


def explained_input(bundle: Bundle, text: str, series: str | None) -> Example:
    """Take what is to be explained: a text, a sound file, or a file of series, of one the last window."""
    from dragoman.data.series_entries import examples_to_come, is_of_series, windows_of
    from dragoman.records import Example

    if not is_of_series(bundle.recipe):
        if series is not None:
            raise UserError("--series is for models of series")
        return Example(text, id=text if bundle.recipe.source.kind == "speech" else "")
    found = examples_to_come(bundle.recipe, [text], windows_of(bundle.recipe).horizon)
    chosen = [one for one in found if series is None or one.id == series]
    if len(chosen) != 1:
        names = ", ".join(one.id for one in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(f"{text}: name one of its {len(found):,} series with --series: {names}")
    return chosen[0]


def show_explanation(explanation: Explanation, page: str | None, as_json: bool) -> None:
    """Print an explanation, and write its page on request."""
    from dragoman.explanation import explanation_json, explanation_text
    from dragoman.explanation.page.page import as_html

    if as_json:
        print_json(explanation_json.as_json(explanation))
    else:
        print_line(explanation_text.as_text(explanation))
    if page is not None:
        Path(page).parent.mkdir(parents=True, exist_ok=True)
        Path(page).write_text(as_html(explanation), encoding="utf-8", newline="\n")
        typer.echo(f"page: {page}", err=True)
