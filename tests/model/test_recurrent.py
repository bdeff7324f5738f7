"""Recurrent encoders against torch's packed ones, recurrent decoders against formulas, in float64."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from dragoman.model.contracts import Memory
from dragoman.model.kernels import compute
from dragoman.model.recurrent import RecurrentDecoder, RecurrentEncoder
from dragoman.model.recurrent_layer import RecurrentLayer, reversal, take
from dragoman.recipe import model as recipe

KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
ATTENTIONS = {
    "none": recipe.NoAttention(kind="none"),
    "dot": recipe.SimpleAttention(kind="dot"),
    "additive": recipe.AdditiveAttention(kind="additive"),
    "scaled_dot": recipe.ScaledDotAttention(kind="scaled_dot", heads=2),
    "location": recipe.LocationAttention(kind="location", filters=2, kernel_width=3),
}


def encoder_of(kind, bidirectional=True, layers=2, dropout=0.0):
    section = recipe.RecurrentEncoder(
        kind=kind, width=8, layers=layers, bidirectional=bidirectional, dropout=dropout
    )
    return RecurrentEncoder(section, 5).double()


def decoder_of(kind, attention="additive", layers=2, dropout=0.0, input_feeding=False):
    section = recipe.RecurrentDecoder(
        kind=kind,
        width=6,
        layers=layers,
        attention=ATTENTIONS[attention],
        dropout=dropout,
        input_feeding=input_feeding,
    )
    return RecurrentDecoder(section, input_width=5, memory_width=8).double()


def padded(lengths=(4, 1, 6), width=5):
    mask_NS = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randn(*mask_NS.shape, width, dtype=torch.float64), mask_NS


def memory_of(lengths=(4, 1, 6)):
    values_NSD, mask_NS = padded(lengths, width=8)
    summary_ND = torch.randn(len(lengths), 8, dtype=torch.float64)
    return Memory(values_NSD * mask_NS[:, :, None], mask_NS, summary_ND)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_encodes_as_torch_does_with_packed_sequences(kind, bidirectional):
    encoder = encoder_of(kind, bidirectional)
    reference = KINDS[kind](
        5, encoder.width // (1 + bidirectional), 2, batch_first=True, bidirectional=bidirectional
    )
    weights = {}
    for suffix, layers in (("", encoder.forwards), ("_reverse", encoder.backwards)):
        for index, layer in enumerate(layers):
            for name, value in layer.recurrence.named_parameters():
                weights[name.replace("_l0", f"_l{index}{suffix}")] = value
    reference.double().load_state_dict(weights)

    inputs_NSD, mask_NS = padded()
    memory = encoder(inputs_NSD, mask_NS)
    packed = nn.utils.rnn.pack_padded_sequence(
        inputs_NSD, mask_NS.sum(1), batch_first=True, enforce_sorted=False
    )
    outputs, last = reference(packed)
    expected_NSD, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    last_LND = last[0] if kind == "lstm" else last
    torch.testing.assert_close(memory.values_NSD, expected_NSD)
    torch.testing.assert_close(memory.summary_ND, torch.cat([*last_LND[-1 - bidirectional :]], -1))
    assert memory.mask_NS is mask_NS


@pytest.mark.parametrize("bidirectional", [True, False])
def test_what_stands_in_padding_is_never_seen(bidirectional):
    encoder = encoder_of("gru", bidirectional)
    inputs_NSD, mask_NS = padded()
    dirty_NSD = inputs_NSD.masked_fill(~mask_NS[:, :, None], math.nan)
    clean, dirty = encoder(inputs_NSD, mask_NS), encoder(dirty_NSD, mask_NS)
    assert clean.values_NSD.equal(dirty.values_NSD)
    assert clean.summary_ND.equal(dirty.summary_ND)
    assert clean.values_NSD.masked_select(~mask_NS[:, :, None]).eq(0).all()


def test_an_empty_source_is_encoded_as_zeros():
    memory = encoder_of("lstm")(*padded((0, 3)))
    assert memory.values_NSD[0].eq(0).all()
    assert memory.summary_ND[0].eq(0).all()


def test_reversal_turns_real_steps_around_and_is_its_own_inverse():
    mask_BT = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    steps_BT = reversal(mask_BT)
    assert steps_BT.tolist() == [[2, 1, 0, 3], [3, 2, 1, 0], [0, 1, 2, 3]]
    values_BTD = torch.randn(3, 4, 2)
    assert take(take(values_BTD, steps_BT), steps_BT).equal(values_BTD)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrences_start_orthogonal_and_forget_gates_open(kind):
    layer = RecurrentLayer(kind, 3, 5)
    for weight in layer.recurrence.weight_hh_l0.split(5):
        torch.testing.assert_close(weight @ weight.T, torch.eye(5))
    bias = layer.recurrence.bias_ih_l0 + layer.recurrence.bias_hh_l0
    expected = [0.0] * 5 + [1.0] * 5 + [0.0] * 10 if kind == "lstm" else [0.0] * len(bias)
    assert bias.tolist() == expected


def naive_decoding(decoder, inputs_BTD, memory, kind):
    """One layer, one row a source, step by step with torch's cells."""
    cell = {"rnn": torch.rnn_tanh_cell, "gru": torch.gru_cell, "lstm": torch.lstm_cell}[kind]
    weights = list(decoder.layers[0].recurrence.parameters())
    hidden = torch.tanh(
        functional.linear(memory.summary_ND, decoder.hidden_bridge.weight, decoder.hidden_bridge.bias)
    )
    if kind == "lstm":
        bridge = decoder.cell_bridge
        hidden = hidden, torch.tanh(functional.linear(memory.summary_ND, bridge.weight, bridge.bias))
    readable = decoder.attention.prepare(memory)
    fed = torch.zeros(len(inputs_BTD), decoder.width, dtype=torch.float64)
    seen = torch.zeros_like(memory.mask_NS, dtype=torch.float64)[:, None]
    outputs = []
    for input_BD in inputs_BTD.unbind(1):
        if decoder.has_input_feeding:
            input_BD = torch.cat([input_BD, fed], -1)
        if decoder.has_fixed_context:
            input_BD = torch.cat([input_BD, memory.summary_ND], -1)
        hidden = cell(input_BD, hidden, *weights)
        top = hidden[0] if kind == "lstm" else hidden
        context, seen = decoder.attention(top[:, None], readable, seen)
        fed = torch.tanh(decoder.output(torch.cat([context[:, 0], top], -1)))
        outputs.append(fed)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("attention", "input_feeding"),
    [("none", False), ("additive", False), ("additive", True), ("location", False), ("location", True)],
)
def test_decodes_as_its_formulas_step_by_step(kind, attention, input_feeding):
    decoder = decoder_of(kind, attention, layers=1, input_feeding=input_feeding)
    memory, inputs_BTD = memory_of(), torch.randn(3, 4, 5, dtype=torch.float64)
    decoded, _ = decoder(inputs_BTD, decoder.start(memory))
    torch.testing.assert_close(decoded.outputs_BTD, naive_decoding(decoder, inputs_BTD, memory, kind))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_beams_of_a_source_share_its_memory(attention):
    decoder, memory = decoder_of("lstm", attention), memory_of()
    inputs_BTD = torch.randn(6, 3, 5, dtype=torch.float64)
    state = decoder.start(memory, beams=2)
    assert len(state.readable.keys) == len(state.readable.values) == 3
    assert len(state.hidden_BLD) == len(state.cell_BLD) == 6
    together, _ = decoder(inputs_BTD, state, reads=True)
    for beam in range(2):
        alone, _ = decoder(inputs_BTD[beam::2], decoder.start(memory), reads=True)
        torch.testing.assert_close(together.outputs_BTD[beam::2], alone.outputs_BTD)
        if attention != "none":
            torch.testing.assert_close(together.reads_BTS[beam::2], alone.reads_BTS)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_reads_come_on_request_and_only_where_something_is_read(attention):
    decoder, memory = decoder_of("gru", attention), memory_of()
    inputs_BTD = torch.randn(3, 4, 5, dtype=torch.float64)
    assert decoder(inputs_BTD, decoder.start(memory))[0].reads_BTS is None
    reads_BTS = decoder(inputs_BTD, decoder.start(memory), reads=True)[0].reads_BTS
    if attention == "none":
        assert reads_BTS is None
    else:
        assert reads_BTS.shape == (3, 4, 6)
        torch.testing.assert_close(reads_BTS.sum(-1), torch.ones(3, 4, dtype=torch.float64))


def test_selecting_the_only_row_of_each_source_costs_nothing():
    state = decoder_of("gru").start(memory_of())
    assert state.select(torch.arange(3)) is state


def test_a_state_is_a_value():
    decoder = decoder_of("lstm", "location", input_feeding=True)
    state = decoder.start(memory_of(), beams=2)
    before = [part.clone() for part in (state.hidden_BLD, state.cell_BLD, state.fed_BD, state.previous_BS)]
    decoder(torch.randn(6, 3, 5, dtype=torch.float64), state)
    state.select(torch.tensor([1, 0, 3, 2, 5, 4]))
    after = state.hidden_BLD, state.cell_BLD, state.fed_BD, state.previous_BS
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_dropout_works_in_training_only_and_follows_the_seed():
    encoder, decoder = encoder_of("lstm", dropout=0.5), decoder_of("lstm", dropout=0.5)
    inputs_NSD, mask_NS = padded()
    inputs_BTD = torch.randn(3, 4, 5, dtype=torch.float64)

    def run(seed):
        torch.manual_seed(seed)
        memory = encoder(inputs_NSD, mask_NS)
        return memory.values_NSD, decoder(inputs_BTD, decoder.start(memory))[0].outputs_BTD

    (first, out), (again, out_again), (other, other_out) = run(1), run(1), run(2)
    assert first.equal(again) and out.equal(out_again)
    assert not first.equal(other) and not out.equal(other_out)
    assert 0.2 < out.eq(0).double().mean() < 0.8
    encoder.eval(), decoder.eval()
    assert all(one.equal(two) for one, two in zip(run(1), run(2), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("attention", "input_feeding"), [("dot", True), ("scaled_dot", False), ("location", True)]
)
def test_bf16_trains_and_stays_close_to_fp32(kind, attention, input_feeding):
    encoder = encoder_of(kind).float()
    decoder = decoder_of(kind, attention, input_feeding=input_feeding).float()
    inputs_NSD, mask_NS = padded()
    inputs_BTD = torch.randn(3, 4, 5)

    def run():
        return decoder(inputs_BTD, decoder.start(encoder(inputs_NSD.float(), mask_NS)))[0].outputs_BTD.float()

    with compute("bf16", torch.device("cpu")):
        low = run()
    low.square().sum().backward()
    torch.testing.assert_close(low, run(), atol=0.05, rtol=0.05)
    for part in (encoder, decoder):
        assert all(p.grad.isfinite().all() and p.grad.ne(0).any() for p in part.parameters())


def test_bf16_state_carries_from_step_to_step():
    encoder, decoder = encoder_of("lstm").float(), decoder_of("lstm", "location", input_feeding=True).float()
    inputs_NSD, mask_NS = padded()
    inputs_BTD = torch.randn(6, 4, 5)
    with torch.inference_mode(), compute("bf16", torch.device("cpu")):
        state = decoder.start(encoder(inputs_NSD.float(), mask_NS), beams=2)
        whole = decoder(inputs_BTD, state)[0].outputs_BTD
        for step in range(4):
            decoded, state = decoder(inputs_BTD[:, step : step + 1], state)
            state = state.select(torch.arange(6)).keep(torch.arange(3))
    torch.testing.assert_close(decoded.outputs_BTD[:, 0], whole[:, -1], atol=0.03, rtol=0.03)
