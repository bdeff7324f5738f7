"""Sections of a recipe of numbers that do not go together are refused, each with what would do."""

import pytest

from dragoman.errors import RecipeError
from dragoman.recipe.loading import recipe_from

NUMBERS = {
    "run": "run",
    "data": {
        "train": [{"series": "made.csv", "part": [None, -10]}],
        "dev": {"series": "made.csv", "part": [-10, None]},
        "windows": {"context": 6, "horizon": 4},
    },
    "source": {"kind": "numbers"},
    "target": {"kind": "numbers"},
    "training": {"max_steps": 1, "objective": {"kind": "squared"}},
    "decoding": {"method": "forecast"},
}
ALIGNED = {"kind": "lstm", "attention": {"kind": "aligned"}}


def said(model=None, objective=None, **decoding):
    training = {"max_steps": 1, "objective": objective or {"kind": "squared"}}
    given = {"model": model or {}, "training": training, "decoding": {"method": "forecast", **decoding}}
    return recipe_from(NUMBERS | given)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {
                "model": {"rollout": {"kind": "whole"}},
                "objective": {"kind": "huber", "scheduled_sampling": 0.5},
            },
            "`training.objective.scheduled_sampling` has no effect with `model.rollout.kind: whole`",
        ),
        (
            {"model": {"decoder": ALIGNED, "rollout": {"patch": 2}}},
            "`model.rollout.patch: 2` does not fit `model.decoder.attention.kind: aligned`",
        ),
        (
            {"model": {"decoder": ALIGNED | {"input_feeding": True}}},
            "`input_feeding` has no effect with `attention.kind: aligned`",
        ),
        ({"model": {"tie": "decoder"}}, "`model.tie: decoder` has no effect on `target.kind: numbers`"),
        ({"samples": 3}, "`decoding.samples` needs a distribution, .*squared"),
        ({"quantiles": [0.5]}, "`decoding.quantiles` need a distribution"),
        (
            {"objective": {"kind": "gaussian"}, "quantiles": [0.5]},
            "are those of its samples; `decoding.samples: 100` would do",
        ),
        (
            {"objective": {"kind": "quantile"}, "quantiles": [0.5, 0.2]},
            r"\[0.2\] are not among `training.objective.levels`",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options, match):
    with pytest.raises(RecipeError, match=match):
        said(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": {"kind": "gaussian"}, "samples": 10, "quantiles": [0.1, 0.9]},
        {"objective": {"kind": "quantile"}, "quantiles": [0.1, 0.9]},
        {"objective": {"kind": "student_t", "scheduled_sampling": 0.5}, "model": {"rollout": {"patch": 2}}},
        {"model": {"decoder": ALIGNED, "rollout": {"kind": "whole"}}},
    ],
)
def test_what_goes_together_loads(options):
    assert said(**options).decoding.method == "forecast"


def test_a_rollout_is_for_numbers():
    text = {
        "run": "run",
        "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
        "source": {"kind": "characters"},
        "target": {"kind": "characters"},
        "training": {"max_steps": 1},
    }
    with pytest.raises(RecipeError, match="`model.rollout` has no effect on `target.kind: characters`"):
        recipe_from(text | {"model": {"rollout": {"kind": "whole"}}})


def test_a_coverage_penalty_needs_attention():
    text = {
        "run": "run",
        "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
        "source": {"kind": "characters"},
        "target": {"kind": "characters"},
        "training": {"max_steps": 1},
        "model": {"decoder": ALIGNED},
        "decoding": {"method": "beam", "coverage_penalty": 0.2},
    }
    with pytest.raises(RecipeError, match="`decoding.coverage_penalty` has no effect"):
        recipe_from(text)


ROWS = NUMBERS | {
    "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
    "decoding": {"method": "forecast", "horizon": 3},
}
SPOKEN = {"data": {"train": [{"manifest": "list.tsv"}], "held_out_dev": 0.1}, "source": {"kind": "speech"}}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"source": {"kind": "numbers", "scale": "series"}},
            "`source.scale: series` needs `series` in `data`",
        ),
        ({"target": {"kind": "numbers", "calendar": ["hour"]}}, "`target.calendar` needs `series` in `data`"),
        (
            {"source": {"kind": "words"}, "target": {"kind": "numbers", "scale": "window"}},
            "`target.scale: window` scales as a source in numbers does, found `source.kind: words`",
        ),
        ({"decoding": {"method": "forecast"}}, "`decoding.horizon` is missing"),
        (
            {**SPOKEN, "evaluation": {"metrics": ["mase"]}},
            "`mase` measures by the past of a series, and `source.kind: speech` has none",
        ),
        ({"evaluation": {"metrics": ["mase"]}}, "`mase` needs `target.season`"),
    ],
)
def test_numbers_in_rows_lack_what_series_have(options, match):
    with pytest.raises(RecipeError, match=match):
        recipe_from(ROWS | options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        SPOKEN,
        {"source": {"kind": "words"}},
        {"source": {"kind": "numbers", "scale": "window"}, "target": {"kind": "numbers", "scale": "window"}},
        {"decoding": {"method": "forecast"}, "model": {"decoder": ALIGNED}},
        {"target": {"kind": "numbers", "season": 1}, "evaluation": {"metrics": ["mase", "mae"]}},
    ],
)
def test_numbers_in_rows_are_written_and_read(options):
    assert recipe_from(ROWS | options).data.windows is None
