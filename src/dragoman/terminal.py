"""What the command line reads and prints: inputs from files and standard input, answers, forecasts.

Imports what is heavy only where it is needed, so that `--help` comes at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from dragoman.errors import DataError, UserError

if TYPE_CHECKING:
    from dragoman.api import Bundle, Device
    from dragoman.evaluation.evaluate import Report
    from dragoman.recipe.data import Parallel, Table
    from dragoman.records import Example, Prediction, Value


def one_file(files: list[str]) -> str | None:
    """Return the one file given, if any."""
    if len(files) > 1:
        raise UserError(f"expected one file, found {', '.join(files)}; overrides are written key=value")
    return files[0] if files else None


def inputs_of(files: list[str]) -> Iterator[Iterable[Example]]:
    """Yield streams of inputs; a person at a terminal gets each line answered at once."""
    name = one_file(files)
    if name is None or name == "-":
        if not sys.stdin.isatty():
            yield _piped()
            return
        typer.echo("one input a line; Ctrl-D ends", err=True)
        for number, line in enumerate(sys.stdin, 1):
            yield [_example(number, line.rstrip("\n"), "", "standard input", False)]
        return
    from dragoman.data.lines import find_file, plain_name, read_lines

    path = find_file(Path(), name)
    is_json = plain_name(path).endswith((".jsonl", ".ndjson"))
    yield (_example(line.number, line.text, line.fault, name, is_json) for line in read_lines(path))


def sounds_of(files: list[str]) -> Iterator[Iterable[Example]]:
    """Take sound files as inputs; any other file, or standard input, names one a line."""
    from dragoman.data.audio import ENDINGS
    from dragoman.records import Example

    names = [name for name in files if name.partition("#t=")[0].lower().endswith(ENDINGS)]
    if len(names) < len(files) or not files:
        yield from inputs_of(files)
    else:
        yield [Example(name, id=name) for name in names]


def _piped() -> Iterator[Example]:
    """Read one source a line from standard input, split on line feeds only."""
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            text, fault = raw.decode("utf-8"), ""
        except UnicodeDecodeError:
            text, fault = raw.decode("utf-8", "backslashreplace"), "bad utf-8"
        yield _example(number, text.removesuffix("\n").removesuffix("\r"), fault, "standard input", False)


def _example(number: int, text: str, fault: str, name: str, is_json: bool) -> Example:
    """Make an example of a line; a line that cannot be read ends the stream with its place."""
    from dragoman.records import Example, Origin

    origin = Origin(name, number)
    if fault:
        raise DataError(f"{origin}: {fault}: {text[:60]!r}; convert or remove the line")
    return Example(_source_of(text, origin) if is_json else text, id=str(number), origin=origin)


def _source_of(text: str, origin: object) -> str:
    """Take the source out of a JSON line."""
    try:
        source = json.loads(text)["source"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{origin}: expected an object like {{"source": "..."}}, found {text[:60]!r}'
        ) from error
    if not isinstance(source, str):
        raise DataError(f"{origin}: expected `source` to be a string, found {source!r}")
    return source


def print_prediction(prediction: Prediction, as_json: bool, several: bool) -> None:
    """Print the answers to one input."""
    from dragoman.data.number_codec import series_of
    from dragoman.data.portable import shown
    from dragoman.data.series_text import written

    if prediction.forecast is not None:
        answer = shown(prediction.values[0])
        if as_json:
            print_json({"id": prediction.example.id, "answer": answer})
        else:
            print_line(written(series_of(prediction.values[0])))
        return
    answers = list(zip(prediction.values, prediction.hypotheses, strict=True))
    if as_json:
        rows = [
            {"answer": value, "score": h.score, "is_finished": h.is_finished, "log_probs": list(h.log_probs)}
            for value, h in answers
        ]
        source = shown(prediction.example.source)
        print_json({"id": prediction.example.id, "source": source, "answers": rows})
    elif several:
        for value, hypothesis in answers:
            print_line(f"{hypothesis.score:.4f}\t{_one_line(value)}")
    else:
        print_line(_one_line(prediction.values[0]))


def _one_line(value: Value) -> str:
    """Keep one answer on one line: line feeds inside become spaces."""
    from dragoman.records import text_of

    return text_of(value).replace("\n", " ")


def print_json(row: dict[str, Any]) -> None:
    """Print one JSON object on a line."""
    print_line(json.dumps(row, ensure_ascii=False))


def print_line(text: str) -> None:
    """Print UTF-8 whatever the locale, and let a reader at the other end of a pipe see it now."""
    sys.stdout.buffer.write(text.encode("utf-8") + b"\n")
    sys.stdout.buffer.flush()


def print_forecasts(
    bundle: Bundle, files: list[str], changes: Sequence[str], horizon: int | None, chart: str | None
) -> None:
    """Print what follows the end of each series in files as CSV; draw the first of them on request."""
    from dragoman.data.number_codec import series_of
    from dragoman.data.series_text import series_csv
    from dragoman.decoding.forecast import in_data_units

    if not files:
        raise UserError("expected a file of series, as those of training: dragoman predict RUN series.csv")
    found = bundle.forecast(files, *changes, horizon=horizon)
    codec = bundle.codecs.target
    quantiles = [
        {level: in_data_units(codec, frames, one.example.source) for level, frames in bands.items()}
        for one in found
        if (bands := one.forecast.quantiles if one.forecast else {})
    ]
    points = [series_of(one.values[0]) for one in found]
    print_line(series_csv(points, quantiles).rstrip("\n"))
    if chart is not None:
        from dragoman.explanation.pictures import fan_chart

        first = series_of(found[0].example.source)
        fan_chart(Path(chart), first, None, points[0].values, quantiles[0] if quantiles else {})
        typer.echo(f"chart: {chart}", err=True)


def print_seeds(recipe: str, changes: Sequence[str], seeds: int, split: Literal["dev", "test"]) -> None:
    """Train a recipe with several seeds and print how far its scores spread."""
    from dragoman.api import train_seeds
    from dragoman.training.seeds import SEEDS, format_seeds

    found = train_seeds(recipe, *changes, seeds=seeds, split=split)
    print_line(format_seeds(found))
    typer.echo(f"scores: {Path(found.runs[0]).parent / SEEDS}", err=True)


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
    device: Device,
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
    device: Device,
    *,
    as_json: bool,
) -> None:
    """Write the page of a run, and print its numbers on request."""
    files, changes = words
    if files:
        raise UserError(f"report: expected key=value after the run, found {', '.join(files)}")
    from dragoman.api import report
    from dragoman.explanation.report.page import as_html
    from dragoman.explanation.report.report_json import as_json as numbers_of

    found = report(run, *changes, split=split, device=device)
    path = Path(out) if out is not None else Path(run) / "report.html"
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
    if picture_format not in (None, "png", "svg"):
        raise UserError(f"--picture-format: expected png or svg, found {picture_format!r}")
    from dragoman.explanation.evaluation_pictures import draw_evaluation
    from dragoman.explanation.pictures import check_drawing

    check_drawing()
    form: Any = picture_format or "png"
    return lambda bundle, report: draw_evaluation(
        bundle, report, Path(folder), form, 4 if count is None else count
    )
