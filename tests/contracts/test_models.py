"""The battery that every encoder and every decoder passes, in every pair; see `model/contracts.py`.

Widths of encoder, decoder and embeddings all differ, weights are large so that distributions are peaked, and
sources of one batch have different lengths, with any tokens in their padding. Search has a battery of its
own.
"""

import itertools

import pytest
import torch

from dragoman.model.aligned import AlignedDecoder
from dragoman.model.build import build_model
from dragoman.model.contracts import rows_of
from dragoman.recipe import model as recipe
from dragoman.records import BOS, Batch, Port, Sequence

V = 9
LENGTHS = (5, 2, 7)
TARGET_LENGTHS = (5, 3, 4)
PREFIX, STEPS = 2, 5

TRANSFORMERS = {
    "transformer pre layer sinusoidal": {},
    "transformer post rms learnt": {
        "norm": "rms",
        "norm_position": "post",
        "positions": "learnt",
        "activation": "gelu",
    },
    "transformer pre rms rotary": {"norm": "rms", "positions": "rotary", "activation": "swiglu"},
    "transformer post layer rotary": {"norm_position": "post", "positions": "rotary", "activation": "geglu"},
}
ATTENTIONS = {
    "none": recipe.NoAttention(kind="none"),
    "dot": recipe.SimpleAttention(kind="dot"),
    "general": recipe.SimpleAttention(kind="general"),
    "additive": recipe.AdditiveAttention(kind="additive", width=5),
    "scaled_dot": recipe.ScaledDotAttention(kind="scaled_dot", heads=2),
    "location": recipe.LocationAttention(kind="location", filters=3, kernel_width=3),
    "aligned": recipe.AlignedAttention(kind="aligned"),
}


def encoders():
    for kind, bidirectional in itertools.product(("rnn", "gru", "lstm"), (True, False)):
        yield (
            f"{kind} {'both ways' if bidirectional else 'one way'}",
            recipe.RecurrentEncoder(kind=kind, width=10, layers=2, bidirectional=bidirectional, dropout=0.2),
        )
    for name, options in TRANSFORMERS.items():
        section = recipe.TransformerEncoder(
            kind="transformer", width=12, layers=2, heads=3, feedforward_width=14, dropout=0.2, **options
        )
        yield name, section
    for positions in ("sinusoidal", "rotary"):
        yield (
            f"conformer {positions}",
            recipe.ConformerEncoder(
                kind="conformer",
                width=12,
                layers=2,
                heads=3,
                feedforward_width=14,
                kernel_width=5,
                positions=positions,
                dropout=0.2,
            ),
        )


def decoders():
    for kind, attention, feeding in itertools.product(("rnn", "gru", "lstm"), ATTENTIONS, (False, True)):
        if attention in ("none", "aligned") and feeding:
            continue
        section = recipe.RecurrentDecoder(
            kind=kind,
            width=8,
            layers=2,
            attention=ATTENTIONS[attention],
            input_feeding=feeding,
            dropout=0.2,
        )
        yield f"{kind} {attention}{' fed' if feeding else ''}", section
    for name, options in TRANSFORMERS.items():
        section = recipe.TransformerDecoder(
            kind="transformer", width=8, layers=2, heads=2, feedforward_width=10, dropout=0.2, **options
        )
        yield name, section


PAIRS = [
    pytest.param((encoder, decoder), id=f"{encoder_name} > {decoder_name}")
    for (encoder_name, encoder), (decoder_name, decoder) in itertools.product(encoders(), decoders())
]


@pytest.fixture(scope="module", params=PAIRS)
def model(request):
    """A model of one pair, in float64, for evaluation, with weights far from where they start."""
    encoder, decoder = request.param
    section = recipe.Model(
        encoder=encoder, decoder=decoder, source_embedding_width=7, target_embedding_width=6
    )
    torch.manual_seed(1)
    model = build_model(section, Port("tokens", V), Port("tokens", V)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
        model.head.weight *= 3
    return model


def sources(lengths=LENGTHS):
    """Three sources of different lengths; their padding holds tokens too."""
    return Sequence(torch.randint(1, V, (len(lengths), max(lengths))), torch.tensor(lengths))


def pairs_for(model):
    """Sources with targets, as long as their sources where a model aligns their steps."""
    source = sources(TARGET_LENGTHS if isinstance(model.decoder, AlignedDecoder) else LENGTHS)
    return Batch(source, Sequence(targets(), torch.tensor(TARGET_LENGTHS)), ("a", "b", "c"))


def targets(beams=1):
    return torch.randint(1, V, (len(LENGTHS) * beams, STEPS))


def answer(model, tokens_BT, state):
    """Logits and reads of some steps (nothing, where a decoder reads nothing), and the state after."""
    decoded, after = model.advance(tokens_BT, state, reads=True)
    reads_BTS = torch.zeros(0) if decoded.reads_BTS is None else decoded.reads_BTS
    return (model.logits(decoded.outputs_BTD), reads_BTS), after


def parts_of(answers, steps, rows_B=slice(None)):
    return tuple(part[rows_B, steps] if len(part) else part for part in answers)


@torch.no_grad()
def test_outputs_do_not_depend_on_how_the_target_is_cut(model):
    memory, tokens_BT = model.encode(sources()), targets(beams=2)
    whole, _ = answer(model, tokens_BT, model.start(memory, beams=2))
    for cuts in ([1] * STEPS, [2, 1, 2]):
        parts, state = [], model.start(memory, beams=2)
        for chunk_BT in tokens_BT.split(cuts, dim=1):
            part, state = answer(model, chunk_BT, state)
            parts.append(part)
        logits, reads = (
            torch.cat(pieces, -2 if len(pieces[0]) else 0) for pieces in zip(*parts, strict=True)
        )
        torch.testing.assert_close((logits, reads), whole)


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_selecting_rows_and_keeping_sources_commute_with_stepping(model, beams):
    memory, tokens_BT = model.encode(sources()), targets(beams)
    sources_kept = torch.tensor([2, 0])
    parents_B = (torch.arange(3)[:, None] * beams + torch.randint(beams, (3, beams))).flatten()
    rows = rows_of(sources_kept, beams)

    _, state = model.advance(tokens_BT[:, :PREFIX], model.start(memory, beams))
    state = state.select(parents_B).keep(sources_kept)
    moved, _ = answer(model, tokens_BT[rows, PREFIX:], state)

    written_BT = torch.cat([tokens_BT[parents_B][rows, :PREFIX], tokens_BT[rows, PREFIX:]], 1)
    (logits, reads), _ = answer(model, written_BT, model.start(memory.keep(sources_kept), beams))
    torch.testing.assert_close(moved, (logits[:, PREFIX:], reads[:, PREFIX:] if len(reads) else reads))


@torch.no_grad()
def test_rows_can_become_more_and_fewer(model):
    memory, tokens_BT = model.encode(sources()), targets()
    _, state = model.advance(tokens_BT[:, :PREFIX], model.start(memory))
    wide_BT = tokens_BT.repeat_interleave(3, 0)
    wide_BT[:, PREFIX:] = targets(beams=3)[:, PREFIX:]
    expected, _ = answer(model, wide_BT, model.start(memory, beams=3))
    state = state.select(torch.arange(len(LENGTHS)).repeat_interleave(3))
    found, state = answer(model, wide_BT[:, PREFIX:-1], state)
    torch.testing.assert_close(found, parts_of(expected, slice(PREFIX, -1)))
    last_B = torch.arange(len(LENGTHS)) * 3 + 2
    found, _ = answer(model, wide_BT[last_B[1:], -1:], state.select(last_B).keep(torch.tensor([1, 2])))
    torch.testing.assert_close(found, parts_of(expected, slice(-1, None), last_B[1:]))


@torch.no_grad()
def test_rows_that_rest_leave_the_others_alone(model):
    memory, tokens_BT = model.encode(sources()), targets(beams=2)
    (expected, _), _ = answer(model, tokens_BT, model.start(memory, beams=2))
    _, state = model.advance(tokens_BT[:, :PREFIX], model.start(memory, beams=2))
    state = state.select(torch.tensor([0, -1, -1, -1, 4, 5])).keep(torch.tensor([0, 2]))
    kept = torch.tensor([0, 1, 4, 5])
    (found, _), _ = answer(model, tokens_BT[kept, PREFIX:], state)
    torch.testing.assert_close(found[[0, 2, 3]], expected[[0, 4, 5], PREFIX:])


@torch.no_grad()
def test_a_sequence_alone_is_as_in_any_batch(model):
    batch, tokens_BT = sources(), targets()
    memory = model.encode(batch)
    assert memory.values_NSD.masked_select(~batch.mask_BS[:, :, None]).eq(0).all()
    (logits, reads), _ = answer(model, tokens_BT, model.start(memory))
    for row, length in enumerate(LENGTHS):
        own = slice(row, row + 1)
        alone = model.encode(Sequence(batch.values[own, :length], batch.lengths_B[own]))
        torch.testing.assert_close(memory.values_NSD[own, :length], alone.values_NSD)
        torch.testing.assert_close(memory.summary_ND[own], alone.summary_ND)
        expected, _ = answer(model, tokens_BT[own], model.start(alone))
        shown = reads[own, :, :length] if len(reads) else reads
        torch.testing.assert_close((logits[own], shown), expected)
        assert not reads[own, :, length:].any() if len(reads) else True


def test_gradients_reach_every_parameter(model):
    batch = pairs_for(model)
    model.train()
    model.zero_grad()
    model.loss(batch, label_smoothing=0.1).total.backward()
    model.eval()
    dead = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-9
    ]
    assert not dead


@torch.no_grad()
def test_the_loss_is_what_steps_say(model):
    batch = pairs_for(model)
    target = batch.target
    state, previous_B, nll = model.start(model.encode(batch.source)), torch.full((3,), BOS), 0.0
    for step, tokens_B in enumerate(target.values.unbind(1)):
        decoded, state = model.advance(previous_B[:, None], state)
        log_probs_BV = model.logits(decoded.outputs_BTD[:, 0]).log_softmax(-1)
        nll -= (log_probs_BV.gather(1, tokens_B[:, None])[:, 0] * target.mask_BS[:, step]).sum()
        previous_B = tokens_B
    loss = model.loss(batch, label_smoothing=0.0)
    torch.testing.assert_close(loss.nll, nll)
    torch.testing.assert_close(loss.total, nll)
    assert loss.tokens == 12
