"""The Transformer by itself: its invariances for every variant, and parity with torch's own layers."""

import pytest
import torch
from torch import nn

from dragoman.errors import DataError
from dragoman.model.contracts import Memory, rows_of
from dragoman.model.kernels import compute
from dragoman.model.sublayers import FeedForward, SelfAttention
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.recipe import model as recipe

WIDTH, HEADS, MEMORY_WIDTH, INPUT_WIDTH = 16, 2, 12, 10
LENGTHS = torch.tensor([6, 2, 4])

VARIANTS = [
    {},
    {"norm_position": "post"},
    {"positions": "rotary", "norm": "rms", "activation": "swiglu"},
    {"positions": "learnt", "activation": "geglu", "norm_position": "post"},
    {"positions": "rotary", "activation": "gelu"},
]
each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v.values()) or "default")


def _section(side, **changes):
    settings = {"kind": "transformer", "width": WIDTH, "layers": 2, "heads": HEADS, "feedforward_width": 24}
    return {"encoder": recipe.TransformerEncoder, "decoder": recipe.TransformerDecoder}[side](
        **(settings | changes)
    )


def _encoder(**changes):
    return TransformerEncoder(_section("encoder", **changes), INPUT_WIDTH).double().eval()


def _decoder(**changes):
    return TransformerDecoder(_section("decoder", **changes), INPUT_WIDTH, MEMORY_WIDTH).double().eval()


def _mask(lengths=LENGTHS):
    return torch.arange(int(lengths.max())) < lengths[:, None]


def _memory():
    mask = _mask()
    values = torch.randn(*mask.shape, MEMORY_WIDTH, dtype=torch.float64) * mask[..., None]
    return Memory(values, mask, values.mean(1))


def _inputs(rows, steps):
    return torch.randn(rows, steps, INPUT_WIDTH, dtype=torch.float64)


def _close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11)


@each_variant
def test_an_encoder_does_not_see_padding(variant):
    encoder, inputs = _encoder(**variant), _inputs(3, 6)
    memory = encoder(inputs, _mask())
    for row, length in enumerate(LENGTHS.tolist()):
        alone = encoder(inputs[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        _close(memory.values_NSD[row, :length], alone.values_NSD[0])
        _close(memory.summary_ND[row], alone.values_NSD[0].mean(0))
        _close(alone.summary_ND[0], alone.values_NSD[0].mean(0))
        assert (memory.values_NSD[row, length:] == 0).all()


@each_variant
def test_an_encoder_knows_the_order(variant):
    encoder, inputs, mask = _encoder(**variant), _inputs(1, 6), torch.ones(1, 6, dtype=torch.bool)
    turned = encoder(inputs.flip(1), mask).values_NSD.flip(1)
    assert (turned - encoder(inputs, mask).values_NSD).abs().max() > 1e-3


@each_variant
@pytest.mark.parametrize("sizes", [[1] * 7, [3, 1, 2, 1], [6, 1]], ids=str)
def test_a_decoder_does_not_see_how_the_target_is_cut(variant, sizes):
    decoder, memory, inputs = _decoder(**variant), _memory(), _inputs(3, 7)
    whole, _ = decoder(inputs, decoder.start(memory), reads=True)
    state, parts = decoder.start(memory), []
    for chunk in inputs.split(sizes, 1):
        decoded, state = decoder(chunk, state, reads=True)
        parts.append(decoded)
    _close(torch.cat([part.outputs_BTD for part in parts], 1), whole.outputs_BTD)
    _close(torch.cat([part.reads_BTS for part in parts], 1), whole.reads_BTS)


@each_variant
def test_a_decoder_does_not_see_the_future_or_its_neighbours(variant):
    decoder, memory, inputs = _decoder(**variant), _memory(), _inputs(3, 7)
    outputs = decoder(inputs, decoder.start(memory))[0].outputs_BTD
    inputs[:, 5:] += 1
    inputs[1:] *= 2
    changed = decoder(inputs, decoder.start(memory))[0].outputs_BTD
    _close(changed[0, :5], outputs[0, :5])
    assert (changed[0, 5:] - outputs[0, 5:]).abs().min(-1).values.max() > 1e-6
    second = memory.keep(torch.tensor([1]))
    short = Memory(second.values_NSD[:, :2], second.mask_NS[:, :2], second.summary_ND)
    _close(decoder(inputs[1:2], decoder.start(short))[0].outputs_BTD[0], changed[1])


@each_variant
def test_beams_are_as_good_as_copies_of_the_source(variant):
    decoder, memory, inputs = _decoder(**variant), _memory(), _inputs(6, 4)
    beams, _ = decoder(inputs, decoder.start(memory, beams=2), reads=True)
    copies, _ = decoder(inputs, decoder.start(memory.keep(torch.tensor([0, 0, 1, 1, 2, 2]))), reads=True)
    _close(beams.outputs_BTD, copies.outputs_BTD)
    _close(beams.reads_BTS, copies.reads_BTS)


@each_variant
def test_selecting_rows_and_keeping_sources_commutes_with_stepping(variant):
    decoder, memory, inputs, more = _decoder(**variant), _memory(), _inputs(6, 3), _inputs(6, 2)
    _, state = decoder(inputs, decoder.start(memory, beams=2))
    rows, sources = torch.tensor([1, 1, 3, 2, 4, 4]), torch.tensor([2, 0])
    kept = rows_of(sources, 2)
    after, _ = decoder(more[rows][kept], state.select(rows).keep(sources))
    before, _ = decoder(torch.cat([inputs, more], 1)[rows], decoder.start(memory, beams=2))
    _close(after.outputs_BTD, before.outputs_BTD[kept, 3:])


def test_selecting_every_row_where_it_stands_copies_nothing():
    decoder, memory = _decoder(), _memory()
    _, state = decoder(_inputs(6, 3), decoder.start(memory, beams=2))
    assert state.select(torch.arange(6)) is state
    moved = state.select(torch.tensor([1, 0, 2, 3, 4, 5]))
    assert moved.memory is state.memory


def test_a_state_is_a_value():
    decoder, memory = _decoder(), _memory()
    _, state = decoder(_inputs(3, 3), decoder.start(memory))
    inputs = _inputs(3, 2)
    first, _ = decoder(inputs, state)
    again, _ = decoder(inputs, state)
    assert torch.equal(first.outputs_BTD, again.outputs_BTD)
    assert state.steps == 3


def test_reads_are_a_distribution_over_real_steps_and_change_nothing():
    decoder, memory, inputs = _decoder(), _memory(), _inputs(3, 5)
    plain, _ = decoder(inputs, decoder.start(memory))
    decoded, _ = decoder(inputs, decoder.start(memory), reads=True)
    assert plain.reads_BTS is None
    _close(decoded.outputs_BTD, plain.outputs_BTD)
    _close(decoded.reads_BTS.sum(-1), torch.ones(3, 5, dtype=torch.float64))
    assert (decoded.reads_BTS.masked_select(~memory.mask_NS[:, None]) == 0).all()


def test_learnt_positions_say_which_setting_to_change():
    decoder = _decoder(positions="learnt", max_positions=4)
    with pytest.raises(DataError, match=r"model\.decoder\.max_positions"):
        decoder(_inputs(3, 5), decoder.start(_memory()))


@pytest.mark.parametrize("place", ["dropout", "attention_dropout", "feedforward_dropout"])
def test_each_dropout_acts_in_training_only(place):
    silent = {"dropout": 0.0, "attention_dropout": 0.0, "feedforward_dropout": 0.0}
    encoder, decoder = _encoder(**silent | {place: 0.5}), _decoder(**silent | {place: 0.5})
    inputs, memory = _inputs(3, 6), _memory()

    def outputs():
        decoded, _ = decoder(inputs, decoder.start(memory))
        return encoder(inputs, _mask()).values_NSD, decoded.outputs_BTD

    assert all(torch.equal(one, other) for one, other in zip(outputs(), outputs(), strict=True))
    encoder.train()
    decoder.train()
    assert not any(torch.equal(one, other) for one, other in zip(outputs(), outputs(), strict=True))


def test_bf16_is_near_float32_and_keeps_the_residual_path_precise():
    encoder, decoder = _encoder().float(), _decoder().float()
    inputs, memory = _inputs(3, 6).float(), _memory()
    memory = Memory(memory.values_NSD.float(), memory.mask_NS, memory.summary_ND.float())

    def outputs():
        decoded, _ = decoder(inputs, decoder.start(memory))
        return encoder(inputs, _mask()).values_NSD, decoded.outputs_BTD

    exact = outputs()
    with compute("bf16", torch.device("cpu")):
        low = outputs()
    for one, other in zip(low, exact, strict=True):
        assert one.dtype is torch.float32
        assert 0 < (one - other).norm() < 0.02 * other.norm()


def _copy_attention(ours: SelfAttention, theirs: nn.MultiheadAttention) -> None:
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.inward.weight.data, ours.inward.bias.data
    theirs.out_proj.load_state_dict(ours.outward.state_dict())


def _copy_feedforward(ours: FeedForward, theirs: nn.Module) -> None:
    theirs.linear1.load_state_dict(ours.inward.state_dict())
    theirs.linear2.load_state_dict(ours.outward.state_dict())


def _randomise(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer_is_that_of_torch(norm_position, activation):
    ours = _encoder(norm_position=norm_position, activation=activation).layers[0]
    _randomise(ours)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 24, 0.0, activation, batch_first=True, norm_first=norm_position == "pre"
    ).double()
    _copy_attention(ours.hear, theirs.self_attn)
    _copy_feedforward(ours.feed, theirs)
    theirs.norm1.load_state_dict(ours.around_hear.norm.state_dict())
    theirs.norm2.load_state_dict(ours.around_feed.norm.state_dict())
    x, mask = torch.randn(3, 6, WIDTH, dtype=torch.float64), _mask()
    expected = theirs(x, src_key_padding_mask=~mask)
    _close(ours(x, mask[:, None, None], None)[mask], expected[mask])


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_decoder_layer_is_that_of_torch(norm_position):
    section = _section("decoder", norm_position=norm_position)
    decoder = TransformerDecoder(section, INPUT_WIDTH, memory_width=WIDTH).double().eval()
    ours = decoder.layers[0]
    _randomise(ours)
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, 24, 0.0, batch_first=True, norm_first=norm_position == "pre"
    ).double()
    _copy_attention(ours.hear, theirs.self_attn)
    theirs.multihead_attn.in_proj_weight.data = torch.cat(
        [ours.read.query.weight, ours.read.memory.weight]
    ).data
    theirs.multihead_attn.in_proj_bias.data = torch.cat([ours.read.query.bias, ours.read.memory.bias]).data
    theirs.multihead_attn.out_proj.load_state_dict(ours.read.outward.state_dict())
    _copy_feedforward(ours.feed, theirs)
    for norm, around in zip("123", (ours.around_hear, ours.around_read, ours.around_feed), strict=True):
        getattr(theirs, f"norm{norm}").load_state_dict(around.norm.state_dict())
    x, memory = (torch.randn(3, steps, WIDTH, dtype=torch.float64) for steps in (5, 6))
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, memory, tgt_mask=future, memory_key_padding_mask=~_mask())
    actual = ours(x, None, ours.read.prepare(memory), _mask(), None, False).outputs_BTD
    _close(actual, expected)


def test_rms_norm_is_its_formula():
    norm = _encoder(norm="rms").norm
    nn.init.normal_(norm.weight)
    x = torch.randn(3, WIDTH, dtype=torch.float64)
    _close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight)


@pytest.mark.parametrize(
    ("activation", "gate"), [("swiglu", nn.functional.silu), ("geglu", nn.functional.gelu)]
)
def test_gates_are_their_formulas(activation, gate):
    feed = _encoder(activation=activation).layers[0].feed
    nn.init.normal_(feed.inward.bias)
    x = torch.randn(3, 2, WIDTH, dtype=torch.float64)
    first, second = feed.inward.weight.chunk(2)
    first_bias, second_bias = feed.inward.bias.chunk(2)
    inner = gate(x @ first.T + first_bias) * (x @ second.T + second_bias)
    _close(feed(x), inner @ feed.outward.weight.T + feed.outward.bias)
