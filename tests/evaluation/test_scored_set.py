"""Which examples are scored, and what is said where a recipe has none."""

import pytest

from dragoman.errors import BundleError
from dragoman.evaluation.scored_set import read_examples
from dragoman.recipe.data import Table
from dragoman.recipe.loading import recipe_from


def recipe(folder, **data):
    folder.joinpath("pairs.tsv").write_text("a\tb\nc\td\n", "utf-8")
    return recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "pairs.tsv"}], **data},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "training": {"max_steps": 1},
        },
        folder,
    )


def test_a_set_that_a_recipe_does_not_name_is_said_with_what_would_do(tmp_path):
    with pytest.raises(
        BundleError, match="names no test set: --split dev takes its development set, or give"
    ):
        read_examples(recipe(tmp_path, dev={"file": "pairs.tsv"}), (), None, "test")


def test_given_data_and_named_sets_are_read(tmp_path):
    named = recipe(tmp_path, dev={"file": "pairs.tsv"})
    assert [one.source for one in read_examples(named, (), None, "dev")] == ["a", "c"]
    given = Table(file=str(tmp_path / "pairs.tsv"))
    assert [one.source for one in read_examples(named, (), given, "test")] == ["a", "c"]
