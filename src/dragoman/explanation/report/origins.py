"""Sections of a report about where a model comes from: recipe, data, training."""

from __future__ import annotations

from dragoman.evaluation.data_facts import Coverage, TrainingFacts, unit_of
from dragoman.evaluation.overlap import NotKnown
from dragoman.explanation.page.charts import Drawn, compact, curves, histogram, side_by_side
from dragoman.explanation.page.elements import Child, Html, element, number, per_cent, said, scrolled, table
from dragoman.explanation.report.findings import Findings
from dragoman.explanation.report.opening import SPLITS
from dragoman.explanation.report.parts import pairs, paragraph, section
from dragoman.recipe.loading import dump_recipe
from dragoman.recipe.model import NoDecoder


def data(found: Findings) -> Html:
    """Return counts, lengths, vocabularies and what was rejected."""
    return section(
        "data",
        "Data",
        pairs("Counts of the data", _counts(found)),
        _lengths(found),
        _coverage(found),
        _rejected(found),
    )


def _counts(found: Findings) -> list[tuple[str, Child]]:
    rows: list[tuple[str, Child]] = []
    trained = found.training
    if isinstance(trained, TrainingFacts):
        rows.append(("training examples", f"{trained.examples:,}"))
        rows.append(("pairs that came before", _of(trained.repeated_pairs, trained.examples)))
        rows.append(("sources that came before", _of(trained.repeated_sources, trained.examples)))
    else:
        if found.log is not None and found.log.entries is not None:
            what = "training windows" if found.numbers is not None else "training examples"
            rows.append((what, f"{found.log.entries:,}"))
        if isinstance(trained, NotKnown):
            rows.append(("the training data", f"not at hand: {trained.reason}"))
    rows.append((f"examples of the {SPLITS[found.split]}", f"{found.report.examples:,}"))
    overlap = found.report.overlap
    if overlap is not None and not isinstance(overlap, NotKnown):
        rows.append(("of these, sources that were trained on", _of(overlap.near_sources, overlap.examples)))
        rows.append(("of these, with a reference as target", _of(overlap.near_pairs, overlap.examples)))
    return rows


def _of(count: int, whole: int) -> str:
    return f"{count:,} ({per_cent(count / whole)})" if whole else f"{count:,}"


def _lengths(found: Findings) -> Html | None:
    """Draw how long both sides are, where lengths differ at all."""
    trained = found.training if isinstance(found.training, TrainingFacts) else None
    charts: list[Child] = []
    for side, codec, tested, known in (
        ("sources", found.bundle.codecs.source, found.source_lengths, trained and trained.source_lengths),
        ("targets", found.bundle.codecs.target, found.target_lengths, trained and trained.target_lengths),
    ):
        if len(set(tested)) < 2:
            continue
        name = SPLITS[found.split]
        title = f"Length of {side}"
        if known:
            charts.append(
                histogram(title, known, unit_of(codec), others=tested, names=("training data", name))
            )
        else:
            charts.append(histogram(title, tested, unit_of(codec), names=(name, "")))
    return side_by_side(*charts) if charts else None


def _coverage(found: Findings) -> Html | None:
    sides = [("source", found.source_coverage), ("target", found.target_coverage)]
    known = [(side, one) for side, one in sides if one is not None]
    if not known:
        return None
    rows: list[list[Child]] = [[side, *_cells(one)] for side, one in known]
    caption = f"How much of the {SPLITS[found.split]} the vocabulary and the training data know"
    head = [
        "side",
        "vocabulary",
        "tokens",
        "unknown",
        "words",
        "never in training",
        "of these most often",
    ]
    return scrolled(caption, table(caption, head, rows))


def _cells(one: Coverage) -> list[Child]:
    unseen = "not known" if one.unseen is None else _of(one.unseen, one.words)
    return [
        f"{one.vocabulary:,}",
        f"{one.tokens:,}",
        _of(one.unknown, one.tokens),
        f"{one.words:,}",
        unseen,
        said(", ".join(one.examples)) if one.examples else "none",
    ]


def _rejected(found: Findings) -> Html | None:
    if not found.rejected:
        return None
    total = sum(found.rejected.values())
    caption = f"{total:,} rows of the data could not be used; they are listed in rejected.jsonl"
    rows: list[list[Child]] = [[kind, f"{count:,}"] for kind, count in found.rejected.items()]
    return scrolled(caption, table(caption, ["why", "rows"], rows))


def training(found: Findings) -> Html | None:
    """Return the course of the training; None where there is no log."""
    log = found.log
    if log is None:
        return None
    is_numeric = found.numbers is not None
    lines = [Drawn("training", log.training.steps, log.training.values)]
    if log.validation.steps:
        lines.append(Drawn("validation", log.validation.steps, log.validation.values, "line ahead"))
    unit = "units of the objective" if is_numeric else "nats a token"
    mark = None if log.best_step is None else float(log.best_step)
    charts = [curves("Loss", lines, "step", mark=mark, mark_name="best", note=f"In {unit}.")]
    charts += [
        curves(
            f"{label} (validation)",
            [Drawn(label, curve.steps, curve.values, "line ahead")],
            "step",
            mark=mark,
            mark_name="best",
        )
        for label, curve in log.metrics.items()
        if len(curve.steps) > 1
    ]
    return section(
        "training", "Training", side_by_side(*charts), pairs("The course of the training", _course(found))
    )


def _course(found: Findings) -> list[tuple[str, Child]]:
    log = found.log
    assert log is not None
    rows: list[tuple[str, Child]] = []
    if log.best_step is not None:
        rows.append(("best step", f"{log.best_step:,} of {log.last_step:,}"))
    if log.reason is not None:
        rows.append(("ended with", log.reason))
    if log.seconds is not None:
        rows.append(("time", _duration(log.seconds)))
    steps = "steps of targets" if found.numbers is not None else "target tokens"
    if log.tokens is not None:
        rows.append((f"{steps} seen", f"{log.tokens:,}"))
    if log.tokens_per_second is not None:
        rows.append((f"{steps} a second", f"{log.tokens_per_second:,.0f}"))
    if log.device is not None:
        rows.append(("device", log.device + (f", {log.precision}" if log.precision else "")))
    return rows


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def recipe(found: Findings) -> Html:
    """Return the recipe in brief, and whole where somebody wants it."""
    given = found.recipe
    encoder, decoder = given.model.encoder, given.model.decoder
    rows: list[tuple[str, Child]] = [
        ("source", _side(given.source.model_dump(exclude_defaults=True, mode="json"))),
        ("target", _side(given.target.model_dump(exclude_defaults=True, mode="json"))),
        ("encoder", f"{encoder.kind}, {encoder.layers} layers of width {encoder.width}"),
    ]
    if isinstance(decoder, NoDecoder):
        rows.append(("decoder", "none: CTC writes what the encoder reads"))
    else:
        rows.append(("decoder", f"{decoder.kind}, {decoder.layers} layers of width {decoder.width}"))
    rows.append(("parameters", f"{found.parameters:,}"))
    rows.append(("objective", given.training.objective.kind.replace("_", " ")))
    rate = compact(given.training.optimizer.learning_rate)
    rows.append(("optimizer", f"{given.training.optimizer.kind}, learning rate {rate}"))
    rows.append(("batches", f"{given.training.batch_tokens:,} tokens"))
    speed = found.speed
    rows.append(
        (
            "decoding speed",
            f"{number(speed.per_second)} answers a second: {speed.examples} examples in "
            f"{number(speed.seconds)} s on {speed.device}, {speed.threads} threads",
        )
    )
    whole = element(
        "details",
        None,
        element("summary", None, "the whole recipe"),
        element(
            "pre",
            {"tabindex": 0, "role": "region", "aria-label": "the whole recipe"},
            dump_recipe(given).rstrip(),
        ),
    )
    seed = paragraph(f"Seed {given.seed}.")
    return section("recipe", "Recipe and model", pairs("The recipe in brief", rows), seed, whole)


def _side(given: dict[str, object]) -> str:
    kind = given.pop("kind", "")
    more = ", ".join(f"{name} {value}" for name, value in given.items())
    return f"{kind}, {more}" if more else str(kind)
