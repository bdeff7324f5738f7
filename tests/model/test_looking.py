"""What is watched is what attention did, whichever way it was computed."""

import pytest
import torch

from dragoman.model.build import build_model
from dragoman.model.looking import watched
from dragoman.model.scaled_dot import LONG_ATTENTION
from dragoman.model.sublayers import join, split
from dragoman.recipe.model import Model
from dragoman.records import Port, Sequence

TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 2, "heads": 2}
ENCODERS = {
    "sinusoidal": TRANSFORMER,
    "rotary": {**TRANSFORMER, "positions": "rotary"},
    "conformer": {"kind": "conformer", "width": 8, "layers": 2, "heads": 2, "kernel_width": 3},
}


def model_of(encoder, decoder=TRANSFORMER):
    section = Model.model_validate({"encoder": encoder, "decoder": decoder})
    return build_model(section, Port("tokens", 12), Port("tokens", 12)).double().eval()


def batch_of(steps):
    lengths = torch.tensor([steps, steps - 2])
    tokens = torch.randint(4, 12, (2, steps))
    return Sequence(tokens, lengths), torch.randint(4, 12, (2, 5))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("is_long", [False, True])
def test_an_encoders_weights_make_what_it_hears(name, is_long):
    model, (source, _) = model_of(ENCODERS[name]), batch_of(200 if is_long else 9)
    assert (source.values.shape[1] ** 2 > LONG_ATTENTION) == is_long
    given, heard = [], []
    for layer in model.encoder.layers:
        layer.hear.register_forward_pre_hook(lambda _, x: given.append(x[0]))
        layer.hear.register_forward_hook(lambda _, x, y: heard.append(y[0]))
    with torch.no_grad(), watched(model) as looks:
        model.encode(source)
    assert len(looks.encoder) == 2
    assert not looks.decoder
    for layer, x_BTD, heard_BTD, weights in zip(
        model.encoder.layers, given, heard, looks.encoder, strict=True
    ):
        _, _, values_BHSE = split(layer.hear.inward(x_BTD), 3, 2)
        torch.testing.assert_close(layer.hear.outward(join(weights @ values_BHSE)), heard_BTD)
        assert not weights[1, :, :, -2:].any(), "padding is not heard"


@pytest.mark.parametrize(
    "decoder",
    [
        {"kind": "transformer", "width": 8, "layers": 3, "heads": 2},
        {"kind": "gru", "width": 8, "attention": {"kind": "scaled_dot", "heads": 4}},
        {"kind": "lstm", "width": 8, "attention": {"kind": "location"}, "input_feeding": True},
    ],
)
def test_a_decoders_heads_have_the_mean_that_it_reports(decoder):
    model, (source, tokens_BT) = model_of(TRANSFORMER, decoder), batch_of(7)
    with torch.no_grad():
        memory = model.encode(source)
        plain, _ = model.advance(tokens_BT, model.start(memory))
        with watched(model) as looks:
            seen, _ = model.advance(tokens_BT, model.start(memory))
        told, _ = model.advance(tokens_BT, model.start(memory), reads=True)
    torch.testing.assert_close(seen.outputs_BTD, plain.outputs_BTD, rtol=0, atol=0)
    layers, heads = (
        decoder.get("layers", 1),
        decoder.get("heads", decoder.get("attention", {}).get("heads", 1)),
    )
    assert [weights.shape for weights in looks.decoder] == [(2, heads, 5, 7)] * layers
    torch.testing.assert_close(torch.stack(looks.decoder).mean((0, 2)), told.reads_BTS)


def test_a_fixed_context_is_not_looked_at_and_nothing_is_left_behind():
    model, (source, tokens_BT) = (
        model_of(TRANSFORMER, {"kind": "gru", "width": 8, "attention": {"kind": "none"}}),
        batch_of(7),
    )
    with torch.no_grad(), watched(model) as looks:
        model.advance(tokens_BT, model.start(model.encode(source)))
    assert not looks.decoder
    assert not any(part._forward_hooks for part in model.modules())
