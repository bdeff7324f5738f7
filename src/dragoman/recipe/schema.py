"""The JSON schema of recipes, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from dragoman.recipe.anatomy import Choice, Items, node_at
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.sections import Recipe


def recipe_schema() -> dict[str, object]:
    """Describe recipe files as JSON schema (draft 2020-12), with the meaning of every key."""
    schema: dict[str, Any] = Recipe.model_json_schema()
    schema["required"].remove("run")  # a file without it runs in a folder of its own name
    metrics = schema["$defs"]["Evaluation"]["properties"]["metrics"]
    metrics["items"] = {"anyOf": [{"enum": _names_of_metrics()}, metrics["items"]]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "dragoman recipe",
    }


def _names_of_metrics() -> list[str]:
    """List the names that stand for a metric without options."""
    node = node_at(Evaluation, "metrics")
    assert isinstance(node, Items)
    assert isinstance(node.of, Choice)
    return list(node.of.sections)
