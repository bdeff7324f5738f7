"""What may stand beside the cross-entropy: by formulas written out, in every kind of model."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from dragoman.model import distributions
from dragoman.model.build import build_model
from dragoman.model.distributions import divergence, likeliest, log_probs_of
from dragoman.model.guided_alignment import alignment_loss
from dragoman.model.heads import VocabularyHead
from dragoman.model.objectives import objective_loss, plain
from dragoman.recipe.model import Model
from dragoman.recipe.objectives import CROSS_ENTROPY, CrossEntropy, MinimumRisk
from dragoman.records import BOS, EOS, PAD, UNKNOWN, Batch, Port, Sequence

SYMBOLS = 12
PORT = Port("tokens", SYMBOLS)
TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 2, "heads": 2, "feedforward_width": 16}
RECURRENT = {"width": 8, "dropout": 0.2}
PARTS = {
    "transformer": ({**TRANSFORMER, "dropout": 0.2}, {**TRANSFORMER, "dropout": 0.2}),
    "lstm": (
        {"kind": "lstm", **RECURRENT},
        {"kind": "lstm", **RECURRENT, "attention": {"kind": "general"}, "input_feeding": True},
    ),
    "conformer": (
        {**TRANSFORMER, "kind": "conformer", "kernel_width": 3},
        {"kind": "gru", **RECURRENT, "attention": {"kind": "location"}},
    ),
}


def said(**options):
    return CrossEntropy(kind="cross_entropy", **options)


def made(parts="transformer", section=CROSS_ENTROPY):
    torch.manual_seed(1)
    encoder, decoder = PARTS[parts]
    model = build_model(Model.model_validate({"encoder": encoder, "decoder": decoder}), PORT, PORT, section)
    return model.double()


def sequence(lengths):
    values = torch.randint(4, SYMBOLS, (len(lengths), max(lengths)))
    lengths_B = torch.tensor(lengths)
    return Sequence(values * (torch.arange(max(lengths)) < lengths_B[:, None]), lengths_B)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    links_L3 = torch.tensor([[0, 0, 1], [0, 1, 0], [2, 3, 1]])
    return Batch(sequence([4, 6, 3]), sequence([2, 3, 5]), ("a", "b", "c"), links_L3)


def smoothed(log_probs_BTV, target, smoothing):
    """The loss of tokens with label smoothing, as Szegedy et al. (2016) write it."""
    gold_BT = log_probs_BTV.gather(2, target.values[:, :, None])[:, :, 0]
    each_BT = (1 - smoothing) * gold_BT + smoothing * log_probs_BTV.mean(2)
    return -each_BT[target.mask_BS].sum()


def in_training(model, batch, seed):
    """What the model says of two rows for each of the batch, with dropout, in one pass."""
    torch.manual_seed(seed)
    target = Sequence(batch.target.values.repeat(2, 1), batch.target.lengths_B.repeat(2))
    memory = model.encode(Sequence(batch.source.values.repeat(2, 1), batch.source.lengths_B.repeat(2)))
    return memory, model.teach(memory, target, reads=True), target


@pytest.mark.parametrize("parts", PARTS)
def test_two_passes_are_to_agree(parts, batch):
    section = said(label_smoothing=0.1, r_drop=3.0)
    model = made(parts, section)
    torch.manual_seed(5)
    found = objective_loss(model, batch, section)
    _, decoded, _ = in_training(model, batch, 5)
    one, other = model.logits(decoded.outputs_BTD).log_softmax(-1).chunk(2)
    apart = (one.exp() * (one - other)).sum(2) + (other.exp() * (other - one)).sum(2)
    of_tokens = (smoothed(one, batch.target, 0.1) + smoothed(other, batch.target, 0.1)) / 2
    wanted = of_tokens + 3.0 / 4 * apart[batch.target.mask_BS].sum()
    assert apart[batch.target.mask_BS].sum() > 0.01
    torch.testing.assert_close(found.total, wanted)
    exact = (smoothed(one, batch.target, 0) + smoothed(other, batch.target, 0)) / 2
    torch.testing.assert_close(found.nll, exact)
    assert found.tokens == 10
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    torch.testing.assert_close(
        torch.autograd.grad(found.total, weights, allow_unused=True),
        torch.autograd.grad(wanted, weights, allow_unused=True),
    )


@pytest.mark.parametrize("parts", PARTS)
def test_without_dropout_two_passes_are_one(parts, batch):
    section = said(r_drop=3.0)
    model = made(parts, section).eval()
    twice, once = objective_loss(model, batch, section), model.loss(batch, 0.1)
    torch.testing.assert_close(twice.total, once.total)
    torch.testing.assert_close(twice.nll, once.nll)
    assert twice.tokens == once.tokens


def test_all_that_stands_beside_it_sees_both_passes(batch):
    section = said(label_smoothing=0.0, r_drop=2.0, ctc_weight=0.25, guided_alignment=0.5)
    model = made(section=section)
    torch.manual_seed(5)
    found = objective_loss(model, batch, section).total
    memory, decoded, target = in_training(model, batch, 5)
    one, other = model.logits(decoded.outputs_BTD).log_softmax(-1).chunk(2)
    apart = ((one.exp() - other.exp()) * (one - other)).sum(2)[batch.target.mask_BS].sum()
    of_tokens = smoothed(one, batch.target, 0) + smoothed(other, batch.target, 0)
    looked = sum(alignment_loss(reads_BTS, batch.links_L3) for reads_BTS in decoded.reads_BTS.chunk(2))
    by_decoder = of_tokens + 2.0 / 2 * apart + 0.5 * looked
    wanted = (0.75 * by_decoder + 0.25 * model.ctc_loss_of(memory, target).total) / 2
    torch.testing.assert_close(found, wanted)


# --- scheduled sampling


def own_instead(model, batch):
    """What the decoder is told where every token is the model's own, as far as answers go on after it."""
    gold_BT = batch.target.values
    logits_BTV = model.logits(model.teach(model.encode(batch.source), batch.target).outputs_BTD).detach()
    logits_BTV[:, :, [PAD, UNKNOWN, BOS]] = -torch.inf
    own_BT = logits_BTV.argmax(2)
    for row, length in enumerate(batch.target.lengths_B.tolist()):
        for step in range(gold_BT.shape[1]):
            if step >= length or EOS in (int(own_BT[row, step]), int(gold_BT[row, step])):
                own_BT[row, step] = gold_BT[row, step]
    return own_BT


@pytest.mark.parametrize("parts", PARTS)
def test_steps_are_told_what_the_model_would_write(parts, batch):
    section = said(label_smoothing=0.1, scheduled_sampling=1.0)
    model = made(parts, section).eval()
    with torch.no_grad():
        model.head.bias[[PAD, UNKNOWN, BOS]] += 9  # likely, and never told
        model.head.bias[EOS] -= 9
    found = objective_loss(model, batch, section)
    told_BT = own_instead(model, batch)
    assert (told_BT != batch.target.values).sum() > 3
    before_BT = torch.cat([torch.full((3, 1), BOS), told_BT[:, :-1]], 1)
    decoded, _ = model.advance(before_BT, model.start(model.encode(batch.source)))
    log_probs_BTV = model.logits(decoded.outputs_BTD).log_softmax(-1)
    wanted = smoothed(log_probs_BTV, batch.target, 0.1)
    torch.testing.assert_close(found.total, wanted)
    torch.testing.assert_close(found.nll, smoothed(log_probs_BTV, batch.target, 0))
    weights = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.total, weights, allow_unused=True),
        torch.autograd.grad(wanted, weights, allow_unused=True),
    )


def test_nothing_follows_an_end(batch):
    section = said(scheduled_sampling=1.0)
    model = made(section=section).eval()
    with torch.no_grad():
        model.head.bias[EOS] += 50
    torch.testing.assert_close(objective_loss(model, batch, section).total, model.loss(batch, 0.1).total)


def test_padding_of_targets_is_not_told(batch):
    section = said(scheduled_sampling=1.0)
    model = made(section=section).eval()
    longer = Sequence(pad(batch.target.values, (0, 3), value=PAD), batch.target.lengths_B)
    padded = objective_loss(model, replace(batch, target=longer), section)
    torch.testing.assert_close(padded.total, objective_loss(model, batch, section).total)


def test_a_coin_decides_for_each_token(batch):
    model = made().eval()

    def loss(share, seed=3, **options):
        torch.manual_seed(seed)
        return objective_loss(model, batch, said(scheduled_sampling=share, **options)).total

    torch.testing.assert_close(loss(1e-12), model.loss(batch, 0.1).total)
    assert torch.equal(loss(0.5), loss(0.5))
    halves = torch.stack([loss(0.5, seed) for seed in range(20)])
    assert len(halves.unique()) > 5
    # Both passes of R-Drop are told the same.
    torch.testing.assert_close(loss(0.5, r_drop=2.0), loss(0.5))


# --- scores


def test_scores_of_development_examples_have_none_of_it(batch):
    section = said(r_drop=2.0, ctc_weight=0.25, scheduled_sampling=0.9, minimum_risk=MinimumRisk())
    model = made(section=section).eval()
    assert objective_loss(model, batch, plain(section)).total == model.loss(batch, 0.0).total


# --- distributions


@pytest.mark.parametrize("tied", [False, True], ids=["own table", "tied table"])
def test_divergence_does_not_depend_on_chunks(monkeypatch, tied):
    table = torch.nn.Parameter(torch.randn(9, 4)) if tied else None
    head = VocabularyHead(6, 9, table).double()
    one_XD, other_XD = torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)
    one, other = head(one_XD).log_softmax(-1), head(other_XD).log_softmax(-1)
    wanted = ((one.exp() - other.exp()) * (one - other)).sum()
    given = [one_XD, other_XD, *head.parameters()]
    gradients = torch.autograd.grad(wanted, given)
    for logits in (1, 9 * 3, 2**20):
        monkeypatch.setattr(distributions, "CHUNK_LOGITS", {"cpu": logits})
        found = divergence(head, one_XD, other_XD)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(torch.autograd.grad(found, given), gradients)


def test_divergence_in_bfloat16_is_that_of_exact_logits():
    head = VocabularyHead(6, 9)
    one_XD, other_XD = torch.randn(2, 7, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = divergence(head, one_XD, other_XD)
    torch.testing.assert_close(found, divergence(head, one_XD.float(), other_XD.float()))


def test_symbols_do_not_depend_on_chunks(monkeypatch):
    head = VocabularyHead(6, 9).double()
    outputs_XD = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    symbols_X = torch.randint(0, 9, (7,))
    logits = head(outputs_XD)
    wanted = logits.log_softmax(1)[torch.arange(7), symbols_X]
    given = [outputs_XD, *head.parameters()]
    gradients = torch.autograd.grad(wanted.sum(), given, retain_graph=True)
    best = logits[:, 2:].argmax(1) + 2
    for size in (1, 9 * 3, 2**20):
        monkeypatch.setattr(distributions, "CHUNK_LOGITS", {"cpu": size})
        found = log_probs_of(head, outputs_XD, symbols_X)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), given), gradients)
        assert torch.equal(likeliest(head, outputs_XD, (0, 1)), best)
    assert log_probs_of(head, outputs_XD[:0], symbols_X[:0]).shape == (0,)
    assert likeliest(head, outputs_XD[:0], (0,)).shape == (0,)
