"""Every kernel computes what its reference computes: values and gradients."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from dragoman.model import kernels
from dragoman.model.kernels import (
    Dropout,
    Linear,
    add_dropped,
    compute,
    dropout,
    reference_add_dropped,
    reference_dropout,
    resolve_precision,
)

CPU = torch.device("cpu")
BF16_ROUNDING = 2**-8


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_taken(wanted):
    assert resolve_precision(wanted, CPU) == (wanted, "the recipe says so")


@pytest.mark.parametrize(
    ("flags", "precision", "reason"),
    [
        ({"avx2", "amx_bf16", "avx512_bf16"}, "bf16", "amx_bf16"),
        ({"avx2", "avx512_bf16"}, "bf16", "avx512_bf16"),
        ({"avx2", "avx512f"}, "fp32", "no bf16 units"),
    ],
)
def test_auto_goes_by_what_the_processor_has(monkeypatch, flags, precision, reason):
    monkeypatch.setattr(kernels, "_processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    chosen, why = resolve_precision("auto", CPU)
    assert chosen == precision
    assert reason in why


def test_auto_needs_a_torch_that_can_use_the_units(monkeypatch):
    monkeypatch.setattr(kernels, "_processor_flags", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    chosen, why = resolve_precision("auto", CPU)
    assert chosen == "fp32"
    assert "oneDNN" in why


def test_linear_follows_compute_and_keeps_float32_gradients():
    linear, x = Linear(24, 16), torch.randn(5, 3, 24)
    (exact,) = torch.autograd.grad(linear(x).square().sum(), linear.weight)
    with compute("bf16", CPU):
        low = linear(x)
    with compute("fp32", CPU):
        assert linear(x).dtype is torch.float32
    (near,) = torch.autograd.grad(low.float().square().sum(), linear.weight)
    assert low.dtype is torch.bfloat16
    assert near.dtype is torch.float32
    assert (low - linear(x)).abs().max() < 4 * BF16_ROUNDING * linear(x).abs().max()
    assert (near - exact).abs().max() < 4 * BF16_ROUNDING * exact.abs().max()


def test_compute_in_float32_holds_inside_compute_in_bf16():
    linear, x = Linear(4, 4), torch.randn(2, 4)
    with compute("bf16", CPU), compute("fp32", CPU):
        assert torch.equal(linear(x), nn.functional.linear(x, linear.weight, linear.bias))


def test_float64_stays_float64_under_bf16():
    linear, x = Linear(4, 4).double(), torch.randn(2, 4).double()
    with compute("bf16", CPU):
        assert linear(x).dtype is torch.float64


def test_gradients_of_a_weight_used_at_every_step_are_summed_in_float32():
    linear = Linear(1, 1, bias=False)
    nn.init.ones_(linear.weight)
    steps = torch.tensor([256.0, *[1.0] * 64]).view(-1, 1, 1)  # in bf16, 256 + 1 is 256
    with compute("bf16", CPU):
        total = sum(linear(step).float().sum() for step in steps)
    total.backward()
    assert linear.weight.grad.item() == 320


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_drops_at_its_rate_whatever_the_place(probability):
    dropped = (dropout(torch.ones(400_000), probability, training=True) == 0).float()
    # Four elements come from one draw; each of its parts must be as good as the others.
    assert (dropped.view(-1, 4).mean(0) - probability).abs().max() < 0.01
    assert (dropped.mean() - probability).abs() < 0.005


@pytest.mark.parametrize("probability", [0.1, 0.3333, 0.9])
def test_dropout_scales_by_the_probability_that_it_really_has(probability):
    levels = round(probability * 65536)
    kept = dropout(torch.ones(1000, dtype=torch.float64), probability, training=True).max().item()
    assert kept * (1 - levels / 65536) == pytest.approx(1, abs=1e-15)


def test_dropout_repeats_from_the_state_of_the_global_generator():
    x, state = torch.ones(7, 5), torch.get_rng_state()
    first, second = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 5), (2, 3, 7)])
def test_dropout_is_its_reference(shape):
    x, upstream = torch.randn(2, *shape, dtype=torch.float64)
    x.requires_grad_()
    state = torch.get_rng_state()
    fast = dropout(x, 0.3, training=True)
    torch.set_rng_state(state)
    plain = reference_dropout(x, 0.3)
    torch.testing.assert_close(fast, plain, rtol=1e-15, atol=0)
    (of_fast,) = torch.autograd.grad(fast, x, upstream)
    (of_plain,) = torch.autograd.grad(plain, x, upstream)
    torch.testing.assert_close(of_fast, of_plain, rtol=1e-15, atol=0)


def test_dropout_keeps_bf16():
    assert dropout(torch.ones(8, dtype=torch.bfloat16), 0.5, training=True).dtype is torch.bfloat16


def test_dropout_without_training_or_probability_draws_nothing():
    x, module, state = torch.randn(9), Dropout(0.5).eval(), torch.get_rng_state()
    assert module(x) is x
    assert dropout(x, 0.0, training=True) is x
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("low", [torch.float64, torch.bfloat16])
def test_a_sum_with_dropout_is_its_reference(low):
    x = torch.randn(3, 5, 7, dtype=torch.float64 if low is torch.float64 else torch.float32)
    x.requires_grad_()
    y, upstream = torch.randn(3, 5, 7, dtype=low, requires_grad=True), torch.randn_like(x)
    state = torch.get_rng_state()
    fast = add_dropped(x, y, 0.3, training=True)
    torch.set_rng_state(state)
    plain = reference_add_dropped(x, y, 0.3)
    assert fast.dtype is x.dtype
    rounding = 1e-15 if low is torch.float64 else 2 * BF16_ROUNDING
    torch.testing.assert_close(fast, plain, rtol=rounding, atol=rounding)
    for of_fast, of_plain in zip(
        torch.autograd.grad(fast, (x, y), upstream), torch.autograd.grad(plain, (x, y), upstream), strict=True
    ):
        torch.testing.assert_close(of_fast, of_plain, rtol=rounding, atol=rounding)


def test_a_sum_outside_training_drops_and_draws_nothing():
    x, y, state = torch.randn(4), torch.randn(4), torch.get_rng_state()
    assert torch.equal(add_dropped(x, y, 0.5, training=False), x + y)
    assert torch.equal(add_dropped(x, y, 0.0, training=True), x + y)
    assert torch.equal(torch.get_rng_state(), state)


PAGES_TAKEN = """
import resource, sys, torch
from dragoman.model.kernels import hold_memory
holding = sys.argv[1] == "hold" and hold_memory()
blocks = [torch.ones(2**18) for _ in range(40)]
del blocks
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [torch.ones(2**18) for _ in range(40)]
    del blocks
print(int(holding), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_that_is_held_is_not_taken_anew():
    def pages(word):
        command = [sys.executable, "-c", PAGES_TAKEN, word]
        return map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())

    (_, taken), (holding, taken_when_held) = pages("leave"), pages("hold")
    if not holding:
        pytest.skip("this C library cannot be told")
    assert taken_when_held < 0.5 * taken
