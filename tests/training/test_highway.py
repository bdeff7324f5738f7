"""The linear highway begins at the ridge regression of targets on contexts."""

import numpy as np
import pytest
import torch

from dragoman.data.frames import Frames
from dragoman.model.build import build_model
from dragoman.recipe.model import Model
from dragoman.recipe.objectives import Absolute, Squared
from dragoman.records import Batch, Port, Sequence
from dragoman.training.highway import fit_highway

CONTEXT, HORIZON, VARIABLES = 6, 3, 2


class Windows:
    """Windows whose targets are a linear map of their contexts, the same for both variables."""

    def __init__(self, count=200, noise=0.0, missing=()):
        numbers = np.random.default_rng(5)
        self.map = numbers.normal(size=(CONTEXT, HORIZON))
        self.contexts = numbers.normal(size=(count, CONTEXT, VARIABLES)).astype(np.float32)
        self.units = numbers.uniform(0.5, 2.0, size=(count, VARIABLES)).astype(np.float32)
        self.targets = np.einsum("nsv,sh->nhv", self.contexts, self.map) + 0.7
        self.targets += noise * numbers.normal(size=self.targets.shape)
        for entry in missing:
            self.targets[entry, 1, 0] = np.nan

    def __len__(self):
        return len(self.contexts)

    def encoded(self, entry, variant=0):
        target = Frames(self.targets[entry].astype(np.float32), units=self.units[entry])
        return Frames(self.contexts[entry]), target


def model(objective=None, lines=1):
    section = Model.model_validate(
        {
            "encoder": {"kind": "gru", "width": 8},
            "decoder": {"kind": "gru", "width": 8},
            "rollout": {"kind": "whole", "linear": True, "lines": lines},
        }
    )
    torch.manual_seed(1)
    ports = Port("frames", VARIABLES, steps=CONTEXT), Port("frames", VARIABLES, steps=HORIZON)
    return build_model(section, *ports, objective or Squared(kind="squared"))


@pytest.mark.parametrize("missing", [(), (3, 50)])
def test_a_linear_truth_is_found_and_answered_at_once(missing):
    windows, fitted = Windows(missing=missing), model()
    fit_highway(fitted, windows, ridge=0.0)
    np.testing.assert_allclose(fitted.highway.linear.weight.detach().numpy().T, windows.map, atol=1e-5)
    fitted.eval()
    lengths = torch.full((len(windows),), CONTEXT)
    source = Sequence(torch.from_numpy(windows.contexts), lengths)
    targets = torch.from_numpy(windows.targets.astype(np.float32))
    with torch.no_grad():
        answered = fitted(
            Batch(source, Sequence(targets, torch.full((len(windows),), HORIZON)), ())
        ).outputs_BTD
        said = fitted.numbers(answered, fitted.line(source))
    expected = torch.where(targets.isnan(), said.squeeze(-1), targets)
    torch.testing.assert_close(said.squeeze(-1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("growth", [0.0, 0.5, 2.0])
def test_the_fit_minimises_the_penalised_squared_error_of_rows_by_their_units(growth):
    windows, fitted, ridge = Windows(noise=0.5), model(), 0.3
    fit_highway(fitted, windows, ridge, growth)
    contexts = torch.from_numpy(windows.contexts).double().transpose(1, 2).reshape(-1, CONTEXT)
    targets = torch.from_numpy(windows.targets).transpose(1, 2).reshape(-1, HORIZON)
    units = torch.from_numpy(windows.units).double().reshape(-1, 1)
    weight = fitted.highway.linear.weight.detach().double().T.requires_grad_()
    bias = fitted.highway.linear.bias.detach().double().requires_grad_()
    errors = (contexts @ weight + bias - targets) * units.sqrt()
    penalty = ridge * (contexts.square() * units).sum() / CONTEXT
    distances = torch.arange(CONTEXT, 0, -1, dtype=torch.float64)[:, None] ** growth
    shares = distances / distances.mean()
    (errors.square().sum() + penalty * (shares * weight.square()).sum()).backward()
    scale = float(penalty)
    assert float(weight.grad.abs().max()) < 1e-5 * scale
    assert float(bias.grad.abs().max()) < 1e-5 * scale


def test_for_absolute_errors_the_fit_forgives_a_few_windows_that_are_far_off():
    windows = Windows(noise=0.1)
    windows.targets[::10] += 20.0
    found = {}
    for objective in (Absolute(kind="absolute"), Squared(kind="squared")):
        fitted = model(objective)
        fit_highway(fitted, windows, ridge=0.0)
        found[objective.kind] = np.abs(fitted.highway.linear.bias.detach().numpy() - 0.7).max()
    assert found["absolute"] < 0.2
    assert found["squared"] > 1.5


def test_what_has_no_variation_is_fitted_without_a_penalty_too():
    windows, fitted = Windows(), model()
    windows.contexts[:] = 0.0
    fit_highway(fitted, windows, ridge=0.0)
    assert torch.isfinite(fitted.highway.linear.weight).all()


@pytest.mark.parametrize("objective", [Absolute(kind="absolute"), Squared(kind="squared")])
def test_each_of_several_lines_is_fitted_to_windows_of_its_kind(objective):
    windows, fitted = Windows(count=400), model(objective, lines=2)
    is_calm_N = np.arange(400) % 4 == 0
    windows.contexts[is_calm_N] *= 0.01
    windows.targets[is_calm_N] = 3.0 - windows.contexts[is_calm_N][:, -HORIZON:]
    fit_highway(fitted, windows, ridge=0.0)
    line = fitted.line(Sequence(torch.from_numpy(windows.contexts), torch.full((400,), CONTEXT)))
    expected = np.einsum("nsv,sh->nhv", windows.contexts, windows.map) + 0.7
    np.testing.assert_allclose(line[~is_calm_N].numpy(), expected[~is_calm_N], atol=1e-4)
    np.testing.assert_allclose(line[is_calm_N].numpy(), windows.targets[is_calm_N], atol=1e-4)


def test_windows_that_are_all_alike_are_of_one_kind():
    windows, fitted = Windows(), model(lines=3)
    windows.contexts[:] = windows.contexts[:1, :, :1]
    windows.targets[:] = 2.0
    fit_highway(fitted, windows, ridge=0.1)
    line = fitted.line(Sequence(torch.from_numpy(windows.contexts), torch.full((200,), CONTEXT)))
    torch.testing.assert_close(line, torch.full_like(line, 2.0), atol=1e-4, rtol=0)
