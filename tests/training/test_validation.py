"""Validation measures always the same, and leaves no trace."""

import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.prepare import prepare
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Beam
from dragoman.records import Example
from dragoman.training.resuming import with_batch_tokens
from dragoman.training.validation import (
    development_loss,
    fixed_sample,
    greedy,
    undisturbed,
    validate,
    watched_rises,
)

DEV = [Example(source=str(number % 7), targets=("x",), id=str(number)) for number in range(50)]


def test_the_sample_is_fixed_and_in_order():
    chosen = fixed_sample(DEV, 20, seed=1)
    assert chosen == fixed_sample(list(DEV), 20, seed=1)
    assert len(set(chosen)) == 20
    assert [int(example.id) for example in chosen] == sorted(int(example.id) for example in chosen)
    assert chosen != fixed_sample(DEV, 20, seed=2)
    assert chosen != tuple(DEV[:20])


def test_a_smaller_sample_is_part_of_a_larger_one():
    assert set(fixed_sample(DEV, 10, seed=1)) < set(fixed_sample(DEV, 20, seed=1))
    assert fixed_sample(DEV, 1000, seed=1) == tuple(DEV)


def test_nothing_is_left_behind_even_by_an_error():
    model = torch.nn.Dropout(0.5).train()
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        torch.rand(5)
        raise ZeroDivisionError
    assert model.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_greedy_stays_within_the_limits_of_the_recipe():
    section = Beam(method="beam", beam=7, max_length=33, no_repeat_ngram=3, min_length=2)
    found = greedy(section)
    assert (found.max_length, found.no_repeat_ngram, found.min_length) == (33, 3, 2)


@pytest.mark.parametrize(("name", "rises"), [("loss", False), ("chrf", True), ("cer", False)])
def test_which_way_a_metric_is_better(recipe_of, name, rises):
    assert watched_rises(recipe_of(watch=name, evaluation={"metrics": ["chrf", "cer"]})) is rises


def test_the_loss_does_not_depend_on_how_dev_is_cut_into_batches(recipe_of):
    recipe = recipe_of(evaluation={"metrics": ["cer"]})
    prepared = prepare(recipe, None)
    model = build_model(recipe.model, prepared.codecs.source.port, prepared.codecs.target.port).double()
    with undisturbed(model):
        losses = [
            development_loss(Bundle(with_batch_tokens(recipe, tokens), prepared.codecs, model), prepared.dev)
            for tokens in (16, 64, 4096)
        ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)
    found = validate(Bundle(recipe, prepared.codecs, model), prepared.dev, prepared.dev[:5])
    assert found["loss"] == pytest.approx(losses[0], rel=1e-12)
    assert found.keys() == {"loss", "cer"}
