"""The fused cross-entropy computes what torch's computes, without ever holding all logits."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dragoman.model import cross_entropy as module
from dragoman.model.cross_entropy import cross_entropy, reference_cross_entropy
from dragoman.model.kernels import compute
from dragoman.records import PAD

POSITIONS, WIDTH, SYMBOLS = 23, 6, 11


def _operands(dtype=torch.float64, with_bias=True):
    outputs = torch.randn(POSITIONS, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(SYMBOLS, WIDTH, dtype=dtype, requires_grad=True)
    bias = torch.randn(SYMBOLS, dtype=dtype, requires_grad=True) if with_bias else None
    targets = torch.randint(1, SYMBOLS, (POSITIONS,))
    targets[::5] = PAD
    return outputs, weight, bias, targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_values_and_gradients_are_those_of_torch(monkeypatch, smoothing, with_bias, rows):
    monkeypatch.setitem(module.CHUNK_LOGITS, "cpu", rows * SYMBOLS)
    outputs, weight, bias, targets = _operands(with_bias=with_bias)
    wanted = [x for x in (outputs, weight, bias) if x is not None]
    total, nll = cross_entropy(outputs, weight, bias, targets, smoothing)
    expected, expected_nll = reference_cross_entropy(outputs, weight, bias, targets, smoothing)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(nll, expected_nll, rtol=1e-12, atol=0)
    assert total.dtype is torch.float64
    assert not nll.requires_grad
    for fused, plain in zip(
        torch.autograd.grad(total / 7, wanted), torch.autograd.grad(expected / 7, wanted), strict=True
    ):
        torch.testing.assert_close(fused, plain, rtol=0, atol=1e-13)


def test_gradients_agree_with_differences():
    outputs, weight, bias, targets = _operands()
    assert torch.autograd.gradcheck(
        lambda *operands: cross_entropy(*operands, targets, 0.1)[0], (outputs, weight, bias)
    )


def test_values_without_gradients_are_the_same():
    outputs, weight, bias, targets = _operands()
    total, nll = cross_entropy(outputs, weight, bias, targets, 0.1)
    with torch.no_grad():
        alone, alone_nll = cross_entropy(outputs, weight, bias, targets, 0.1)
    assert torch.equal(alone, total)
    assert torch.equal(alone_nll, nll)
    assert not alone.requires_grad


def test_frozen_parts_get_no_gradient():
    outputs, weight, bias, targets = _operands()
    total, _ = cross_entropy(outputs.detach(), weight, bias.detach(), targets)
    total.backward()
    assert weight.grad is not None
    assert bias.grad is None


def test_nothing_but_padding_costs_nothing():
    outputs, weight, bias, targets = _operands()
    total, nll = cross_entropy(outputs, weight, bias, torch.full_like(targets, PAD), 0.1)
    total.backward()
    assert (total.item(), nll.item()) == (0, 0)
    assert outputs.grad.abs().max() == 0
    assert weight.grad.abs().max() == 0


def test_unlikely_targets_keep_their_loss():
    outputs, weight = torch.tensor([[1000.0]]), torch.tensor([[0.0], [-1.0], [1.0]])
    _, nll = cross_entropy(outputs, weight, None, torch.tensor([1]))
    assert nll.item() == 2000


class _Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_logits_of_all_positions_never_exist(monkeypatch, smoothing):
    monkeypatch.setitem(module.CHUNK_LOGITS, "cpu", 8 * 500)
    outputs, weight = torch.randn(401, 4), torch.randn(500, 4, requires_grad=True)
    with _Largest() as largest:
        cross_entropy(outputs, weight, None, torch.randint(1, 500, (401,)), smoothing)[0].backward()
    assert largest.elements == 8 * 500


def test_blocks_within_chunks_change_nothing(monkeypatch):
    monkeypatch.setitem(module.CHUNK_LOGITS, "cpu", 7 * SYMBOLS)
    monkeypatch.setitem(module._BLOCK_LOGITS, "cpu", 3 * SYMBOLS)
    *operands, targets = _operands()
    total, nll = cross_entropy(*operands, targets, 0.1)
    expected, expected_nll = reference_cross_entropy(*operands, targets, 0.1)
    torch.testing.assert_close(total, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(nll, expected_nll, rtol=1e-13, atol=0)
    for found, right in zip(
        torch.autograd.grad(total, operands), torch.autograd.grad(expected, operands), strict=True
    ):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-14)


def test_bf16_is_near_and_returns_float32_gradients():
    outputs, weight, bias, targets = _operands(torch.float32)
    operands = (outputs, weight, bias)
    expected, expected_nll = reference_cross_entropy(*operands, targets, 0.1)
    with compute("bf16", torch.device("cpu")):
        total, nll = cross_entropy(*operands, targets, 0.1)
    torch.testing.assert_close(total, expected, rtol=0.01, atol=0)
    torch.testing.assert_close(nll, expected_nll, rtol=0.01, atol=0)
    for low, plain in zip(
        torch.autograd.grad(total, operands), torch.autograd.grad(expected, operands), strict=True
    ):
        assert low.dtype is torch.float32
        assert (low - plain).norm() < 0.02 * plain.norm()
