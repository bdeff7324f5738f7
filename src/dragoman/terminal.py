"""What the command line reads and prints: inputs from files and standard input, answers, forecasts.

Imports what is heavy only where it is needed, so that `--help` comes at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dragoman.errors import DataError, UserError

if TYPE_CHECKING:
    from dragoman.api import Bundle
    from dragoman.explanation.explanation import Group
    from dragoman.recipe.data import Parallel, Table
    from dragoman.records import Example, Prediction, Value


OVERRIDE = re.compile(r"[a-z][a-z0-9_]*([.\[][a-z0-9_\]]+)*=")
"""What tells `decoding.beam=3` from the name of a file."""


def sorted_words(words: list[str] | None) -> tuple[list[str], list[str]]:
    """Tell files from `key=value` overrides; what exists as a file is a file."""
    files: list[str] = []
    changes: list[str] = []
    for word in words or []:
        (changes if OVERRIDE.match(word) and not Path(word).exists() else files).append(word)
    return files, changes


def split_of(name: str) -> Any:
    """Check the name of a set of examples."""
    if name not in ("test", "dev"):
        raise UserError(f"--split: expected test or dev, found {name!r}")
    return name


def methods_of(names: Sequence[str], default: Group) -> Any:
    """Check names of methods of explanation, or the name of a group."""
    from dragoman.explanation.attribution import METHODS
    from dragoman.explanation.explanation import GROUPS

    if len(names) == 1 and names[0] in GROUPS:
        return names[0]
    wrong = [name for name in names if name not in METHODS]
    if wrong:
        known = f"{', '.join(METHODS)}, or {', '.join(GROUPS)} alone"
        raise UserError(f"--method: expected {known}; found {wrong[0]!r}")
    return list(names) or default


def device_of(name: str) -> Any:
    """Check the name of a device."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device: expected auto, cpu or cuda, found {name!r}")
    return name


def check_writable(option: str, name: str | None, *, is_folder: bool = False) -> None:
    """Refuse before the work a place that cannot be written after it."""
    if name is None:
        return
    path = Path(name)
    if path.exists() and path.is_dir() != is_folder:
        wanted, found = ("a folder", "a file") if is_folder else ("the name of a file", "a folder")
        raise UserError(f"{option}: expected {wanted} to write, found {found}: {name}")
    there = next(above for above in (path, *path.absolute().parents) if above.exists())
    if there != path and not there.is_dir():
        raise UserError(f"{option}: {there} is a file, so {name} cannot be written")
    if not os.access(there, os.W_OK):
        raise UserError(f"{option}: {there} is closed to writing, so {name} cannot be written")


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
    """Print what follows the end of each series in files as CSV; draw them on request."""
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
        from dragoman.explanation.forecast_pictures import draw_forecasts

        drawn = draw_forecasts(bundle, found, Path(chart))
        more = f", the first {drawn} of {len(found):,} series" if drawn < len(found) else ""
        typer.echo(f"chart: {chart}{more}", err=True)


def beam_changes(beam: int | None, nbest: int | None) -> list[str]:
    """Write --beam and --nbest as overrides."""
    changes = []
    if beam is not None or nbest is not None:
        changes.append("decoding.method=beam")
    if beam is not None:
        changes.append(f"decoding.beam={beam}")
    if nbest is not None:
        changes.append(f"decoding.nbest={nbest}")
    return changes


def data_of(pairs: str | None, source: str | None, targets: list[str] | None) -> Parallel | Table | None:
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


def lm_options(folder: str | None, weight: float | None) -> dict[str, Any]:
    """Read --lm and --lm-weight as what `load` takes."""
    if folder is None:
        if weight is not None:
            raise UserError("--lm-weight goes with --lm RUN")
        return {}
    return {"language_model": folder} | ({} if weight is None else {"language_model_weight": weight})
