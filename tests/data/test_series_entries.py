"""Series of a recipe: what training, development and test may not share."""

import pytest

from dragoman.data.rejects import Rejects
from dragoman.data.series_entries import read_training_windows, refuse_leaks
from dragoman.errors import DataError
from dragoman.recipe.loading import recipe_from


def recipe(folder, train, dev, test):
    """A recipe of 60 rows, of which each section has its part."""
    folder.joinpath("load.csv").write_text("v\n" + "".join(f"{row % 7}\n" for row in range(60)), "utf-8")
    files = {"series": "load.csv", "format": "wide"}
    content = {
        "run": "run",
        "data": {
            "train": [{**files, "part": part} for part in train],
            "dev": {**files, "part": dev},
            "test": {**files, "part": test},
            "windows": {"context": 4, "horizon": 2},
        },
        "source": {"kind": "numbers"},
        "target": {"kind": "numbers"},
        "training": {"objective": {"kind": "squared"}, "max_steps": 1},
        "decoding": {"method": "forecast"},
        "evaluation": {"metrics": ["mse"]},
    }
    return recipe_from(content, folder)


def test_contexts_reach_back_and_training_parts_may_share_targets(tmp_path):
    given = recipe(tmp_path, ([None, 30], [20, 30]), [30, -20], [40, None])
    _, entries = read_training_windows(given, Rejects(), print)
    assert entries.corpus_sizes == [25, 9]
    refuse_leaks(given)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((([None, 31],), [30, 40], [40, None]), r"data.dev and data.train\[0\]: the series of load.csv"),
        ((([None, 30], [20, -19]), [45, 50], [40, 45]), r"data.test and data.train\[1\]: the series"),
        ((([None, 30],), [30, 42], [-20, None]), r"\[30, 42\] and \[-20, null\] both forecast rows 40 to 41"),
        ((([None, 30],), [30, None], [30, None]), "leave `data.test` out"),
    ],
)
def test_a_target_is_of_one_part_only(tmp_path, parts, said):
    given = recipe(tmp_path, *parts)
    with pytest.raises(DataError, match=said):
        read_training_windows(given, Rejects(), print)
    with pytest.raises(DataError, match=said):
        refuse_leaks(given)
