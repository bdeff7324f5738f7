"""The verbs of the command line as Python functions, and a bundle that has them as methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dragoman import bundle as bundles
from dragoman.bundle import RECIPE, load_bundle, verify_bundle
from dragoman.data.corpus import read_corpus
from dragoman.data.planned import is_data, plan, recipe_of
from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import examples_to_come, is_of_series, training_windows, windows_of
from dragoman.decoding.decode import decode
from dragoman.decoding.ensemble import ensemble
from dragoman.decoding.language_model import DEFAULT_WEIGHT, with_language_model
from dragoman.decoding.score import Scored
from dragoman.decoding.score import score as score_targets
from dragoman.decoding.selftest import selftest
from dragoman.decoding.terminology import with_terms
from dragoman.errors import UserError
from dragoman.evaluation.comparison import Comparison, compare_systems
from dragoman.evaluation.evaluate import Report
from dragoman.evaluation.evaluate import evaluate as evaluate_examples
from dragoman.evaluation.overlap import Overlap, find_overlap, format_overlap
from dragoman.evaluation.scored_set import read_examples
from dragoman.evaluation.systems import (
    is_run,
    read_system,
    refuse_without_effect,
    same_examples,
    scoring_of,
    system_of,
    unanswered,
)
from dragoman.explanation.alignment import Alignment, alignments
from dragoman.explanation.attribution import Method
from dragoman.explanation.explanation import Explanation, Group
from dragoman.explanation.explanation import explain as explain_answer
from dragoman.explanation.report.findings import Findings, find
from dragoman.explanation.report.weighing import EXAMPLES, Weighing
from dragoman.recipe.data import Parallel, Table
from dragoman.recipe.decoding import Forecasting
from dragoman.recipe.loading import load_recipe, override
from dragoman.recipe.plan import Plan
from dragoman.recipe.sections import Recipe
from dragoman.records import Example, Prediction, Value
from dragoman.training.seeds import Seeds, recipe_of_begun
from dragoman.training.seeds import train_seeds as train_recipe_of_seeds
from dragoman.training.train import train as train_recipe

Device = Literal["auto", "cpu", "cuda"]
Given = Value | Example


@dataclass(frozen=True)
class Bundle(bundles.Bundle):
    """What training leaves: recipe, codecs and model, with every verb that needs no more than these.

    Overrides are written as on the command line, for instance `bundle.predict(texts, "decoding.beam=3")`.
    """

    def predict(
        self,
        sources: Iterable[Given],
        *overrides: str,
        prefix: str | None = None,
        workers: int = 1,
        terminology: str | Path | None = None,
    ) -> list[Value]:
        """Return the best answer to each source, in order.

        `prefix` is what every answer must begin with. Several `workers` are processes that answer many
        sources sooner, on a CPU; a script then asks under `if __name__ == "__main__":`. `terminology` is a
        TSV file of source phrases and what answers must say for them, for beams. Raises DataError for a
        source that cannot be encoded and RecipeError for an override that says something that cannot be.
        """
        found = self.predictions(sources, *overrides, prefix=prefix, workers=workers, terminology=terminology)
        return [prediction.values[0] for prediction in found]

    def predictions(
        self,
        sources: Iterable[Given],
        *overrides: str,
        prefix: str | None = None,
        reads: bool = False,
        workers: int = 1,
        terminology: str | Path | None = None,
    ) -> Iterator[Prediction]:
        """Yield all answers to each source, with scores and log-probabilities (nats), in order, as ready.

        `reads` adds to each hypothesis where the decoder looked, (target steps, source steps), where it
        attends. `workers` and `terminology`: see `predict`.
        """
        section = with_terms(override(self.recipe, overrides).decoding, terminology)
        return decode(self, _examples(sources), section, prefix=prefix, reads=reads, workers=workers)

    def score(self, pairs: Iterable[tuple[str, str] | Example]) -> Iterator[Scored]:
        """Yield the log-probability (nats) of given targets, whole and a token, in order."""
        return score_targets(self, _pairs(pairs))

    def align(
        self,
        pairs: Iterable[tuple[str, str] | Example],
        method: Method = "attention",
        threshold: float | None = None,
    ) -> Iterator[Alignment]:
        """Yield which words of each source and target belong together, in order.

        See `explanation.alignment.alignments`.
        """
        return alignments(self, _pairs(pairs), method, threshold)

    def evaluate(self, examples: Sequence[Example], *overrides: str, workers: int = 1) -> Report:
        """Decode examples and score the answers with the metrics of the recipe, each with its interval.

        `workers`: see `predict`.
        """
        recipe = override(self.recipe, overrides)
        return evaluate_examples(self, examples, recipe.decoding, recipe.evaluation, workers=workers)

    def explain(
        self,
        source: Given,
        *overrides: str,
        target: Value | None = None,
        methods: Sequence[Method] | Group = "usual",
        step: int | None = None,
        foil: str | None = None,
        trust: bool = False,
    ) -> Explanation:
        """Explain the answer to a source, or `target` in its place; `as_html` and others show what was found.

        `methods` are attention and occlusion by default; see `explanation.explanation.explain`.
        """
        section = override(self.recipe, overrides).decoding if overrides else None
        (example,) = _examples([source])
        return explain_answer(
            self, example, target=target, methods=methods, section=section, step=step, foil=foil, trust=trust
        )

    def forecast(self, files: Sequence[str], *overrides: str, horizon: int | None = None) -> list[Prediction]:
        """Forecast what follows the end of each series in files like those of training.

        They hold a context or more; `known` columns go on for the horizon, that of training by default.
        Raises UserError for a model of anything else.
        """
        if not is_of_series(self.recipe):
            raise UserError(
                f"forecast: this model reads {self.recipe.source.kind}, no files of series; predict would do"
            )
        changes = [*overrides, *([] if horizon is None else [f"decoding.horizon={horizon}"])]
        recipe = override(self.recipe, changes)
        assert isinstance(recipe.decoding, Forecasting), "the recipe sees to it"
        steps = recipe.decoding.horizon or windows_of(recipe).horizon
        return list(decode(self, examples_to_come(recipe, files, steps), recipe.decoding))


def train(recipe: Recipe | str | Path | Sequence[str | Path], *overrides: str) -> Bundle:
    """Train what a recipe says, or continue it where it was stopped, and return the bundle that it leaves.

    Takes a recipe, or the path of a recipe file, of a run's folder, or of data: see `plan`, whose recipe is
    then trained in `runs/<name of the data>`, where `plan.yaml` has its reasons. Raises RecipeError,
    DataError, CheckpointError for what a person can mend, Interrupted when told to stop, Diverged when the
    loss stays not finite.
    """
    return _with_verbs(train_recipe(_loaded(recipe, overrides)))


def train_seeds(
    recipe: Recipe | str | Path | Sequence[str | Path],
    *overrides: str,
    seeds: int,
    split: Literal["dev", "test"] = "dev",
) -> Seeds:
    """Train a recipe with several seeds, its own and those that follow, and say how far scores spread.

    The runs lie in `seed-1`, `seed-2` and so on below its `run`, the scores in seeds.json; called again, with
    the recipe or with that folder, it goes on. Raises what `train` does, and UserError where the folder holds
    a single run.
    """
    begun = recipe_of_begun(recipe, overrides) if isinstance(recipe, str | Path) else None
    return train_recipe_of_seeds(begun or _loaded(recipe, overrides), seeds, split)


def _loaded(recipe: Recipe | str | Path | Sequence[str | Path], overrides: Sequence[str]) -> Recipe:
    """Return what a recipe, a file or data say; the plan of data is saved where it will be trained."""
    if isinstance(recipe, Recipe):
        return override(recipe, overrides)
    files = [recipe] if isinstance(recipe, str | Path) else list(recipe)
    if not is_data(files):
        path = Path(files[0])
        return load_recipe(path / RECIPE if path.is_dir() else path, overrides)
    planned = plan(*files, overrides=overrides)
    loaded = recipe_of(planned, files)
    _save(planned, Path(loaded.run))
    return loaded


def _save(planned: Plan, run: Path) -> None:
    """Leave the reasons in the folder of a run that begins."""
    path = run / "plan.yaml"
    if not path.exists():
        run.mkdir(parents=True, exist_ok=True)
        path.write_text(planned.text(), "utf-8")


def load(
    folder: str | Path,
    device: Device = "auto",
    *,
    others: Sequence[str | Path] = (),
    language_model: str | Path | None = None,
    language_model_weight: float = DEFAULT_WEIGHT,
) -> Bundle:
    """Load a bundle, verifying every file; executes nothing. Raises BundleError for anything not right.

    With `others` they answer as one: the mean of their probabilities decides at every step, or the mean of
    their forecasts. They may be of any kinds and sizes; raises UserError where their vocabularies are not
    one, or what they forecast. A `language_model`, a bundle that was trained with `source: {kind: nothing}`,
    adds its log-probabilities times a weight.
    """
    found = ensemble([load_bundle(given, device) for given in (folder, *others)])
    if language_model is not None:
        found = with_language_model(found, load_bundle(language_model, device), language_model_weight)
    return _with_verbs(found)


def evaluate(
    folder: str | Path,
    *overrides: str,
    data: Parallel | Table | None = None,
    split: Literal["test", "dev"] = "test",
    device: Device = "auto",
    others: Sequence[str | Path] = (),
    workers: int = 1,
    terminology: str | Path | None = None,
    overlap: bool = True,
    language_model: str | Path | None = None,
    language_model_weight: float = DEFAULT_WEIGHT,
) -> Report:
    """Score a bundle on given data, or on the test or dev set of its recipe.

    With `others` and a `language_model`: see `load`. Paths of `data` are relative to the current directory,
    those of the recipe to its `data.folder`. `workers` and `terminology`: see `Bundle.predict`. With
    `overlap` the training data are read once to see whether what is scored is among them; of `others` those
    of the first bundle.
    """
    return evaluate_bundle(
        load(
            folder,
            device,
            others=others,
            language_model=language_model,
            language_model_weight=language_model_weight,
        ),
        *overrides,
        data=data,
        split=split,
        workers=workers,
        terminology=terminology,
        overlap=overlap,
    )


def evaluate_bundle(
    bundle: Bundle,
    *overrides: str,
    data: Parallel | Table | None = None,
    split: Literal["test", "dev"] = "test",
    workers: int = 1,
    terminology: str | Path | None = None,
    overlap: bool = True,
) -> Report:
    """Score a bundle that is loaded; see `evaluate`."""
    examples = read_examples(bundle.recipe, overrides, data, split)
    recipe = override(bundle.recipe, overrides)
    return evaluate_examples(
        bundle,
        examples,
        with_terms(recipe.decoding, terminology),
        recipe.evaluation,
        workers=workers,
        training=training_windows(recipe) if data is None and is_of_series(recipe) else (),
        overlap=find_overlap(recipe, examples) if overlap else None,
    )


def compare(
    systems: Sequence[str | Path],
    *overrides: str,
    data: Parallel | Table | None = None,
    split: Literal["test", "dev"] = "test",
    worst: int = 5,
    device: Device = "auto",
    workers: int = 1,
) -> Comparison:
    """Test whether systems differ from the first of them, by every metric, on the same examples.

    A system is the folder of a run, which answers now, or what `evaluate` wrote: a folder or its
    predictions.jsonl. Runs take the test or dev set of their own recipes where no `data` are given. The
    metrics are those of the first system. `worst` examples of each pair are kept: those that differ most.
    Raises UserError where systems answered different examples.
    """
    paths = [Path(system) for system in systems]
    if len(paths) < 2:
        raise UserError("expected two systems or more: folders of runs, or predictions that evaluate wrote")
    runs = {path: override(load_recipe(path / RECIPE), overrides) for path in paths if is_run(path)}
    if not runs:
        refuse_without_effect(overrides, data is not None)
    evaluation = scoring_of(paths, runs, overrides)
    examples = {path: read_examples(recipe, (), data, split) for path, recipe in runs.items()}
    found = {path: read_system(path, evaluation) for path in paths if path not in runs}
    if evaluation.references == "raw":  # else they are known only when a run has normalised them
        rows = [found[path].rows if path in found else unanswered(examples[path]) for path in paths]
        same_examples(list(zip(map(str, paths), rows, strict=True)))
    notes = []
    for path, recipe in runs.items():
        bundle = load(path, device)
        report = evaluate_examples(bundle, examples[path], recipe.decoding, evaluation, workers=workers)
        found[path] = system_of(str(path), report)
        trained_on = find_overlap(recipe, examples[path])
        if isinstance(trained_on, Overlap) and trained_on.seen:
            notes.append(f"{path}: {format_overlap(trained_on)}")
    return compare_systems([found[path] for path in paths], evaluation, worst, notes)


def report(
    folder: str | Path,
    *overrides: str,
    split: Literal["test", "dev"] = "test",
    device: Device = "auto",
    others: Sequence[str | Path] = (),
    workers: int = 1,
    trust: int = EXAMPLES,
    trust_seconds: float | None = None,
    methods: Sequence[Method] | Group = "quick",
) -> Findings:
    """Look at a run from all sides: data, training, scores, where it is good, how sure, what looks made up.

    Answers that `evaluate` wrote into the run's folder are taken where they are still those of the model.
    On `trust` examples (0: none), begun within `trust_seconds`, it is measured which `methods` to trust.
    `workers`: see `Bundle.predict`; `others`: see `load`, together they are not explained.
    """
    bundle = load(folder, device, others=others)
    examples = read_examples(bundle.recipe, overrides, None, split)
    recipe = override(bundle.recipe, overrides)
    training = training_windows(recipe) if is_of_series(recipe) else ()
    weighing = Weighing(trust, methods, trust_seconds)
    return find(bundle, recipe, examples, split, training=training, workers=workers, weighing=weighing)


def score(
    folder: str | Path, data: Parallel | Table, device: Device = "auto", *, others: Sequence[str | Path] = ()
) -> Iterator[Scored]:
    """Yield the log-probabilities (nats) that a bundle gives to the targets of some data, in order.

    With `others`: see `load`.
    """
    loaded = load(folder, device, others=others)
    return loaded.score(read_corpus(data, Path.cwd(), Rejects(strict=True)))


def align(
    folder: str | Path,
    data: Parallel | Table,
    device: Device = "auto",
    *,
    method: Method = "attention",
    threshold: float | None = None,
) -> Iterator[Alignment]:
    """Yield which words of each pair of some data belong together, in order; see `Bundle.align`."""
    return load(folder, device).align(read_corpus(data, Path.cwd(), Rejects(strict=True)), method, threshold)


def check(folder: str | Path) -> list[str]:
    """Verify every hash of a bundle and re-run its stored sample; return one complaint for each fault."""
    complaints = verify_bundle(folder)
    return complaints or selftest(load(folder))


def _with_verbs(loaded: bundles.Bundle) -> Bundle:
    """Give a bundle its methods."""
    return Bundle(loaded.recipe, loaded.codecs, loaded.model, loaded.folder, loaded.others)


def _pairs(pairs: Iterable[tuple[str, str] | Example]) -> Iterator[Example]:
    """Number pairs of texts from 1; examples pass as they are."""
    for number, pair in enumerate(pairs, 1):
        yield pair if isinstance(pair, Example) else Example(pair[0], (pair[1],), str(number))


def _examples(sources: Iterable[Given]) -> Iterator[Example]:
    """Number raw sources from 1; examples pass as they are."""
    for number, source in enumerate(sources, 1):
        yield source if isinstance(source, Example) else Example(source, id=str(number))
