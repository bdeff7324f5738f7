"""Averages of weights, and weights as named tensors."""

import pytest
import torch
from torch import nn

from dragoman.errors import CheckpointError
from dragoman.recipe.run import CheckpointAverage, ExponentialAverage, NoAverage
from dragoman.training.averaging import build_averager, copied, holding, load_weights, weights_of


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.table.weight
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def numbered(value):
    return {"w": torch.full((2,), float(value), dtype=torch.float64), "n": torch.tensor(int(value))}


def test_tied_tensors_have_one_name_and_buffers_have_theirs():
    assert sorted(weights_of(Tied())) == ["count", "head.bias", "table.weight"]


def test_loading_keeps_the_tie():
    model, other = Tied(), Tied()
    load_weights(model, weights_of(other))
    assert torch.equal(model.head.weight, other.table.weight)
    assert model.head.weight is model.table.weight


def test_weights_that_do_not_fit_are_refused_by_name_and_shape():
    weights = copied(weights_of(Tied()))
    weights["head.bias"] = torch.zeros(4)
    weights["foreign"] = torch.zeros(1)
    with pytest.raises(
        CheckpointError,
        match=r"foreign: expected none, found \[1\]\n.*head.bias: expected \[5\], found \[4\]",
    ):
        load_weights(Tied(), weights)


def test_other_weights_are_lent_and_given_back_even_after_an_error():
    model = Tied()
    own = copied(weights_of(model))
    lent = {name: tensor + 1 for name, tensor in own.items()}
    with pytest.raises(ZeroDivisionError), holding(model, lent):
        assert torch.equal(model.head.bias, lent["head.bias"])
        raise ZeroDivisionError
    assert all(torch.equal(tensor, own[name]) for name, tensor in weights_of(model).items())


def test_without_an_average_the_weights_stand_for_themselves():
    averager = build_averager(NoAverage(kind="none"), numbered(0), 10)
    averager.update(1, numbered(1))
    assert averager.average() is None
    assert averager.tensors() == {}


def test_the_exponential_average_follows_its_recursion():
    averager = build_averager(ExponentialAverage(kind="exponential", decay=0.5), numbered(0), 10)
    expected = 0.0
    for step in range(1, 30):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        averager.update(step, numbered(step))
    average = averager.average()
    assert average["w"].tolist() == pytest.approx([expected] * 2, rel=1e-12)
    assert average["n"] == 29


def test_the_checkpoint_mean_is_of_the_last_checkpoint_steps():
    averager = build_averager(CheckpointAverage(kind="checkpoints", count=3), numbered(0), 2)
    averager.update(1, numbered(1))
    assert averager.average() is None
    for step in range(2, 12):
        averager.update(step, numbered(step))
    assert averager.average()["w"].tolist() == [8, 8]  # of 6, 8 and 10
    assert averager.average()["n"] == 10


@pytest.mark.parametrize(
    "section",
    [ExponentialAverage(kind="exponential", decay=0.9), CheckpointAverage(kind="checkpoints", count=2)],
)
def test_a_restored_average_goes_on_to_the_bit(section):
    torch.manual_seed(1)
    straight, stopped = (build_averager(section, {"w": torch.zeros(3)}, 2) for _ in range(2))
    weights = [{"w": torch.randn(3)} for _ in range(12)]
    for step in range(1, 6):
        straight.update(step, weights[step])
        stopped.update(step, weights[step])
    continued = build_averager(section, {"w": torch.zeros(3)}, 2)
    continued.restore(copied(stopped.tensors()))
    for step in range(6, 12):
        straight.update(step, weights[step])
        continued.update(step, weights[step])
    assert torch.equal(straight.average()["w"], continued.average()["w"])


def test_snapshots_do_not_follow_the_live_weights():
    averager = build_averager(CheckpointAverage(kind="checkpoints", count=2), numbered(0), 1)
    live = numbered(4)
    averager.update(1, live)
    live["w"].fill_(100)
    assert averager.average()["w"].tolist() == [4, 4]
