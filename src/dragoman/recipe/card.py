"""The model card of a run: what a person should know before using its bundle, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dragoman.recipe.model import Model, NoDecoder
from dragoman.recipe.sections import Recipe

_FRONT_MATTER = ("license", "language")
"""Facts that only a person knows; they head the card when they are given."""

_USE = """```python
import dragoman

bundle = dragoman.load("path/to/this/folder")
print(bundle.predict(["..."])[0])
```"""

_LIMITATIONS = """- It knows the kind of data it was trained on; elsewhere it answers too, perhaps wrongly.
- The scores hold for the data that they name. Intervals show the luck of drawing them, not of training.
- It repeats what its training data says, prejudice and private details included; nobody has looked for these.
- Scores of hypotheses are not calibrated probabilities of being right."""


def model_card(
    recipe: Recipe, parameters: int, metrics: Mapping[str, object], facts: Mapping[str, object]
) -> str:
    """Write the card: what it is, how it was trained, how well it does, how to use it, where it fails.

    `facts` are shown as they come, nested ones by their path; `license` and `language` head the card. Scores
    are found in `metrics` at any depth: objects with `value`, and beside it `low`, `high` and `signature`.
    """
    model = recipe.model
    shown = {name: fact for name, fact in facts.items() if name not in _FRONT_MATTER}
    return (
        "\n\n".join(
            [
                _front_matter(recipe, facts),
                f"# A {_name(model)} model, trained with dragoman",
                f"Reads {recipe.source.kind}, writes {recipe.target.kind}. Trained by `recipe.yaml`.",
                "## Model\n\n" + _table(("part", "what it is"), _parts(recipe, parameters)),
                "## Data and training\n\n" + _table(("fact", "value"), _rows(shown)),
                "## Scores\n\n"
                + _table(("metric", "value", "interval", "signature"), _scores(recipe, metrics)),
                "## How to use it\n\n" + _USE,
                "## Limitations\n\n" + _LIMITATIONS,
            ]
        )
        + "\n"
    )


def _front_matter(recipe: Recipe, facts: Mapping[str, object]) -> str:
    """Write YAML by way of JSON, which is YAML that needs no quoting rules."""
    head: dict[str, object] = {name: facts[name] for name in _FRONT_MATTER if name in facts}
    head["library_name"] = "dragoman"
    kinds = set(_name(recipe.model).split("-"))
    head["tags"] = ["sequence-to-sequence", *sorted(kinds)]
    head["metrics"] = list(dict.fromkeys(metric.name for metric in recipe.evaluation.metrics)) or ["loss"]
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in head.items())
    return "\n".join(["---", *lines, "---"])


def _name(model: Model) -> str:
    decoder = "ctc" if isinstance(model.decoder, NoDecoder) else model.decoder.kind
    return f"{model.encoder.kind}-{decoder}"


def _parts(recipe: Recipe, parameters: int) -> Iterator[tuple[str, ...]]:
    encoder, decoder = recipe.model.encoder, recipe.model.decoder
    vocabulary = ", one vocabulary for both sides" if recipe.joint_vocabulary else ""
    yield "source", f"{recipe.source.kind}{vocabulary}"
    yield "target", f"{recipe.target.kind}{vocabulary}"
    yield "encoder", f"{encoder.kind}, {encoder.layers} layers of width {encoder.width}"
    if isinstance(decoder, NoDecoder):
        yield "decoder", "none: CTC writes what the encoder reads"
    else:
        yield "decoder", f"{decoder.kind}, {decoder.layers} layers of width {decoder.width}"
    yield "tied embeddings", recipe.model.tie
    yield "parameters", f"{parameters:,}"
    yield "decoding", recipe.decoding.method


def _rows(facts: Mapping[str, object], path: str = "") -> Iterator[tuple[str, ...]]:
    for name, fact in facts.items():
        if isinstance(fact, Mapping):
            yield from _rows(fact, f"{path}{name}.")
        else:
            yield f"{path}{name}", _written(fact)


def _scores(recipe: Recipe, metrics: Mapping[str, object], path: str = "") -> Iterator[tuple[str, ...]]:
    for name, metric in metrics.items():
        match metric:
            case Mapping() if "value" in metric:
                percent = f"{recipe.evaluation.confidence:.0%}"
                ends = [_written(metric[end]) for end in ("low", "high") if end in metric]
                interval = f"{' to '.join(ends)} ({percent})" if len(ends) == 2 else ""
                yield (
                    f"{path}{name}",
                    _written(metric["value"]),
                    interval,
                    _written(metric.get("signature", "")),
                )
            case Mapping() if name not in ("decoding", "evaluation"):
                yield from _scores(recipe, metric, path if name == "scores" else f"{path}{name}.")
            case int() | float():
                yield f"{path}{name}", _written(metric), "", ""


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    body = list(rows)
    if not body:
        return "Nothing was recorded."
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _written(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}"
        case _:
            return str(value)
