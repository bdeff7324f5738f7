"""The program: all verbs under one name, in the order of a day's work.

Nothing here imports torch at the top: `--help` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dragoman.cli.answering import align, explain, predict, score
from dragoman.cli.judging import compare, evaluate, report
from dragoman.cli.making import check, demo, plan, schema, train

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


for verb in (demo, plan, train, predict, score, explain, align, evaluate, compare, report, check, schema):
    app.command()(verb)
