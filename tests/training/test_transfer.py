"""A run begins with the weights of another where they mean the same, and says what it took."""

import pytest
import torch

from dragoman.errors import BundleError, UserError
from dragoman.recipe.loading import override
from dragoman.training.averaging import weights_of
from dragoman.training.train import train


def begin(recipe, said, *changes):
    """Train no further than a step that moves nothing, and return the weights."""
    still = override(recipe, [*changes, "training.max_steps=1", "training.optimizer.learning_rate=1e-30"])
    return weights_of(train(still, say=said.append).model)


@pytest.fixture
def first(recipe_of):
    return train(recipe_of("first"), say=lambda message: None)


def test_a_run_of_the_same_recipe_begins_where_the_other_ended(first, recipe_of):
    said = []
    found = begin(recipe_of("second", seed=7, begin_with=str(first.folder)), said)
    for name, tensor in weights_of(first.model).items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)
    (line,) = (line for line in said if line.startswith("begins with the weights"))
    assert line.endswith(": source_frontend, target_frontend, encoder, decoder, head")


def test_parts_of_another_shape_or_vocabulary_begin_anew(first, recipe_of):
    said, recipe = [], recipe_of("second", seed=7, begin_with=str(first.folder))
    changes = ["target.kind=bytes", "model.decoder.layers=2"]
    found, given = begin(recipe, said, *changes), weights_of(first.model)
    for name in given:
        if name.partition(".")[0] in ("source_frontend", "encoder"):
            torch.testing.assert_close(found[name], given[name], rtol=0, atol=0, msg=name)
    (line,) = (line for line in said if line.startswith("begins with the weights"))
    assert "source_frontend, encoder; anew: " in line
    assert "target_frontend (another vocabulary)" in line
    assert "decoder (another shape)" in line


def test_a_model_that_shares_nothing_is_refused(first, recipe_of):
    recipe = recipe_of("second", begin_with=str(first.folder))
    changes = ["source.kind=bytes", "target.kind=bytes", "model.encoder.width=10", "model.decoder.width=10"]
    with pytest.raises(UserError, match="no part of .*first fits this model: .*encoder.*another shape"):
        begin(recipe, [], *changes)
    with pytest.raises(BundleError):
        begin(recipe_of("third", begin_with=str(first.folder / "missing")), [])
