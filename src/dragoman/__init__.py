"""Sequence-to-sequence models that you can train, trust, explain, export and serve.

Importing this package imports no torch: names below are fetched when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragoman.api import (
        Bundle,
        align,
        check,
        compare,
        evaluate,
        load,
        report,
        score,
        train,
        train_seeds,
    )
    from dragoman.data.planned import plan
    from dragoman.doctor.examination import examine
    from dragoman.errors import (
        BundleError,
        CheckpointError,
        DataError,
        Diverged,
        DragomanError,
        Interrupted,
        MissingExtra,
        RecipeError,
        UserError,
    )
    from dragoman.evaluation.comparison import Comparison
    from dragoman.evaluation.evaluate import Report
    from dragoman.evaluation.metrics import Score
    from dragoman.model.seq2seq import Seq2Seq
    from dragoman.recipe.loading import load_recipe, recipe_from
    from dragoman.recipe.schema import recipe_schema
    from dragoman.recipe.sections import Recipe
    from dragoman.records import Example, Hypothesis, Prediction
    from dragoman.training.seeds import Seeds

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "dragoman.api",
    "BundleError": "dragoman.errors",
    "CheckpointError": "dragoman.errors",
    "Comparison": "dragoman.evaluation.comparison",
    "DataError": "dragoman.errors",
    "Diverged": "dragoman.errors",
    "DragomanError": "dragoman.errors",
    "Example": "dragoman.records",
    "Hypothesis": "dragoman.records",
    "Interrupted": "dragoman.errors",
    "MissingExtra": "dragoman.errors",
    "Prediction": "dragoman.records",
    "Recipe": "dragoman.recipe.sections",
    "RecipeError": "dragoman.errors",
    "Report": "dragoman.evaluation.evaluate",
    "Score": "dragoman.evaluation.metrics",
    "Seeds": "dragoman.training.seeds",
    "Seq2Seq": "dragoman.model.seq2seq",
    "UserError": "dragoman.errors",
    "align": "dragoman.api",
    "check": "dragoman.api",
    "compare": "dragoman.api",
    "evaluate": "dragoman.api",
    "examine": "dragoman.doctor.examination",
    "load": "dragoman.api",
    "load_recipe": "dragoman.recipe.loading",
    "plan": "dragoman.data.planned",
    "recipe_from": "dragoman.recipe.loading",
    "recipe_schema": "dragoman.recipe.schema",
    "report": "dragoman.api",
    "score": "dragoman.api",
    "train": "dragoman.api",
    "train_seeds": "dragoman.api",
}

__all__ = [
    "Bundle",
    "BundleError",
    "CheckpointError",
    "Comparison",
    "DataError",
    "Diverged",
    "DragomanError",
    "Example",
    "Hypothesis",
    "Interrupted",
    "MissingExtra",
    "Prediction",
    "Recipe",
    "RecipeError",
    "Report",
    "Score",
    "Seeds",
    "Seq2Seq",
    "UserError",
    "align",
    "check",
    "compare",
    "evaluate",
    "examine",
    "load",
    "load_recipe",
    "plan",
    "recipe_from",
    "recipe_schema",
    "report",
    "score",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    """Fetch a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dragoman' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*globals(), *__all__])
