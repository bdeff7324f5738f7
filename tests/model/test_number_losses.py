"""Losses of numbers against closed forms and torch's distributions, in float64."""

import math

import pytest
import torch
from torch.distributions import Normal, StudentT

from dragoman.model.number_head import NumberHead
from dragoman.model.number_losses import freedoms, number_losses, scales, sizes_of
from dragoman.recipe.objectives import Absolute, Huber, Likelihood, Quantile, Squared
from dragoman.records import Sequence

SECTIONS = {
    "squared": Squared(kind="squared"),
    "absolute": Absolute(kind="absolute"),
    "huber": Huber(kind="huber", delta=0.7),
    "quantile": Quantile(kind="quantile", levels=(0.1, 0.5, 0.8)),
    "gaussian": Likelihood(kind="gaussian"),
    "student_t": Likelihood(kind="student_t"),
}
B, T, F = 3, 4, 2


@pytest.fixture(params=SECTIONS.values(), ids=SECTIONS)
def section(request):
    torch.manual_seed(1)
    return request.param


def said_of(section):
    return torch.randn(B, T, F, sizes_of(section), dtype=torch.float64)


def targets():
    return 2 * torch.randn(B, T, F, dtype=torch.float64)


def expected(section, said_BTFQ, targets_BTF):
    errors_BTF = targets_BTF - said_BTFQ[..., 0]
    match section:
        case Squared():
            return errors_BTF**2
        case Absolute():
            return errors_BTF.abs()
        case Huber():
            return torch.nn.functional.huber_loss(
                said_BTFQ[..., 0], targets_BTF, reduction="none", delta=section.delta
            )
        case Quantile():
            losses = [
                torch.where(
                    targets_BTF > said, level * (targets_BTF - said), (1 - level) * (said - targets_BTF)
                )
                for level, said in zip(section.levels, said_BTFQ.unbind(-1), strict=True)
            ]
            return sum(losses) / len(losses)
        case Likelihood(kind="gaussian"):
            return -Normal(said_BTFQ[..., 0], scales(said_BTFQ)).log_prob(targets_BTF)
        case Likelihood():
            location, scale, freedom = said_BTFQ[..., 0], scales(said_BTFQ), freedoms(said_BTFQ)
            return -StudentT(freedom, location, scale).log_prob(targets_BTF)


def test_losses_are_what_they_are_called(section):
    said_BTFQ, targets_BTF = said_of(section), targets()
    losses_BTF = number_losses(said_BTFQ, targets_BTF, None, section)
    torch.testing.assert_close(losses_BTF, expected(section, said_BTFQ, targets_BTF))


def test_units_scale_errors_and_leave_likelihoods(section):
    said_BTFQ, targets_BTF = said_of(section), targets()
    units_BF = 0.5 + torch.rand(B, F, dtype=torch.float64)
    losses_BTF = number_losses(said_BTFQ, targets_BTF, units_BF, section)
    if isinstance(section, Likelihood):
        torch.testing.assert_close(losses_BTF, number_losses(said_BTFQ, targets_BTF, None, section))
        return
    units_BTF = units_BF[:, None].expand(-1, T, -1)
    in_units = expected(section, said_BTFQ * units_BTF[..., None], targets_BTF * units_BTF)
    torch.testing.assert_close(losses_BTF, in_units)
    of_codec = section.model_copy(update={"units": "codec"})
    in_frames = number_losses(said_BTFQ, targets_BTF, units_BF, of_codec)
    torch.testing.assert_close(in_frames, expected(section, said_BTFQ, targets_BTF))


def test_missing_targets_cost_nothing_and_pull_at_nothing(section):
    said_BTFQ, targets_BTF = said_of(section).requires_grad_(), targets()
    whole_BTF = number_losses(said_BTFQ, targets_BTF, None, section).detach()
    is_missing_BTF = torch.rand(B, T, F) < 0.4
    losses_BTF = number_losses(said_BTFQ, targets_BTF.masked_fill(is_missing_BTF, math.nan), None, section)
    torch.testing.assert_close(losses_BTF, whole_BTF.masked_fill(is_missing_BTF, 0.0))
    losses_BTF.sum().backward()
    assert not said_BTFQ.grad[is_missing_BTF].any()
    assert said_BTFQ.grad[~is_missing_BTF].any()


def test_gradients_stay_finite_far_out(section):
    said = [(location, 60.0 * spread) for location in (-1e6, 0.0, 1e6) for spread in (-1, 0, 1)]
    rest = sizes_of(section) - 1
    values = [[location, *([spread] * rest)] for location, spread in said]
    said_BTFQ = torch.tensor(values)[:, None, None].requires_grad_()
    for target in (-1e6, 0.0, 1e6):
        losses_BTF = number_losses(said_BTFQ, torch.full((len(said), 1, 1), target), None, section)
        losses_BTF.sum().backward()
        assert losses_BTF.isfinite().all()
        assert said_BTFQ.grad.isfinite().all()


def test_scales_are_above_zero_and_freedoms_above_two():
    said_BTFQ = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])[:, None, None, None].expand(-1, 1, 1, 3)
    assert (scales(said_BTFQ) > 0).all()
    assert (freedoms(said_BTFQ) > 2).all()
    assert freedoms(said_BTFQ).isfinite().all()


# --- the head


def head_of(section, patch=2, width=5):
    return NumberHead(width, F, patch, section).double()


def test_the_loss_sums_steps_and_means_variables_without_padding(section):
    head = head_of(section)
    said_BTFQ = head(torch.randn(B, 2, 5, dtype=torch.float64))
    lengths_B = torch.tensor([3, 1, 2])
    targets_BTF = targets()[:, :3]
    by_hand = sum(
        expected(section, said_BTFQ[row : row + 1, :length], targets_BTF[row : row + 1, :length]).sum() / F
        for row, length in enumerate(lengths_B.tolist())
    )
    torch.testing.assert_close(head.loss(said_BTFQ, Sequence(targets_BTF, lengths_B)), by_hand)


def test_a_line_moves_every_location_and_no_scale(section):
    head = head_of(section)
    outputs_BJD = torch.randn(B, 2, 5, dtype=torch.float64)
    line_BTF = torch.randn(B, 4, F, dtype=torch.float64)
    said_BTFQ, moved_BTFQ = head(outputs_BJD), head(outputs_BJD, line_BTF)
    torch.testing.assert_close(head.point(moved_BTFQ), head.point(said_BTFQ) + line_BTF)
    if isinstance(section, Likelihood):
        torch.testing.assert_close(moved_BTFQ[..., 1:], said_BTFQ[..., 1:])


def test_quantiles_rise_and_the_point_is_their_median():
    head = head_of(SECTIONS["quantile"])
    said_BTFQ = said_of(SECTIONS["quantile"])
    quantiles_BTFQ = head.quantiles(said_BTFQ)
    assert (quantiles_BTFQ.diff(dim=-1) >= 0).all()
    assert torch.equal(head.point(said_BTFQ), quantiles_BTFQ[..., 1])


@pytest.mark.parametrize("kind", ["gaussian", "student_t"])
def test_draws_have_the_distribution_that_the_loss_trains(kind):
    section = SECTIONS[kind]
    said = torch.tensor([1.5, 0.3, 1.0], dtype=torch.float64)[: sizes_of(section)]
    uniforms = torch.rand(1, 200_000, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drawn = head_of(section).draw(said.expand(1, 200_000, 1, -1), uniforms).flatten().sort().values
    # Kolmogorov's distance to the distribution function, here found by integrating the likelihood
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    nlls = number_losses(said.expand(1, len(grid), 1, -1), grid[None, :, None], None, section).flatten()
    below = torch.cumulative_trapezoid(torch.exp(-nlls), grid)
    assert below[-1].item() == pytest.approx(1, abs=2e-4)
    places = torch.searchsorted(grid, drawn).clamp(1, len(below)) - 1
    shares = torch.arange(1, len(drawn) + 1) / len(drawn)
    assert (below[places] - shares).abs().max() < 0.006


def test_draws_are_finite_at_the_ends_of_the_uniform_numbers():
    for kind in ("gaussian", "student_t"):
        said = torch.zeros(1, 1, 1, sizes_of(SECTIONS[kind]))
        for uniform in (0.0, 1 - 2.0**-48):
            uniforms = torch.full((1, 1, 1, 2), uniform, dtype=torch.float64)
            assert head_of(SECTIONS[kind]).draw(said, uniforms).isfinite().all()
