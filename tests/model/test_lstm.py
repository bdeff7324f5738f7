"""The LSTM of training in bf16, by kernels in C, beside torch's in float32."""

import pytest
import torch

from dragoman.model.kernels import compute
from dragoman.model.recurrent_layer import RecurrentLayer
from dragoman.native.training import bf16_kernels

pytestmark = pytest.mark.skipif(bf16_kernels() is None, reason="no compiler, or no products of bfloat16")


def _ran(layer, precision, given, pulls):
    """What a layer returns, and all gradients of sums weighed by the pulls."""
    given = [None if one is None else one.clone().requires_grad_() for one in given]
    layer.zero_grad()
    with compute(precision, torch.device("cpu")):
        found = layer(*given)
    total = sum((one.float() * pull).sum() for one, pull in zip(found, pulls, strict=True))
    total.backward()
    gradients = [one.grad for one in given if one is not None] + [p.grad.clone() for p in layer.parameters()]
    return [one.detach().float() for one in found], gradients


@pytest.mark.parametrize("shape", [(1, 1, 6, 4), (13, 7, 48, 40), (50, 5, 64, 130), (3, 40, 20, 66)])
@pytest.mark.parametrize("has_states", [True, False])
def test_an_lstm_in_bf16_is_that_of_torch_up_to_rounding(shape, has_states):
    rows, steps, inputs, width = shape
    torch.manual_seed(1)
    layer = RecurrentLayer("lstm", inputs, width)
    states = [torch.randn(rows, width).tanh(), torch.randn(rows, width)] if has_states else [None, None]
    given = [torch.randn(rows, steps, inputs), *states]
    pulls = [torch.randn(rows, steps, width), torch.randn(rows, width), torch.randn(rows, width)]
    exact, low = _ran(layer, "fp32", given, pulls), _ran(layer, "bf16", given, pulls)
    for expected, found in zip([*exact[0], *exact[1]], [*low[0], *low[1]], strict=True):
        # A rounding to bfloat16 is off by 2⁻⁹ at most; some of them meet in every number.
        assert (found - expected).norm() < 0.01 * expected.norm() + 1e-6
        assert found.shape == expected.shape


def test_threads_do_not_change_a_bit():
    torch.manual_seed(1)
    layer = RecurrentLayer("lstm", 48, 40)
    given = [torch.randn(130, 7, 48), None, None]
    pulls = [torch.randn(130, 7, 40), torch.randn(130, 40), torch.randn(130, 40)]
    threads, found = torch.get_num_threads(), []
    for team in (1, 2):
        torch.set_num_threads(team)
        found.append(_ran(layer, "bf16", given, pulls))
    torch.set_num_threads(threads)
    for one, other in zip([*found[0][0], *found[0][1]], [*found[1][0], *found[1][1]], strict=True):
        assert torch.equal(one, other)


def test_gates_that_are_far_open_or_shut_stay_numbers():
    layer = RecurrentLayer("lstm", 8, 8)
    found, gradients = _ran(layer, "bf16", [torch.full((2, 3, 8), 1e4), None, None], [torch.ones(())] * 3)
    assert all(one.isfinite().all() for one in [*found, *gradients])
