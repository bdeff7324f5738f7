"""Scaled dot-product attention computes what its reference computes: values and gradients."""

import pytest
import torch

from dragoman.model import scaled_dot
from dragoman.model.kernels import compute
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
]


@pytest.mark.parametrize("longest", [0, 10**9], ids=["fused", "plain"])
@pytest.mark.parametrize(("steps", "keys", "causal", "padded"), ATTENTIONS)
def test_attention_is_its_reference(monkeypatch, steps, keys, causal, padded, longest):
    monkeypatch.setattr(scaled_dot, "LONG_ATTENTION", longest)
    operands, mask = _operands(steps, keys), _padding(keys) if padded else None
    fast, plain = attend(*operands, mask, causal), reference_attend(*operands, mask, causal)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-13)
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
