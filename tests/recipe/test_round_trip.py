"""Recipes of every shape, made from the sections' own annotations: written and read back, and misspelt."""

import json
import random
from typing import Annotated, Literal, get_args, get_origin

import annotated_types
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from dragoman.errors import RecipeError
from dragoman.recipe.anatomy import RECIPE, Choice, Items, keys_by_name, members, node_at
from dragoman.recipe.loading import dump_recipe, load_recipe, override, recipe_from
from dragoman.recipe.yaml_reader import read_yaml
from dragoman.recipe.yaml_writer import write_yaml

TEXTS = [
    *("no", "Y", "1e-4", "~", "0x1F", "12:30", "a: b", "# x", " x ", "-", "null", "=", "<<", "{}", "%", "@x"),
    *(
        "\u2028",
        "\x85\x7f",
        "é\t😀",
        "'\"\\",
        "\ufeff",
        "a\nb",
        "word",
        "1_000",
        "2024-01-01",
        ".",
        "x" * 200,
    ),
]
# Where values could contradict others; all else is drawn from the bounds of its field.
CHOSEN = {
    "run": ["/runs/x"],
    "folder": ["/data"],
    "cache": [None, "/cache"],
    "held_out_dev": [0.05, 0.1],
    "dev": [None],
    "test": [None],
    "held_out_test": [0.0, 0.3],
    "merge": [False],
    "joint_vocabulary": [False],
    "tie": ["none", "decoder"],
    "width": [32, 64],
    "heads": [1, 2, 4],
    "kernel_width": [3, 15],
    "max_positions": [None],
    "input_feeding": [False],
    "nesterov": [False],
    "steps": [None],
    "max_steps": [1, 10**9],
    "watch": ["loss"],
    "min_length": [0, 9],
    "max_length": [10, 10**20],
    "nbest": [1],
    "coverage_penalty": [0.0],
    "tokenize": ["13a", "none"],
    "language": [None],
}


def section(pick: random.Random, choice: Choice) -> dict[str, object]:
    """A section of any kind: its required keys and some of the others."""
    kind = pick.choice(sorted(choice.sections))
    said: dict[str, object] = {}
    for key, field in choice.sections[kind].model_fields.items():
        if key == choice.key:
            said[key] = kind
        elif field.is_required() or key in ("held_out_dev", "max_steps") or pick.random() < 0.5:
            said[key] = pick.choice(CHOSEN[key]) if key in CHOSEN else value(pick, choice.sections[kind], key)
    return said


def value(pick, owner, key):
    field = owner.model_fields[key]
    match node_at(owner, key):
        case Choice() as choice:
            return None if field.default is None and pick.random() < 0.5 else section(pick, choice)
        case Items(of=choice) if key == "metrics":
            metrics = [section(pick, choice) for _ in range(pick.randrange(3))]
            return [
                {**metric, "label": f"{index}{pick.choice(TEXTS)}"} for index, metric in enumerate(metrics)
            ]
        case Items(of=choice):
            return [section(pick, choice) for _ in range(pick.randint(1, 2))]
    return leaf(pick, field.annotation, field.metadata)


def leaf(pick, annotation, notes=()):
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return leaf(pick, inner, [*more, *notes])
    if members(annotation) != (annotation,):
        part = pick.choice(get_args(annotation))
        return (
            None if part is type(None) else leaf(pick, part, notes if len(members(annotation)) == 1 else ())
        )
    if get_origin(annotation) is Literal:
        return pick.choice(get_args(annotation))
    if get_origin(annotation) is tuple:
        return [leaf(pick, get_args(annotation)[0]) for _ in range(pick.randrange(3))]
    if annotation is str:
        return pick.choice(TEXTS)
    if annotation is bool:
        return pick.random() < 0.5
    low, high = bounds(notes)
    return pick.randint(low, high) if annotation is int else number(pick, low, high)


def bounds(notes):
    low, high = 0, 10**9
    for note in notes:
        match note:
            case FieldInfo():
                low, high = bounds(note.metadata)
            case annotated_types.Ge(bound) | annotated_types.Gt(bound):
                low = bound
            case annotated_types.Le(bound) | annotated_types.Lt(bound):
                high = bound
    return low, high


def number(pick, low, high):
    """A float strictly between, of any size and with all its digits."""
    found = pick.choice([pick.uniform(low, high), low + (high - low) * 10 ** pick.uniform(-12, -1)])
    return found if low < found < high else (low + high) / 2


seeds = given(st.integers(0, 10**9).map(random.Random))


@settings(max_examples=30, deadline=None, derandomize=True)
@seeds
def test_a_written_recipe_loads_as_it_was(tmp_path_factory, pick):
    recipe = recipe_from(section(pick, RECIPE))
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    written = dump_recipe(recipe)
    path.write_text(written, encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded == recipe
    assert dump_recipe(loaded) == written
    assert override(loaded, []) == override(recipe, []) == recipe
    assert recipe_from(json.loads(recipe.model_dump_json())) == recipe


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.text(max_size=5) | st.sampled_from(TEXTS),
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False)
        | st.text(max_size=8)
        | st.sampled_from(TEXTS),
        max_size=5,
    )
)
def test_all_readers_of_yaml_agree_on_what_is_written(mapping):
    whole = {"a": mapping, "b": [mapping, {"c": []}, {"d": {}}], "e": list(mapping.values()), "f": {}}
    written = write_yaml(whole)
    read = read_yaml(written)
    assert repr(read.value) == repr(whole)
    assert not read.faults
    assert repr(yaml.safe_load(written)) == repr(whole)


def test_writing_refuses_what_yaml_cannot_hold():
    with pytest.raises(TypeError, match="cannot write object as YAML"):
        write_yaml({"a": object()})


def test_a_written_recipe_is_for_people(small):
    small["evaluation"] = {"metrics": ["cer"]}
    written = dump_recipe(recipe_from(small, "/data"))
    assert written.startswith(
        "version: 1\nrun: /runs/small\nseed: 1\ndata:\n  folder: /data\n"
        "  train:\n    - source: a.source\n      target: a.target\n      weight: 1.0\n"
    )
    assert "\nsource:\n  kind: characters\n  unicode: NFC\n" in written
    assert "\n    epsilon: 1.0e-09\n" in written
    assert "\n  metrics:\n    - name: cer\n      label: cer\n" in written


def places_of(mapping, path=()):
    for key, inner in mapping.items():
        yield (*path, key)
        match inner:
            case dict():
                yield from places_of(inner, (*path, key))
            case list():
                for index, item in enumerate(inner):
                    if isinstance(item, dict):
                        yield from places_of(item, (*path, key, index))


def misspelt(pick, key):
    """One slip of the fingers in a word."""
    at = pick.randrange(len(key) - 1)
    left, here, there, right = key[:at], key[at], key[at + 1], key[at + 2 :]
    letter = pick.choice("abcdefghijklmnopqrstuvwxyz")
    return pick.choice(
        [
            left + there + right,
            left + there + here + right,
            left + letter + there + right,
            left + here + here + there + right,
        ]
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@seeds
def test_a_misspelt_key_is_always_refused_with_a_suggestion(tmp_path_factory, pick):
    said = section(pick, RECIPE)
    *above, key = pick.choice(list(places_of(said)))
    wrong = misspelt(pick, key)
    if wrong in keys_by_name():
        return
    holder = said
    for step in above:
        holder = holder[step]
    holder[wrong] = holder.pop(key)
    path = tmp_path_factory.getbasetemp() / "misspelt.yaml"
    written = write_yaml(said)
    path.write_text(written, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    (line,) = [line for line in error.value.complaints if f"{wrong}: unknown key" in line]
    assert "\n" not in "".join(error.value.complaints)
    number = int(line.removeprefix(f"{path}:").split(":")[0])
    assert written.splitlines()[number - 1].lstrip(" -").startswith(f"{wrong}:")
    if len(key) > 3:
        assert f"'{key}'" in line.partition("did you mean")[2]
        assert not any(f"{key}: missing" in other for other in error.value.complaints)
    else:
        assert "did you mean" in line or "known here" in line
