import copy

import pytest
import torch
from torch import nn

from dragoman.model.answering import in_float32, in_int8
from dragoman.model.answering_linear import Float32Linear
from dragoman.model.answering_recurrent import AnsweringRecurrentLayer, recurrent_kernels
from dragoman.model.build import build_model
from dragoman.model.int8_linear import Int8Linear
from dragoman.model.recurrent_layer import RecurrentLayer
from dragoman.native.structures import answering_kernels
from dragoman.recipe.loading import recipe_from
from dragoman.records import Port, Sequence

ARCHITECTURES = [
    {"encoder": {"kind": "transformer"}, "decoder": {"kind": "transformer"}, "tie": "all"},
    {"encoder": {"kind": "lstm"}, "decoder": {"kind": "transformer"}, "target_embedding_width": 96},
    {"encoder": {"kind": "gru"}, "decoder": {"kind": "lstm", "attention": {"kind": "additive"}}},
]


def _model(architecture):
    sides = {}
    for side in ("encoder", "decoder"):
        sizes = {"width": 128, "layers": 1, "dropout": 0.0}
        if architecture[side]["kind"] == "transformer":
            sizes |= {"heads": 2, "feedforward_width": 128}
        sides[side] = {**sizes, **architecture[side]}
    recipe = recipe_from(
        {
            "run": "none",
            "data": {"train": [{"file": "none.tsv"}], "held_out_dev": 0.1},
            "joint_vocabulary": "tie" in architecture,
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": {**architecture, **sides},
            "training": {"max_steps": 1},
        }
    )
    torch.manual_seed(1)
    return build_model(recipe.model, Port("tokens", 90), Port("tokens", 90)).eval()


def _sources():
    drawn = torch.Generator().manual_seed(2)
    return Sequence(torch.randint(4, 90, (7, 9), generator=drawn), torch.tensor([9, 1, 4, 9, 7, 2, 5]))


def _scores(model):
    with torch.inference_mode():
        tokens_BT = torch.full((7, 3), 5)
        decoded, _ = model.advance(tokens_BT, model.start(model.encode(_sources())))
        return model.logits(decoded.outputs_BTD)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(64,), (5, 64), (2, 3, 64), (1, 64)])
def test_a_linear_map_is_within_what_rounding_can_do(shape, bias):
    linear = nn.Linear(64, 70, bias=bias)
    x = torch.randn(shape) * torch.logspace(-3, 3, 64)
    with torch.inference_mode():
        exact, found = linear(x), Int8Linear(linear.weight, linear.bias)(x)
        # Each factor is off by half a step at most, and a step is a 127th of the largest number of its row.
        of_x = x.abs().amax(-1, keepdim=True) / 254 * linear.weight.abs().sum(1)
        of_weight = x.abs().sum(-1, keepdim=True) * linear.weight.abs().amax(1) / 254
        both = of_x + of_weight + 64 * x.abs().amax(-1, keepdim=True) * linear.weight.abs().amax(1) / 254**2
    assert found.shape == exact.shape
    assert ((found - exact).abs() <= both * 1.001 + 1e-6).all()
    assert (found - exact).abs().max() > 0


def test_a_row_of_zeros_gives_the_bias():
    linear = nn.Linear(64, 70)
    assert torch.equal(Int8Linear(linear.weight, linear.bias)(torch.zeros(2, 64))[1], linear.bias.detach())


def test_a_row_is_the_same_in_any_batch():
    linear = Int8Linear(torch.randn(70, 64), None)
    x = torch.randn(50, 64)
    alone = torch.cat([linear(row[None]) for row in x])
    assert torch.equal(linear(x), alone)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one["decoder"]["kind"])
def test_a_model_thinks_nearly_the_same_and_is_left_as_it_was(architecture):
    model = _model(architecture)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exact = _scores(model).log_softmax(-1)
    small = in_int8(model)
    found = _scores(small).log_softmax(-1)
    assert sum(isinstance(part, Int8Linear) for part in small.modules()) >= 3
    assert not torch.equal(found, exact)
    assert (found.exp() - exact.exp()).abs().max() < 0.02
    assert torch.equal(_scores(model).log_softmax(-1), exact)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_is_made_small_once_until_its_weights_change():
    model = _model(ARCHITECTURES[0])
    small = in_int8(model)
    assert in_int8(model) is small
    with torch.no_grad():
        model.encoder.layers[0].feed.inward.weight.mul_(2)
    changed = in_int8(model)
    assert changed is not small
    assert not torch.equal(_scores(changed), _scores(small))


def test_a_model_is_made_small_again_when_a_weight_or_a_part_is_another():
    model = _model(ARCHITECTURES[0])
    small = in_int8(model)
    model.load_state_dict({name: 2 * one for name, one in model.state_dict().items()}, assign=True)
    assigned = in_int8(model)
    assert assigned is not small
    model.encoder = copy.deepcopy(model.encoder)
    assert in_int8(model) is not assigned


def test_a_model_keeps_one_weight_in_two_places_small_only_where_it_multiplies():
    model = _model(ARCHITECTURES[0])
    small = in_int8(model)
    assert small.source_frontend.weight is model.source_frontend.weight
    assert small.head.table.weight.dtype in (torch.int8, torch.uint8)


@pytest.mark.skipif(recurrent_kernels("int8") is None, reason="no compiler, or no products of 8 bits")
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@torch.inference_mode()
def test_recurrent_layers_compute_what_torch_computes_of_rounded_weights(kind):
    layer = RecurrentLayer(kind, 40, 24)
    small = AnsweringRecurrentLayer(layer, Int8Linear)
    for part, weight in ((small.seen, "weight_ih_l0"), (small.held, "weight_hh_l0")):
        exact_NK = getattr(layer.recurrence, weight)
        scale_N1 = exact_NK.abs().amax(1, keepdim=True) / 127
        exact_NK.copy_((exact_NK / scale_N1).round() * scale_N1)
        # Inputs of whole 127ths are not rounded, so that nothing but the hidden state is.
        assert part.inputs == exact_NK.shape[1]
    inputs_BTD = torch.randint(-127, 128, (5, 1, 40)) / 127
    inputs_BTD[:, :, 0] = 1
    hidden_BD, cell_BD = torch.randint(-127, 128, (5, 24)) / 127, torch.randn(5, 24)
    hidden_BD[:, 0] = 1
    expected, found = layer(inputs_BTD, hidden_BD, cell_BD), small(inputs_BTD, hidden_BD, cell_BD)
    for one, other in zip(expected, found, strict=True):
        assert (one is None and other is None) or (one - other).abs().max() < 1e-5
    many_BTD = torch.randn(5, 6, 40)
    outputs_BTD, last_BD, _ = small(many_BTD)
    assert torch.equal(outputs_BTD[:, -1], last_BD)
    exact_BTD = layer(many_BTD)[0]
    assert 0 < (outputs_BTD - exact_BTD).abs().max() < 0.03


@pytest.mark.skipif(recurrent_kernels("float32") is None, reason="no compiler, or no such products")
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@torch.inference_mode()
def test_recurrent_layers_of_float32_compute_what_torch_computes(kind):
    layer = RecurrentLayer(kind, 40, 24)
    inputs_BTD, hidden_BD, cell_BD = torch.randn(7, 6, 40), torch.randn(7, 24), torch.randn(7, 24)
    expected = layer(inputs_BTD, hidden_BD, cell_BD)
    found = AnsweringRecurrentLayer(layer, Float32Linear)(inputs_BTD, hidden_BD, cell_BD)
    for one, other in zip(expected, found, strict=True):
        assert (one is None and other is None) or (one - other).abs().max() < 1e-5


def test_a_model_on_its_way_to_lower_precision_answers_as_it_is():
    model = _model(ARCHITECTURES[0]).to(torch.bfloat16)
    assert in_float32(model) is model


@pytest.mark.skipif(answering_kernels("float32") is None, reason="no compiler, or no such products")
def test_a_model_of_float32_for_answering_is_the_same_until_a_weight_changes():
    model = _model(ARCHITECTURES[0])
    fast = in_float32(model)
    assert fast is not model
    assert in_float32(model) is fast
    with torch.no_grad():
        model.head.weight.add_(1)
    assert in_float32(model) is not fast


@pytest.mark.parametrize("made", [in_int8, in_float32])
@pytest.mark.parametrize("way", [{"fused": True}, {"foreach": True}, {}], ids=str)
def test_a_step_of_any_optimizer_makes_another_model_for_answering(made, way):
    if made is in_float32 and answering_kernels("float32") is None:
        pytest.skip("no compiler, or no such products")
    model = _model(ARCHITECTURES[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, **way)
    before = made(model)
    assert made(model) is before
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert made(model) is not before
