"""Scaled dot-product attention computes what its reference computes: values and gradients."""

import pytest
import torch

from dragoman.model import scaled_dot
from dragoman.model.kernels import compute, draw_kept
from dragoman.model.scaled_dot import attend, attention_weights, read, reference_attend

CPU = torch.device("cpu")


def _operands(steps: int, keys: int) -> tuple[torch.Tensor, ...]:
    return tuple(
        torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True)
        for length in (steps, keys, keys)
    )


def _padding(keys: int) -> torch.Tensor:
    return (torch.arange(keys) < torch.tensor([[keys], [max(1, keys - 2)]]))[:, None, None]


ATTENTIONS = [
    (5, 5, False, True),
    (5, 5, True, False),
    (5, 5, True, True),
    (3, 7, True, False),
    (1, 6, True, True),
    (16, 16, True, False),
    (17, 31, False, True),
    (33, 33, True, True),
]


@pytest.mark.parametrize("longest", [0, 10**9], ids=["fused", "plain"])
@pytest.mark.parametrize(("steps", "keys", "causal", "padded"), ATTENTIONS)
def test_attention_is_its_reference(monkeypatch, steps, keys, causal, padded, longest):
    monkeypatch.setattr(scaled_dot, "LONG_ATTENTION", longest)
    operands, mask = _operands(steps, keys), _padding(keys) if padded else None
    fast, plain = attend(*operands, mask, causal), reference_attend(*operands, mask, causal)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-13)
    with torch.no_grad():
        answering = attend(*(x.detach() for x in operands), mask, causal)
    torch.testing.assert_close(answering, plain, rtol=0, atol=1e-13)
    upstream = torch.randn_like(plain)
    for of_fast, of_plain in zip(
        torch.autograd.grad(fast, operands, upstream),
        torch.autograd.grad(plain, operands, upstream),
        strict=True,
    ):
        torch.testing.assert_close(of_fast, of_plain, rtol=0, atol=1e-13)


def test_attention_weights_are_exactly_zero_where_masked_and_finite_with_nothing_to_read():
    query, keys, _ = _operands(2, 3)
    mask = torch.tensor([[True, True, False], [False, False, False]])[:, None, None]
    weights = attention_weights(query, keys, mask)
    assert (weights[0, :, :, 2] == 0).all()
    assert weights.isfinite().all()


def test_short_attention_is_precise_under_bf16():
    query, keys, values = (x.detach().float() for x in _operands(4, 6))
    with compute("bf16", CPU):
        low = attend(query, keys, values)
        weights = attention_weights(query.bfloat16(), keys.bfloat16())
        assert read(weights, values.bfloat16()).dtype is torch.float32
    torch.testing.assert_close(low, attend(query, keys, values), rtol=0, atol=0)
    assert weights.dtype is torch.float32


def test_dropout_of_attention_keeps_the_mean():
    query, keys, values = (x.detach()[:1] for x in _operands(4, 6))
    copies = [x.expand(2000, -1, -1, -1) for x in (query, keys, values)]
    many = attend(*copies, dropout_probability=0.5)
    assert (many[0] != many[1]).any()
    torch.testing.assert_close(many.mean(0), attend(query, keys, values)[0], rtol=0, atol=0.15)


def test_dropout_in_training_drops_weights_and_their_gradients():
    operands = _operands(5, 7)
    query, keys, values = operands
    state = torch.get_rng_state()
    fast = attend(*operands, dropout_probability=0.4)
    torch.set_rng_state(state)
    kept, scale = draw_kept(torch.Size((2, 3, 16, 16)), 0.4, torch.float64)  # whole blocks
    weights = (query @ keys.transpose(-1, -2) / 2).softmax(-1) * kept[:, :, :5, :7] * scale
    plain, upstream = weights @ values, torch.randn_like(fast)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-13)
    for of_fast, of_plain in zip(
        torch.autograd.grad(fast, operands, upstream),
        torch.autograd.grad(plain, operands, upstream),
        strict=True,
    ):
        torch.testing.assert_close(of_fast, of_plain, rtol=0, atol=1e-13)


def test_with_nothing_to_read_training_and_answering_agree():
    operands, mask = _operands(2, 3), torch.zeros(2, 1, 1, 3, dtype=torch.bool)
    answer = attend(*(x.detach() for x in operands), mask)
    torch.testing.assert_close(attend(*operands, mask), answer, rtol=0, atol=1e-6)


def test_training_in_bf16_is_near_and_keeps_the_types():
    operands = [x.detach().bfloat16().requires_grad_() for x in _operands(5, 7)]
    exact = [x.detach().double().requires_grad_() for x in operands]
    with compute("bf16", CPU):
        low = attend(*operands)
    plain, upstream = reference_attend(*exact), torch.randn(2, 3, 5, 4).bfloat16()
    assert low.dtype is torch.bfloat16
    torch.testing.assert_close(low.double(), plain, rtol=2**-8, atol=1e-6)
    for of_low, of_plain in zip(
        torch.autograd.grad(low, operands, upstream),
        torch.autograd.grad(plain, exact, upstream.double()),
        strict=True,
    ):
        assert of_low.dtype is torch.bfloat16
        torch.testing.assert_close(of_low.double(), of_plain, rtol=2**-7, atol=1e-5)
