"""The Conformer by itself: its invariances, its formula, precisions. The battery of encoders runs it too."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F  # noqa: N812

from dragoman.model.answering import in_int8
from dragoman.model.build import build_model
from dragoman.model.conformer import ConformerEncoder
from dragoman.model.kernels import compute
from dragoman.recipe import model as recipe
from dragoman.records import Port, Sequence

WIDTH, INPUT_WIDTH = 16, 10
each_position = pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])


def _section(**changes):
    settings = {
        "kind": "conformer",
        "width": WIDTH,
        "layers": 2,
        "heads": 2,
        "feedforward_width": 24,
        "kernel_width": 5,
    }
    return recipe.ConformerEncoder(**settings | changes)


def _encoder(**changes):
    return ConformerEncoder(_section(**changes), INPUT_WIDTH).double().eval()


def _inputs(rows, steps):
    return torch.randn(rows, steps, INPUT_WIDTH, dtype=torch.float64)


def _all(inputs):
    return torch.ones(inputs.shape[:2], dtype=torch.bool)


@each_position
def test_padding_changes_nothing(positions):
    encoder, inputs = _encoder(positions=positions), _inputs(4, 9)
    lengths = torch.tensor([9, 1, 4, 7])
    mask = torch.arange(9) < lengths[:, None]
    memory = encoder(inputs, mask)
    for row, length in enumerate(lengths.tolist()):
        own = inputs[row : row + 1, :length]
        alone = encoder(own, _all(own))
        torch.testing.assert_close(memory.values_NSD[row, :length], alone.values_NSD[0], rtol=0, atol=1e-11)
        torch.testing.assert_close(memory.summary_ND[row], alone.values_NSD[0].mean(0), rtol=0, atol=1e-11)
        assert not memory.values_NSD[row, length:].any()


def test_in_training_too_a_sequence_does_not_see_the_others():
    encoder, inputs = _encoder(dropout=0.0).train(), _inputs(3, 6)
    together = encoder(inputs, _all(inputs)).values_NSD
    alone = encoder(inputs[:1], _all(inputs[:1])).values_NSD
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-11)


def test_convolutions_see_as_far_as_they_are_wide_and_attention_everywhere():
    encoder, inputs = _encoder(layers=1), _inputs(1, 12).requires_grad_()
    layer = encoder.layers[0]
    x = torch.randn(1, 12, WIDTH, dtype=torch.float64, requires_grad=True)
    (reach,) = torch.autograd.grad(layer.convolve(x, _all(x))[0, 6].sum(), x)
    assert reach.abs().sum(2)[0].nonzero().flatten().tolist() == [4, 5, 6, 7, 8]
    written = encoder(inputs, _all(inputs)).values_NSD[0, 6]
    (reach,) = torch.autograd.grad((written * torch.randn(WIDTH)).sum(), inputs)
    assert (reach.abs().sum(2) > 1e-9).all()


def test_a_layer_is_its_formula():
    layer, x = _encoder(layers=1).layers[0], torch.randn(2, 7, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    mask = _all(x)

    def norm(module, values):
        return F.layer_norm(values, (WIDTH,), module.weight, module.bias)

    def feed(block, around, values):
        inner = F.linear(norm(around.norm, values), block.inward.weight, block.inward.bias)
        return values + 0.5 * F.linear(inner * inner.sigmoid(), block.outward.weight, block.outward.bias)

    def convolve(block, values):
        first, gate = F.linear(values, block.inward.weight, block.inward.bias).chunk(2, -1)
        padded = F.pad(first * gate.sigmoid(), (0, 0, 2, 2))
        taps = block.depthwise.weight[:, 0].T
        mixed = sum(padded[:, tap : tap + 7] * taps[tap] for tap in range(5)) + block.depthwise.bias
        mixed = norm(block.norm, mixed)
        return F.linear(mixed * mixed.sigmoid(), block.outward.weight, block.outward.bias)

    expected = feed(layer.feed, layer.around_feed, x)
    expected = expected + layer.hear(norm(layer.around_hear.norm, expected))[0]
    expected = expected + convolve(layer.convolve, norm(layer.around_convolve.norm, expected))
    expected = norm(layer.norm, feed(layer.feed_again, layer.around_feed_again, expected))
    torch.testing.assert_close(layer(x, mask, None), expected, rtol=0, atol=1e-11)


def test_it_trains_in_bf16_close_to_float32():
    section = _section(positions="rotary", dropout=0.0, width=32)
    encoder = ConformerEncoder(section, INPUT_WIDTH)
    inputs = torch.randn(2, 8, INPUT_WIDTH)
    exact = encoder(inputs, _all(inputs)).values_NSD
    with compute("bf16", inputs.device):
        low = encoder(inputs, _all(inputs)).values_NSD
    assert low.dtype is torch.float32
    torch.testing.assert_close(low, exact, rtol=0, atol=0.1)
    low.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in encoder.parameters())


def test_it_answers_in_8_bits():
    torch.manual_seed(1)
    section = recipe.Model(
        encoder=_section(width=64, heads=4, feedforward_width=128, dropout=0.0),
        decoder=recipe.TransformerDecoder(kind="transformer", width=64, layers=1, heads=4),
    )
    model = build_model(section, Port("tokens", 20), Port("tokens", 20)).eval()
    source = Sequence(torch.randint(4, 20, (3, 6)), torch.tensor([6, 2, 4]))
    with torch.inference_mode():
        exact, low = model.encode(source).values_NSD, in_int8(model).encode(source).values_NSD
    assert not torch.equal(exact, low)
    torch.testing.assert_close(low, exact, rtol=0, atol=0.2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernel_width": 4}, "`kernel_width` must be odd, found 4"),
        ({"heads": 3}, "`width` 16 is not a multiple of `heads` 3"),
        ({"width": 6}, "rotary `positions` need an even width a head, found 3"),
        ({"width": 7, "heads": 1, "positions": "sinusoidal"}, "need an even `width`, found 7"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        _section(**wrong)
