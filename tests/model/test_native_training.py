"""Kernels of training in C compute what torch computes: values, gradients, drops, whole trainings."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from dragoman.model import draws, passes, products, scaled_dot, short_attention
from dragoman.model.build import build_model
from dragoman.model.cross_entropy import cross_entropy, reference_cross_entropy
from dragoman.model.draws import Draws, new_draws
from dragoman.model.kernels import add_dropped, compute, dropout
from dragoman.model.scaled_dot import attend
from dragoman.model.sublayers import FeedForward
from dragoman.native.training import bf16_kernels, fp32_kernels, kernels
from dragoman.recipe import model as recipe
from dragoman.records import Batch, Port, Sequence

CPU = torch.device("cpu")
BF16_ROUNDING = 2**-8
needs_kernels = pytest.mark.skipif(kernels() is None, reason="no compiler here")
needs_bf16 = pytest.mark.skipif(bf16_kernels() is None, reason="no compiler or no bf16 units here")
needs_fp32 = pytest.mark.skipif(fp32_kernels() is None, reason="no compiler or no wide vectors here")
in_both = pytest.mark.parametrize(
    "precision", [pytest.param("fp32", marks=needs_fp32), pytest.param("bf16", marks=needs_bf16)]
)
ROUNDING = {"fp32": 2e-6, "bf16": BF16_ROUNDING}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@contextmanager
def in_torch():
    """Compute without kernels in C inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (draws, passes, short_attention):
            patch.setattr(module, "kernels", lambda: None)
        patch.setattr(products, "bf16_kernels", lambda: None)
        patch.setattr(products, "fp32_kernels", lambda: None)
        yield


@pytest.fixture
def few_rows(monkeypatch):
    """Let products of float32 of our own have any number of rows."""
    monkeypatch.setattr(products, "_FEWEST_ROWS", 1)


def values_and_gradients(function, *inputs, threads=1):
    """Call with fresh leaves and the seed of always; return the result and the gradients of a fixed sum."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    try:
        result = function(*leaves)
        upstream = torch.randn(result.shape, generator=torch.Generator().manual_seed(2)).to(result.dtype)
        return [result.detach(), *torch.autograd.grad(result, leaves, upstream)]
    finally:
        torch.set_num_threads(1)


def assert_same(function, *inputs, tolerance=2e-6):
    """Hold C to torch, relative to the largest number, and two threads to one, to the bit."""
    one_thread = values_and_gradients(function, *inputs)
    for one, two in zip(one_thread, values_and_gradients(function, *inputs, threads=2), strict=True):
        assert torch.equal(one, two)
    assert_close(function, *inputs, tolerance=tolerance)


def assert_close(function, *inputs, tolerance=2e-6):
    """Hold C to torch, relative to the largest number."""
    native = values_and_gradients(function, *inputs)
    with in_torch():
        reference = values_and_gradients(function, *inputs)
    for found, wanted in zip(native, reference, strict=True):
        assert found.dtype is wanted.dtype
        assert (found - wanted).abs().max() <= tolerance * wanted.abs().max() + 1e-12


# --- draws


@needs_kernels
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 64), (4, 130)])
def test_draws_are_the_same_in_c_and_in_torch(shape):
    chosen, size = new_draws(0.3), torch.Size(shape)
    native = chosen.kept(size, torch.float32)
    with in_torch():
        assert torch.equal(chosen.kept(size, torch.float32), native)


def test_draws_follow_from_the_seed_for_ever():
    # A run that goes on with a later version drops the same: numbers of SplitMix64 for the seed 1234567.
    kept = Draws(1234567, 2**15, 2.0).reference_kept(1, 8)
    levels = [
        number >> 16 * place & 0xFFFF
        for number in (6457827717110365317, 3203168211198807973)
        for place in range(4)
    ]
    assert kept[0].tolist() == [level >= 2**15 for level in levels]


# --- products


@in_both
@pytest.mark.parametrize("rows", [1, 5, 6, 48, 131])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 4), (18, 66), (64, 64), (258, 130), (300, 22)])
def test_products_are_those_of_exact_sums(few_rows, precision, rows, inputs, outputs):
    dtype = TYPES[precision]
    linear = nn.Linear(inputs, outputs)
    x = torch.randn(rows, inputs)
    low_x, low_weight = x.to(dtype), linear.weight.detach().to(dtype)
    pull = torch.randn(rows, outputs).to(dtype)
    exact = low_x.double() @ low_weight.double().t() + linear.bias.double()
    with compute(precision, CPU):
        leaf = x.clone().requires_grad_()
        mapped = products.linear(leaf, linear.weight, linear.bias)
    assert type(mapped.grad_fn).__name__ == "_LinearBackward"
    assert mapped.dtype is dtype
    found = torch.autograd.grad(mapped, (leaf, linear.weight, linear.bias), pull)
    wanted = (
        pull.double() @ low_weight.double(),
        pull.double().t() @ low_x.double(),
        pull.double().sum(0),
    )
    assert (mapped - exact).abs().max() <= ROUNDING[precision] * exact.abs().max()
    # Sums are of float32: gradients of weights are never rounded to bf16.
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype is torch.float32
        assert (one - other).abs().max() <= 2e-6 * other.abs().max()


@needs_fp32
@pytest.mark.parametrize("rows", [1, 7, 150])
def test_products_of_float32_take_odd_widths_and_go_on_at_any_number_of_threads(few_rows, rows):
    weight, bias = torch.randn(67, 33), torch.randn(67)
    assert_same(products.linear, torch.randn(rows, 33), weight, bias)


@needs_fp32
def test_torch_multiplies_few_rows_and_other_types_than_float32():
    weight, many = torch.randn(8, 4, requires_grad=True), torch.randn(products._FEWEST_ROWS, 4)
    for x, factor in ((many[1:], weight), (many.double(), weight.double()), (many, weight[:, ::2])):
        x = x[:, : factor.shape[1]]
        assert type(products.linear(x, factor, None).grad_fn).__name__ != "_LinearBackward"
    assert type(products.linear(many, weight, None).grad_fn).__name__ == "_LinearBackward"
    with torch.no_grad():
        assert torch.equal(products.linear(many, weight, None), many @ weight.t())


@in_both
@pytest.mark.parametrize("probability", [0.0, 0.25])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_feed_forward_block_is_that_of_torch(few_rows, precision, probability, steps):
    section = recipe.TransformerEncoder(
        kind="transformer", heads=2, width=34, feedforward_width=70, feedforward_dropout=probability
    )
    block = FeedForward(section)
    names = list(dict(block.named_parameters()))

    def call(x, *weights):
        with compute(precision, CPU):
            return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), (x,))

    tolerance = 4 * ROUNDING[precision]
    assert_same(call, torch.randn(3, steps, 34), *block.parameters(), tolerance=tolerance)


@needs_fp32
def test_the_loss_by_products_of_float32_of_our_own_is_that_of_torch(few_rows):
    outputs, weight, bias = torch.randn(301, 33), torch.randn(1031, 33), torch.randn(1031)
    targets = torch.randint(0, 1031, (301,))
    assert_same(lambda *leaves: cross_entropy(*leaves, targets, 0.1)[0], outputs, weight, bias)


@needs_bf16
def test_the_loss_in_bf16_is_near_that_of_float32():
    outputs, weight, bias = torch.randn(301, 32), torch.randn(1030, 32), torch.randn(1030)
    targets = torch.randint(0, 1030, (301,))
    exact, _ = reference_cross_entropy(outputs, weight, bias, targets, 0.1)

    def loss(*leaves):
        with compute("bf16", CPU):
            return cross_entropy(*leaves, targets, 0.1)[0]

    assert_same(loss, outputs, weight, bias, tolerance=4 * BF16_ROUNDING)
    assert abs(loss(outputs, weight, bias) / exact - 1) < BF16_ROUNDING


def loss_in_float32(has_bias):
    """A loss over 1,030 symbols of 301 positions, and what it is of."""
    targets = torch.randint(0, 1030, (301,))
    bias = [torch.randn(1030)] if has_bias else []

    def loss(outputs, weight, bias=None):
        return cross_entropy(outputs, weight, bias, targets, 0.1)[0]

    return loss, torch.randn(301, 32), torch.randn(1030, 32), *bias


@needs_kernels
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_loss_in_float32_is_that_of_torch(has_bias):
    # Products of so few rows are torch's, which some processors round by the number of threads.
    assert_close(*loss_in_float32(has_bias))


@needs_fp32
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_loss_in_float32_by_our_products_is_that_of_torch_on_any_number_of_threads(has_bias, few_rows):
    assert_same(*loss_in_float32(has_bias))


# --- attention


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize(
    ("steps", "keys", "width", "causal"),
    [(1, 1, 64, False), (1, 9, 8, True), (17, 17, 20, True), (33, 16, 64, False)],
)
def test_attention_is_that_of_torch(dtype, probability, steps, keys, width, causal):
    query = torch.randn(3, 2, steps, width).to(dtype)
    keys_and_values = torch.randn(2, 3, keys, 2, width).to(dtype).transpose(2, 3)
    mask = (
        torch.arange(keys) < torch.tensor([keys, max(1, keys - 3), 0])[:, None, None, None]
    )  # none in the last

    def call(*operands):
        return attend(*operands, mask, causal, probability)

    assert short_attention.attends(query, *keys_and_values)
    tolerance = 4e-6 if dtype is torch.float32 else 2 * BF16_ROUNDING
    assert_same(call, query, *keys_and_values, tolerance=tolerance)


@needs_kernels
def test_joined_operands_attend_as_they_do_apart():
    joined = torch.randn(4, 11, 3, 2, 12)
    mask = torch.rand(4, 1, 1, 11) < 0.7

    def together(x):
        return short_attention.attend_joined(x, mask, True, 0.2)

    def apart(x):
        return scaled_dot.attend(*x.permute(2, 0, 3, 1, 4).unbind(0), mask, True, 0.2)

    for one, other in zip(
        values_and_gradients(together, joined), values_and_gradients(apart, joined), strict=True
    ):
        assert torch.equal(one, other)


# --- passes


@needs_kernels
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 9, 70)])
def test_dropout_is_that_of_torch(shape):
    assert_same(lambda x: dropout(x, 0.4, training=True), torch.randn(shape))
    assert_same(
        lambda x, y: add_dropped(x, y.bfloat16(), 0.4, training=True), *torch.randn(2, *shape), tolerance=1e-2
    )


@needs_kernels
@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("shape", [(1, 2), (5, 7), (3, 40, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_are_those_of_torch(kind, shape, dtype):
    norm, x = kind(shape[-1], eps=1e-5), 3 + torch.randn(shape)
    pull = torch.randn(shape).to(dtype)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    leaf = x.requires_grad_()
    leaves = (leaf, *norm.parameters())
    found = passes.normed(leaf, norm, dtype)
    wanted = norm(leaf)
    assert (found - wanted).abs().max() <= (
        1e-5 if dtype is torch.float32 else BF16_ROUNDING
    ) * wanted.abs().max()
    for one, other in zip(
        torch.autograd.grad(found, leaves, pull),
        torch.autograd.grad(wanted, leaves, pull.float()),
        strict=True,
    ):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max() + 1e-5


# --- training as a whole

SYMBOLS, LEARNING_STEPS = 40, 200
_TRANSFORMER = {
    "kind": "transformer",
    "width": 32,
    "layers": 2,
    "heads": 2,
    "feedforward_width": 64,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "feedforward_dropout": 0.1,
}
PAIRS = {
    "transformer": recipe.Model(
        encoder=recipe.TransformerEncoder(**_TRANSFORMER), decoder=recipe.TransformerDecoder(**_TRANSFORMER)
    ),
    "lstm": recipe.Model(
        encoder=recipe.RecurrentEncoder(kind="lstm", width=32),
        decoder=recipe.RecurrentDecoder(kind="lstm", width=32),
    ),
}


def reversed_batch(generator):
    """Make a batch whose targets are its sources from the last to the first."""
    lengths_B = torch.randint(1, 12, (24,), generator=generator)
    values_BS = torch.randint(4, SYMBOLS, (24, 11), generator=generator)
    mask_BS = torch.arange(11) < lengths_B[:, None]
    backwards_BS = (lengths_B[:, None] - 1 - torch.arange(11)).clamp(min=0)
    target_BS = values_BS.gather(1, backwards_BS)
    return Batch(
        Sequence(values_BS * mask_BS, lengths_B), Sequence(target_BS * mask_BS, lengths_B), ("",) * 24
    )


def losses(section, precision, steps):
    """Train on batches of always and return the loss of each step, a token."""
    torch.manual_seed(2)
    model = build_model(section, Port("tokens", SYMBOLS), Port("tokens", SYMBOLS)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator, found = torch.Generator().manual_seed(3), []
    for _ in range(steps):
        with compute(precision, CPU):
            loss = model.loss(reversed_batch(generator), 0.1)
        optimizer.zero_grad()
        (loss.total / loss.tokens).backward()
        optimizer.step()
        found.append(loss.nll / loss.tokens)
    return torch.stack(found)


@needs_bf16
@pytest.mark.parametrize(("pair", "steps"), [("transformer", LEARNING_STEPS), ("lstm", 60)])
def test_a_training_in_bf16_and_c_goes_as_one_in_float32_and_torch(pair, steps):
    with in_torch():
        reference = losses(PAIRS[pair], "fp32", steps)
    found = losses(PAIRS[pair], "bf16", steps)
    # Equal masks, so only roundings differ. Logits and what they come from are rounded at 2**-9 of their
    # size, independently, and a loss is a mean over more than a hundred tokens: it stays within one rounding
    # of its own, 2**-8 of it, and without drift within a tenth of that on average over the steps.
    assert reference[-10:].mean() < reference[:10].mean() - 0.05
    assert ((found - reference).abs() < BF16_ROUNDING * reference).all()
    assert (found - reference).mean().abs() < 0.1 * BF16_ROUNDING * reference.mean()
