"""What several verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a trained run, for instance runs/demo.")
]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE] [KEY=VALUE]...", help="A file, and changes of the recipe for this call."),
]
Pairs = Annotated[str | None, typer.Argument(metavar="[PAIRS]", help="TSV, CSV, JSON lines or Parquet.")]
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
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SourceFile = Annotated[str | None, typer.Option("--source", help="File with one source a line.")]
TargetFiles = Annotated[
    list[str] | None, typer.Option("--target", help="File with one target a line; again for more references.")
]
Pictures = Annotated[
    str | None,
    typer.Option("--pictures", metavar="FOLDER", help="Draw learning curve and examples there."),
]
PictureFormat = Annotated[str | None, typer.Option("--picture-format", help="png (the default) or svg.")]
PictureCount = Annotated[
    int | None, typer.Option("--picture-count", help="Examples to draw; 4 by default.", min=0)
]
LooksForOverlap = Annotated[
    bool, typer.Option("--overlap/--no-overlap", help="Look whether the examples were trained on.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help="attention, occlusion, ..., or usual, quick, all; repeatable."),
]
