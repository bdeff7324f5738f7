"""Optimizers: groups, clipping, and a state that survives."""

import pytest
import torch
from torch import nn

from dragoman.errors import CheckpointError
from dragoman.recipe.run import SGD, Adafactor, Adam
from dragoman.training.optimization import (
    build_optimizer,
    gradient_norm,
    load_optimizer,
    optimizer_tensors,
    set_learning_rate,
)

SECTIONS = [
    SGD(kind="sgd"),
    SGD(kind="sgd", momentum=0.9, nesterov=True),
    Adam(kind="adam"),
    Adam(kind="adamw", weight_decay=0.1),
    Adafactor(kind="adafactor"),
]


def model_of(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def step(model, optimizer, seed):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    model(torch.randn(8, 3)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("section", SECTIONS, ids=repr)
def test_a_restored_optimizer_goes_on_to_the_bit(section):
    straight = model_of(0)
    optimizer = build_optimizer(straight, section)
    for number in range(3):
        step(straight, optimizer, number)
    stored = {name: tensor.clone() for name, tensor in optimizer_tensors(straight, optimizer).items()}
    continued = model_of(1)
    continued.load_state_dict(straight.state_dict())
    other = build_optimizer(continued, section)
    load_optimizer(continued, other, stored)
    for number in range(3, 6):
        step(straight, optimizer, number)
        step(continued, other, number)
    for mine, theirs in zip(straight.parameters(), continued.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_state_is_named_by_parameter_and_key():
    model = model_of(0)
    optimizer = build_optimizer(model, Adam(kind="adam"))
    step(model, optimizer, 0)
    names = optimizer_tensors(model, optimizer)
    assert {"0.weight.exp_avg", "0.weight.exp_avg_sq", "0.weight.step", "2.bias.exp_avg"} <= set(names)


def test_state_of_another_model_is_refused():
    model = model_of(0)
    with pytest.raises(CheckpointError, match="foreign.exp_avg"):
        load_optimizer(model, build_optimizer(model, Adam(kind="adam")), {"foreign.exp_avg": torch.zeros(1)})


def test_biases_and_norms_do_not_decay():
    model = model_of(0)
    optimizer = build_optimizer(model, Adam(kind="adamw", weight_decay=0.5))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        expected = old * (1 - 0.1 * 0.5) if parameter.ndim >= 2 else old
        torch.testing.assert_close(parameter.detach(), expected)


def test_gradients_are_clipped_by_the_norm_of_all_and_the_norm_before_is_told():
    model = model_of(0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert gradient_norm(model, None) == pytest.approx(count**0.5)
    assert gradient_norm(model, 0.5) == pytest.approx(count**0.5)
    assert gradient_norm(model, 100.0) == pytest.approx(0.5, rel=1e-5)
