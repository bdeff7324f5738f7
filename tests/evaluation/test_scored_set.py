"""Which examples are scored, and what is said where a recipe has none."""

import pytest

from dragoman.errors import BundleError, DataError
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


def test_a_part_that_was_learnt_from_is_not_scored(tmp_path):
    tmp_path.joinpath("load.csv").write_text("v\n" + "".join(f"{row % 7}\n" for row in range(60)), "utf-8")
    numbers = {"kind": "numbers"}
    files = {"series": "load.csv", "format": "wide"}
    learnt = recipe_from(
        {
            "run": "run",
            "data": {
                "train": [{**files, "part": [None, 30]}],
                "dev": {**files, "part": [30, 40]},
                "test": {**files, "part": [40, None]},
                "windows": {"context": 4, "horizon": 2},
            },
            "source": numbers,
            "target": numbers,
            "model": {"rollout": {"kind": "whole"}},
            "training": {"objective": {"kind": "squared"}, "max_steps": 1},
            "decoding": {"method": "forecast"},
            "evaluation": {"metrics": ["mse"]},
        },
        tmp_path,
    )
    assert len(read_examples(learnt, (), None, "test")) == 19
    assert len(read_examples(learnt, ("data.test.part=[50, null]",), None, "test")) == 9
    with pytest.raises(DataError, match=r"data.test and data.train\[0\]: the series of load.csv: training"):
        read_examples(learnt, ("data.test.part=[20, null]",), None, "test")
    with pytest.raises(DataError, match=r"\[30, 40\] and \[32, null\] both forecast rows 32 to 39; what"):
        read_examples(learnt, ("data.test.part=[32, null]",), None, "test")
