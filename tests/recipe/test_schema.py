"""The JSON schema describes the recipes that load, and no others."""

import json
from pathlib import Path

import pytest

from dragoman.recipe.schema import recipe_schema
from dragoman.recipe.yaml_reader import read_yaml

RECIPES = Path(__file__).parents[2] / "recipes"
TYPES = {
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def fits(value, schema, root):
    """The part of JSON schema that the recipe's schema uses."""
    if "$ref" in schema:
        return fits(value, follow(schema["$ref"], root), root)
    if "anyOf" in schema:
        return any(fits(value, option, root) for option in schema["anyOf"])
    if "oneOf" in schema:
        return sum(fits(value, option, root) for option in schema["oneOf"]) == 1
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if "type" in schema:
        is_switch = isinstance(value, bool) and schema["type"] in ("integer", "number")
        if is_switch or not isinstance(value, TYPES[schema["type"]]):
            return False
    if isinstance(value, dict):
        properties = schema["properties"]
        return (
            schema["additionalProperties"] is False
            and value.keys() <= properties.keys()
            and value.keys() >= set(schema.get("required", []))
            and all(fits(inner, properties[key], root) for key, inner in value.items())
        )
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return False
        each = schema.get("prefixItems") or [schema["items"]] * len(value)
        return all(fits(item, of, root) for item, of in zip(value, each, strict=True))
    return within(value, schema)


def within(value, schema):
    if isinstance(value, str):
        return len(value) >= schema.get("minLength", 0)
    if value is None:
        return True
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and not value <= schema.get("exclusiveMinimum", value - 1)
        and not value >= schema.get("exclusiveMaximum", value + 1)
    )


def follow(reference, root):
    found = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_the_schema_has_a_title_and_a_dialect():
    schema = recipe_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "dragoman recipe"
    assert sorted(schema["required"]) == ["data", "source", "target", "training"]
    assert json.loads(json.dumps(schema)) == schema


def test_keys_have_their_descriptions():
    training = recipe_schema()["$defs"]["Training"]["properties"]
    assert training["validate_every"]["description"] == "Steps between validations."


def references(schema):
    if isinstance(schema, dict):
        yield from [schema["$ref"]] if "$ref" in schema else []
        for inner in schema.values():
            yield from references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from references(inner)


def test_every_reference_leads_somewhere():
    schema = recipe_schema()
    found = set(references(schema))
    assert len(found) > 30
    assert all(follow(reference, schema) for reference in found)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_ready_recipes_fit_the_schema(path):
    schema = recipe_schema()
    assert fits(read_yaml(path.read_text(encoding="utf-8")).value, schema, schema)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("sead",), 1),
        (("seed",), "1"),
        (("seed",), True),
        (("run",), ""),
        (("source", "kind"), "chars"),
        (("training", "clip_norm"), 0),
        (("training", "lr"), 1),
        (("evaluation", "metrics"), ["blue"]),
        (("data", "train"), []),
        (("model", "encoder"), {"kind": "lstm", "heads": 2}),
    ],
)
def test_wrong_recipes_do_not_fit(place, value):
    schema = recipe_schema()
    said = read_yaml((RECIPES / "manual.yaml").read_text(encoding="utf-8")).value
    assert fits(said, schema, schema)
    holder = said
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    assert not fits(said, schema, schema)
