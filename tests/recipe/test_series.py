"""What a recipe may and may not say about series."""

import pytest
from pydantic import ValidationError

from dragoman.errors import RecipeError
from dragoman.recipe.loading import recipe_from
from dragoman.recipe.rollout import Rollout
from dragoman.recipe.series import Crps, ForecastError, Mase, Numbers, SeriesFiles, Smape, layout_of


@pytest.mark.parametrize(
    ("section", "layout"),
    [
        ({"series": "a.csv"}, "wide"),
        ({"series": "a.csv.gz", "id": "name"}, "long"),
        ({"series": "a.parquet", "id": 0}, "long"),
        ({"series": "a.parquet", "format": "parquet"}, "wide"),
        ({"series": "A.NPY"}, "npy"),
        ({"series": ("a.csv", "b.csv"), "format": "rows"}, "rows"),
    ],
)
def test_the_layout_follows_name_and_id(section, layout):
    assert layout_of(SeriesFiles(**section)) == layout


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"series": ()}, "one or more files"),
        ({"series": ("a", "a")}, "each named once"),
        ({"series": "a", "format": "wide", "id": "x"}, "`id` has no effect in the layout `wide`"),
        ({"series": "a", "format": "rows", "time": "x"}, "`time` has no effect in the layout `rows`"),
        ({"series": "a", "format": "rows", "apart": True}, "`apart` has no effect"),
        ({"series": "a.npy", "known": "x"}, "`known` has no effect in the layout `npy`"),
        ({"series": "a.npy", "values": "x"}, "columns of an array have numbers"),
        ({"series": "a", "format": "long"}, "needs `id`"),
        ({"series": "a", "time": "x", "values": ("x", "y")}, "column 'x' is named 2 times"),
        ({"series": "a", "part": ("soon", None)}, "'soon' is neither a row number nor an ISO date"),
        ({"series": "a", "part": ("2016-07-01T00:00+02:00", None)}, "neither a row number"),
        ({"series": "a", "part": (5, 5)}, "nothing lies between 5 and 5"),
        ({"series": "a", "part": (-5, -8)}, "nothing lies between"),
        ({"series": "a", "part": ("2016-07-02", "2016-07-01")}, "nothing lies between"),
        ({"series": "a", "part": (None, 0)}, "nothing lies between"),
    ],
)
def test_contradictions_are_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        SeriesFiles(**section)


@pytest.mark.parametrize(("key", "value"), [("ridge", 0.3), ("ridge_growth", 1.0), ("lines", 2)])
def test_what_is_said_of_lines_needs_one(key, value):
    with pytest.raises(ValidationError, match=f"`{key}` has no effect without `linear`"):
        Rollout(**{key: value})
    assert Rollout(linear=True, **{key: value}).linear


@pytest.mark.parametrize("scale", ["none", "global", "series"])
def test_a_last_value_belongs_to_a_window(scale):
    with pytest.raises(ValidationError, match=f"`centre: last` has no effect on `scale: {scale}`"):
        Numbers(kind="numbers", scale=scale, centre="last")
    assert Numbers(kind="numbers", scale="level", centre="last").centre == "last"


def test_a_calendar_names_each_part_once():
    with pytest.raises(ValidationError, match="named once"):
        Numbers(kind="numbers", calendar=("hour", "hour"))


@pytest.mark.parametrize("section", [ForecastError, Smape, Mase, Crps])
def test_a_metric_is_called_by_its_name_unless_it_says_otherwise(section):
    name = "mae" if section is ForecastError else section.__name__.lower()
    assert section.model_validate({"name": name}).label == name
    assert section.model_validate({"name": name, "label": "x"}).label == "x"


@pytest.mark.parametrize("part", [[1], [1, 2, 3], 5, [True, None]])
def test_a_part_is_a_list_of_two(part):
    data = {"train": [{"series": "a.csv", "part": part}], "windows": {"context": 1, "horizon": 1}}
    with pytest.raises(RecipeError, match=r"data.train\[0\].part: expected a list of 2, each item a whole"):
        recipe_from({"run": "run", "data": data})
