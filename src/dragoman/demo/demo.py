"""The verb `demo`: write a corpus, train on it, evaluate on held-out dates, show answers, save pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from dragoman.api import Bundle, train
from dragoman.data.text import TextCodec
from dragoman.demo.dates import WrittenDate, written_dates
from dragoman.errors import MissingExtra
from dragoman.evaluation.evaluate import Report, format_scores, scores_by, write_report
from dragoman.evaluation.scored_set import read_examples
from dragoman.explanation.pictures import attention_picture, learning_curve
from dragoman.recipe.loading import load_recipe
from dragoman.records import text_of

TRAIN_DATES, DEV_DATES, TEST_DATES = 40_000, 1_000, 2_000
CORPUS_SEED = 20210303
TRIED = (
    "le 3 mars 2021",
    "Mittwoch, den 7. Okt 1987",
    "२३ मार्च २०१९",
    "31 de deciembre de 1999",
    "2008年8月8日",
)
"""Dates that a visitor might type: in digits of another script, misspelt, in the middle of words."""


def demo(run: Path) -> Bundle:
    """Run the embedded task from nothing to a bundle in `run`, and say what to try next.

    Training that was stopped continues; a finished demo is evaluated again.
    """
    console = Console(highlight=False)
    languages = write_corpus(run / "data")
    console.rule("[bold]1 of 4  data")
    spoken = len(set(languages.values()))
    console.print(f"{TRAIN_DATES:,} dates in {spoken} languages, and what they mean: {run / 'data'}")
    for line in itertools.islice(_lines(run / "data" / "train.tsv"), 5):
        console.print("   " + line.replace("\t", "  →  "), markup=False)
    console.rule("[bold]2 of 4  training")
    recipe = load_recipe(_recipe_file(run), [f"data.folder={run / 'data'}", f"run={run}"])
    bundle = train(recipe)
    console.rule("[bold]3 of 4  evaluation on dates never seen")
    report = bundle.evaluate(read_examples(bundle.recipe, (), None, "test"))
    write_report(report, run / "evaluation" / "test")
    console.print(format_scores(report), markup=False)
    console.print(_by_language(bundle, report, languages))
    console.rule("[bold]4 of 4  answers and pictures")
    for source, answer in zip(TRIED, bundle.predict(TRIED), strict=True):
        console.print(f"   {source}  →  [bold]{answer}[/bold]")
    _draw(bundle, run, console)
    _say_what_next(run, console)
    return bundle


def write_corpus(folder: Path) -> dict[str, str]:
    """Write train.tsv, dev.tsv and test.tsv, and return the language of each test source.

    No source stands in two of the files: each text is used once.
    """
    distinct = _distinct(written_dates(CORPUS_SEED))
    folder.mkdir(parents=True, exist_ok=True)
    test = list(itertools.islice(distinct, TEST_DATES))
    _write_pairs(folder / "test.tsv", test)
    _write_pairs(folder / "dev.tsv", list(itertools.islice(distinct, DEV_DATES)))
    _write_pairs(folder / "train.tsv", list(itertools.islice(distinct, TRAIN_DATES)))
    return {date.text: date.language for date in test}


def _distinct(dates: Iterable[WrittenDate]) -> Iterator[WrittenDate]:
    """Pass each text once."""
    seen: set[str] = set()
    for date in dates:
        if date.text not in seen:
            seen.add(date.text)
            yield date


def _write_pairs(path: Path, dates: list[WrittenDate]) -> None:
    """Write source, target and language, a date a line."""
    path.write_text("".join(f"{date.text}\t{date.iso}\t{date.language}\n" for date in dates), "utf-8")


def _lines(path: Path) -> list[str]:
    """Read the first two columns of a file of pairs."""
    return ["\t".join(line.split("\t")[:2]) for line in path.read_text("utf-8").split("\n")[:-1]]


def _recipe_file(run: Path) -> Path:
    """Put the demo's recipe beside its data, where a person can read and change it."""
    path = run / "data" / "recipe.yaml"
    path.write_text(files("dragoman.demo").joinpath("recipe.yaml").read_text("utf-8"), "utf-8")
    return path


def _by_language(bundle: Bundle, report: Report, languages: dict[str, str]) -> RichTable:
    """Make a table of exact match by language."""
    table = RichTable(title="exact match by language", title_justify="left", box=None)
    for heading in ("language", "dates", "exact match %", "95% interval"):
        table.add_column(heading, justify="left" if heading == "language" else "right")
    metric = bundle.recipe.evaluation.metrics[0]
    rows = scores_by(report, lambda p: languages[text_of(p.example.source)], metric, bundle.recipe.evaluation)
    for language, (count, score) in sorted(rows.items()):
        table.add_row(language, str(count), f"{score.value:.1f}", f"{score.low:.1f} to {score.high:.1f}")
    return table


def _draw(bundle: Bundle, run: Path, console: Console) -> None:
    """Save the learning curve and where the decoder looked while it wrote one date."""
    pictures = run / "pictures"
    try:
        learning_curve(run / "log.jsonl", pictures / "learning_curve.png")
        prediction = next(bundle.predictions([TRIED[1]], reads=True))
        best = prediction.hypotheses[0]
        assert best.reads is not None, "the demo's decoder attends"
        codec = bundle.codecs.source
        assert isinstance(codec, TextCodec), "the demo reads text"
        source = codec.pieces(codec.encode(TRIED[1]).tolist())
        target = bundle.codecs.text.pieces(list(best.tokens))
        attention_picture(best.reads, source, target, pictures / "attention.png")
        console.print(f"pictures: {pictures / 'learning_curve.png'}, {pictures / 'attention.png'}")
    except MissingExtra as error:
        console.print(f"no pictures: {error}", markup=False)


def _say_what_next(run: Path, console: Console) -> None:
    """Point to the next steps."""
    console.rule("[bold]try next")
    other = "model.encoder.kind=transformer model.decoder.kind=transformer"
    for command in (
        f'echo "le 3 mars 2021" | dragoman predict {run}',
        f'echo "3 mars 21" | dragoman predict {run} --nbest 3',
        f"dragoman check {run}",
        f"dragoman train {run}/data/recipe.yaml run=runs/mine {other}",
    ):
        console.print(f"   {command}", markup=False, soft_wrap=True)
