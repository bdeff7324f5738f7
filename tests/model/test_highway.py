"""The linear highway: one line for all variables, or one for each kind of window."""

import itertools

import pytest
import torch

from dragoman.errors import DataError
from dragoman.model.highway import Highway, Kinds
from dragoman.records import Sequence

F = 2


def frames(*shape):
    torch.manual_seed(1)
    return torch.randn(*shape, dtype=torch.float64)


def test_a_highway_is_one_linear_map_for_all_variables():
    highway = Highway(4, 3, F).double()
    values_BSF = frames(2, 4, F + 1)
    found = highway(Sequence(values_BSF, torch.tensor([4, 4])))
    for row, variable in itertools.product(range(2), range(F)):
        torch.testing.assert_close(found[row, :, variable], highway.linear(values_BSF[row, :, variable]))
    with pytest.raises(DataError, match="reads 4 steps of context, found 3"):
        highway(Sequence(values_BSF, torch.tensor([4, 3])))
    with pytest.raises(DataError, match="reads 4 steps of context, found 2"):
        highway(Sequence(values_BSF[:, :2], torch.tensor([2, 2])))


def test_each_window_of_a_variable_takes_the_line_of_its_kind():
    highway = Highway(8, 3, F, lines=3).double()
    highway.kinds.centres_KL.copy_(
        torch.tensor([-2.0, 0.0, 2.0])[:, None].expand_as(highway.kinds.centres_KL)
    )
    values_BSF = frames(6, 8, F) * torch.tensor([0.1, 1.0, 9.0, 0.1, 1.0, 9.0]).double()[:, None, None]
    values_BSF[0, :, 1] *= 100.0
    found = highway(Sequence(values_BSF, torch.full((6,), 8)))
    expected = torch.tensor([[0, 2], [1, 1], [2, 2], [0, 0], [1, 1], [2, 2]])
    for row, variable in itertools.product(range(6), range(F)):
        own = slice(3 * int(expected[row, variable]), 3 * int(expected[row, variable]) + 3)
        line = values_BSF[row, :, variable] @ highway.linear.weight[own].T + highway.linear.bias[own]
        torch.testing.assert_close(found[row, :, variable], line)


def test_windows_are_told_apart_by_their_season_whatever_its_phase():
    kinds = Kinds(48, 2).double()
    assert kinds.lags == [1, 2, 3, 4, 6, 8, 12, 16, 24]
    hours = torch.arange(48.0).double() + torch.arange(24.0).double()[:, None]
    days, half_days = torch.sin(2 * torch.pi * hours / 24), torch.sin(2 * torch.pi * hours / 12)
    both = kinds.variations(torch.cat([days, half_days]))
    kinds.centres_KL.copy_(both[[0, 24]])
    assert kinds(days).eq(0).all()
    assert kinds(half_days).eq(1).all()


def test_what_does_not_vary_has_a_kind():
    kinds = Kinds(1, 2)
    assert kinds.variations(torch.zeros(3, 1)).isfinite().all()
    assert kinds(torch.zeros(3, 1)).tolist() == [0, 0, 0]
