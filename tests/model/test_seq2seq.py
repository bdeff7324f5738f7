"""The whole model: teacher forcing is stepping, and the loss is what logits say."""

import pytest
import torch

from dragoman.model.build import build_model
from dragoman.model.kernels import compute
from dragoman.recipe import model as recipe
from dragoman.records import BOS, Batch, Port, Sequence

SYMBOLS = 19
TRANSFORMER = {"kind": "transformer", "width": 16, "layers": 2, "heads": 2, "feedforward_width": 24}
SECTIONS = {
    "transformer": recipe.Model(
        encoder=recipe.TransformerEncoder(**TRANSFORMER), decoder=recipe.TransformerDecoder(**TRANSFORMER)
    ),
    "mixed": recipe.Model(
        encoder=recipe.RecurrentEncoder(kind="gru", width=12),
        decoder=recipe.TransformerDecoder(**TRANSFORMER),
        target_embedding_width=10,
        tie="decoder",
    ),
}


@pytest.fixture(params=SECTIONS)
def model(request):
    port = Port("tokens", SYMBOLS)
    return build_model(SECTIONS[request.param], port, port).double().eval()


@pytest.fixture
def batch():
    return Batch(_sequence([7, 3, 5]), _sequence([4, 6, 2]), ("a", "b", "c"))


def _sequence(lengths):
    values = torch.randint(4, SYMBOLS, (len(lengths), max(lengths)))
    lengths_B = torch.tensor(lengths)
    return Sequence(values * (torch.arange(max(lengths)) < lengths_B[:, None]), lengths_B)


def _one(batch, row):
    def cut(sequence):
        length = int(sequence.lengths_B[row])
        return Sequence(sequence.values[row : row + 1, :length], sequence.lengths_B[row : row + 1])

    return Batch(cut(batch.source), cut(batch.target), batch.ids[row : row + 1])


def test_teacher_forcing_is_stepping(model, batch):
    outputs = model(batch).outputs_BTD
    state = model.start(model.encode(batch.source))
    token_B1 = torch.full((3, 1), BOS)
    for step in range(outputs.shape[1]):
        decoded, state = model.advance(token_B1, state)
        torch.testing.assert_close(decoded.outputs_BTD[:, 0], outputs[:, step], rtol=0, atol=1e-11)
        token_B1 = batch.target.values[:, step : step + 1]


def test_the_loss_is_what_the_logits_say(model, batch):
    log_probs = model.logits(model(batch).outputs_BTD).log_softmax(-1)
    mask = batch.target.mask_BS
    nll = -log_probs.gather(-1, batch.target.values[..., None]).squeeze(-1)[mask].sum()
    uniform = -log_probs.mean(-1)[mask].sum()
    loss = model.loss(batch, label_smoothing=0.1)
    torch.testing.assert_close(loss.nll, nll)
    torch.testing.assert_close(loss.total, 0.9 * nll + 0.1 * uniform)
    assert loss.tokens == 12


def test_the_loss_of_a_batch_is_the_sum_over_its_examples(model, batch):
    whole = model.loss(batch, label_smoothing=0.1)
    parts = [model.loss(_one(batch, row), label_smoothing=0.1) for row in range(3)]
    torch.testing.assert_close(whole.total, sum(part.total for part in parts))
    assert whole.tokens == sum(part.tokens for part in parts)


def test_the_loss_ignores_what_stands_in_padding(model, batch):
    def littered(sequence):
        return Sequence(sequence.values.masked_fill(~sequence.mask_BS, 5), sequence.lengths_B)

    other = Batch(littered(batch.source), littered(batch.target), batch.ids)
    torch.testing.assert_close(model.loss(other, 0.1).total, model.loss(batch, 0.1).total)


def test_every_parameter_learns(model, batch):
    model.loss(batch, label_smoothing=0.1).total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_bf16_changes_the_loss_little_and_logits_stay_float32(model, batch):
    model = model.float()
    exact = model.loss(batch, 0.1)
    with compute("bf16", torch.device("cpu")):
        low = model.loss(batch, 0.1)
        logits = model.logits(model(batch).outputs_BTD)
    assert logits.dtype is torch.float32
    assert low.total.dtype is torch.float32
    torch.testing.assert_close(low.total, exact.total, rtol=0.01, atol=0)
    assert not torch.equal(low.total, exact.total)
    low.total.backward()
    assert all(parameter.grad.dtype is torch.float32 for parameter in model.parameters())


def test_a_float64_model_has_float64_logits(model):
    assert model.logits(torch.randn(2, 16, dtype=torch.float64)).dtype is torch.float64
