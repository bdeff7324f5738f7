"""A small recipe as a file and as a dict, and the complaints about a changed one."""

import textwrap

import pytest

from dragoman.errors import RecipeError
from dragoman.recipe.loading import load_recipe

SMALL = """\
data:
  train:
    - source: a.source
      target: a.target
  held_out_dev: 0.1
source:
  kind: characters
target:
  kind: characters
training:
  max_steps: 10
"""


@pytest.fixture
def small():
    return {
        "run": "/runs/small",
        "data": {"train": [{"source": "a.source", "target": "a.target"}], "held_out_dev": 0.1},
        "source": {"kind": "characters"},
        "target": {"kind": "characters"},
        "training": {"max_steps": 10},
    }


@pytest.fixture
def small_text():
    """The file, eleven lines long; its last section is `training`."""
    return SMALL


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write `x.yaml` into an empty current directory, after the lines of a small valid recipe unless told."""
    monkeypatch.chdir(tmp_path)

    def write(text="", small=SMALL, name="x.yaml"):
        (tmp_path / name).write_text(small + textwrap.dedent(text), encoding="utf-8")
        return name

    return write


@pytest.fixture
def complaints(write):
    """The complaints about the small recipe with more lines and overrides; its own lines are 1 to 11."""

    def complaints(text="", overrides=(), small=SMALL):
        with pytest.raises(RecipeError) as error:
            load_recipe(write(text, small), overrides)
        assert str(error.value) == "\n".join(error.value.complaints)
        return list(error.value.complaints)

    return complaints
