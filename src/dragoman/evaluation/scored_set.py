"""The examples that are scored: given data, or a split of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dragoman.data.corpus import read_corpus
from dragoman.data.prepare import read_split
from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import is_of_series, refuse_leaks
from dragoman.errors import BundleError
from dragoman.recipe.data import Corpus, Parallel, Table
from dragoman.recipe.loading import override
from dragoman.recipe.sections import Recipe
from dragoman.records import Example


def read_examples(
    recipe: Recipe, overrides: Sequence[str], data: Parallel | Table | None, split: Literal["test", "dev"]
) -> tuple[Example, ...]:
    """Read the examples to score: given data, or a split of the recipe. Bad rows are refused, not skipped.

    Of series, DataError where overrides choose a part that training or development had; see `refuse_leaks`.
    """
    if data is not None:
        return tuple(read_corpus(data, Path.cwd(), Rejects(strict=True)))
    trained, recipe = recipe, override(recipe, overrides)
    if split == "test" and recipe.data.test is None and not recipe.data.held_out_test:
        raise BundleError(
            "the recipe of this bundle names no test set: --split dev takes its development set, or give one "
            "with --source and --target"
        )
    if is_of_series(recipe) and _corpora(recipe) != _corpora(trained):
        refuse_leaks(recipe)
    return read_split(recipe, split, Rejects(strict=recipe.data.strict))


def _corpora(recipe: Recipe) -> tuple[Corpus | None, ...]:
    return (*recipe.data.train, recipe.data.dev, recipe.data.test)
