"""How a run begins: anew, from its last checkpoint, or not at all: it is finished, or another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dragoman.bundle import Bundle, load_bundle
from dragoman.data.prepare import Prepared
from dragoman.data.series_entries import digest_of
from dragoman.data.store import fingerprint as content_hash
from dragoman.errors import BundleError, CheckpointError, RecipeError
from dragoman.recipe.loading import dump_recipe, load_recipe, recipe_from
from dragoman.recipe.sections import Recipe
from dragoman.records import Series, Value
from dragoman.training.checkpoint import Checkpoint, write_whole
from dragoman.training.progress import read_log

RECIPE = "recipe.yaml"
LIMITS = ("training.max_steps", "training.max_epochs", "training.max_minutes", "training.early_stopping")
"""What ends a run; a run may be told to go on for longer."""
_FREE = (
    *LIMITS,
    "training.keep_checkpoints",
    "training.log_every",
    "training.tensorboard",
    "data.folder",
    "data.cache",
    "run",
)
"""What may change from start to start without making it another run; data is compared by content."""


def as_before(recipe: Recipe, folder: Path, checkpoint: Checkpoint | None) -> Recipe:
    """Return the recipe with what the run found out before, `batch_tokens: auto`, filled in.

    Raises CheckpointError where a checkpoint belongs to another recipe.
    """
    before = _recipe_before(folder, checkpoint)
    if before is None:
        return recipe
    tokens = before["training"]["batch_tokens"]
    filled = with_batch_tokens(recipe, tokens) if recipe.training.batch_tokens == "auto" else recipe
    differing = differences(before, filled.model_dump(mode="json"))
    if not differing:
        return filled
    if checkpoint is None:
        return recipe
    raise CheckpointError(
        f"{folder} holds a run of another recipe (step {checkpoint.step:,}); these keys differ:\n  "
        + "\n  ".join(differing)
        + "\nput them back, or give another `run`"
    )


def _recipe_before(folder: Path, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    if checkpoint is not None:
        stored: dict[str, Any] = checkpoint.record["recipe"]
        try:  # Keys that a later version added stand at their defaults.
            return recipe_from(stored).model_dump(mode="json")
        except RecipeError:
            return stored
    try:
        return load_recipe(folder / RECIPE).model_dump(mode="json")
    except (OSError, RecipeError):
        return None


def with_batch_tokens(recipe: Recipe, batch_tokens: int) -> Recipe:
    """Return the recipe with this budget of a batch."""
    training = recipe.training.model_copy(update={"batch_tokens": batch_tokens})
    return recipe.model_copy(update={"training": training})


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the keys that differ and may not, as `path: before -> now`."""
    old, new = _leaves(before), _leaves(now)
    return [
        f"{path}: {old.get(path, 'absent')} -> {new.get(path, 'absent')}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path, ...) != new.get(path, ...) and not _is_free(path)
    ]


def _is_free(path: str) -> bool:
    return any(path == free or path.startswith(f"{free}.") for free in _FREE)


def _leaves(value: object, path: str = "") -> dict[str, object]:
    match value:
        case Mapping():
            items = [(f"{path}.{key}" if path else str(key), inner) for key, inner in value.items()]
        case list() | tuple():
            items = [(f"{path}[{number}]", inner) for number, inner in enumerate(value)]
        case _:
            return {path: value}
    found: dict[str, object] = {}
    for inner_path, inner in items:
        found |= _leaves(inner, inner_path)
    return found


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Leave the whole recipe in the run's folder, where it alone reproduces the run."""
    text = dump_recipe(recipe)
    path = folder / RECIPE
    if not path.is_file() or path.read_text("utf-8") != text:
        write_whole(path, text)


def fingerprint(prepared: Prepared) -> str:
    """Return a hash of what a run learns from and validates on."""
    dev = (repr([_content(value) for value in (one.source, *one.targets)]) for one in prepared.dev)
    return content_hash([], [prepared.train.digest(), *dev])


def _content(value: Value) -> object:
    return digest_of(value) if isinstance(value, Series) else value


def refuse_other_data(checkpoint: Checkpoint, prepared: Prepared, folder: Path) -> None:
    """Raise CheckpointError where the data are not what the run began with."""
    if checkpoint.record["data"] != fingerprint(prepared):
        raise CheckpointError(
            f"{folder}: the training or development data have changed since this run began; "
            "put them back, or give another `run`"
        )


def limits_of(recipe: Recipe) -> dict[str, object]:
    """Return what ends a run, to compare with what ended it before."""
    leaves = _leaves(recipe.model_dump(mode="json"))
    return {path: value for path, value in leaves.items() if path.startswith(LIMITS)}


def finished_bundle(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> Bundle | None:
    """Return the bundle of a run that came to its end under the same recipe, or None."""
    lines = read_log(folder / "log.jsonl")
    if not lines or lines[-1]["kind"] != "end" or lines[-1].get("limits") != limits_of(recipe):
        return None
    try:
        bundle = load_bundle(folder, recipe.training.device)
    except BundleError as fault:
        say(f"the run is finished, but its bundle is not sound and is made again: {fault}")
        return None
    tokens = bundle.recipe.training.batch_tokens
    assert isinstance(tokens, int), "a finished run has found its batch"
    filled = with_batch_tokens(recipe, tokens) if recipe.training.batch_tokens == "auto" else recipe
    if differences(bundle.recipe.model_dump(mode="json"), filled.model_dump(mode="json")):
        return None
    say(f"{folder}: this run is finished ({lines[-1]['reason']}); nothing to do")
    return bundle
