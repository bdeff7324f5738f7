"""An ensemble's probabilities are the means of its members', whatever the members are."""

import pytest
import torch

from dragoman.decoding.score import teacher_forced
from dragoman.decoding.search import search
from dragoman.errors import DataError
from dragoman.model.build import build_model
from dragoman.model.ensemble import Ensemble
from dragoman.recipe import model as recipe
from dragoman.recipe.decoding import Beam, Greedy
from dragoman.records import EOS, Batch, Port, Sequence

SIZE = 9
TRANSFORMER = recipe.Model(
    encoder=recipe.TransformerEncoder(kind="transformer", width=8, layers=1, heads=2, feedforward_width=10),
    decoder=recipe.TransformerDecoder(kind="transformer", width=8, layers=1, heads=2, feedforward_width=10),
)
LSTM = recipe.Model(
    encoder=recipe.RecurrentEncoder(kind="lstm", width=6),
    decoder=recipe.RecurrentDecoder(
        kind="lstm", width=12, attention=recipe.AdditiveAttention(kind="additive")
    ),
)
FIXED = recipe.Model(
    encoder=recipe.RecurrentEncoder(kind="gru", width=6),
    decoder=recipe.RecurrentDecoder(kind="gru", width=10, attention=recipe.NoAttention(kind="none")),
)


def member(section, seed, size=SIZE):
    torch.manual_seed(seed)
    model = build_model(section, Port("tokens", 20), Port("tokens", size)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.4 * torch.randn_like(weight)
    return model


@pytest.fixture(scope="module")
def members():
    return [member(section, seed) for seed, section in enumerate((TRANSFORMER, LSTM, FIXED))]


def source():
    torch.manual_seed(5)
    return Sequence(torch.randint(4, 20, (3, 6)), torch.tensor([6, 2, 4]))


def target():
    values = torch.tensor([[4, 5, 6, EOS], [7, EOS, 0, 0], [8, 4, EOS, 0]])
    return Sequence(values, torch.tensor([4, 2, 3]))


def test_probabilities_are_the_mean_of_the_members(members):
    together = teacher_forced(Ensemble(members), source(), target()).exp()
    each = [teacher_forced(model, source(), target()).exp() for model in members]
    torch.testing.assert_close(together, torch.stack(each).mean(0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("section", [Greedy(method="greedy"), Beam(method="beam", beam=4, nbest=3)])
def test_a_model_with_itself_is_the_model(members, section):
    for model in members:
        alone, twice = search(model, source(), section), search(Ensemble([model, model]), source(), section)
        assert [[one.tokens for one in found] for found in alone] == [
            [one.tokens for one in found] for found in twice
        ]
        for found, again in zip(alone, twice, strict=True):
            assert [one.score for one in found] == pytest.approx([one.score for one in again])


def test_its_answers_do_not_depend_on_the_batch_and_score_as_teacher_forcing_says(members):
    model, section = Ensemble(members), Beam(method="beam", beam=4, max_length=9)
    given = source()
    for place, (found,) in enumerate(search(model, given, section)):
        length = int(given.lengths_B[place])
        alone = Sequence(given.values[place : place + 1, :length], given.lengths_B[place : place + 1])
        ((lonely,),) = search(model, alone, section)
        assert lonely.tokens == found.tokens
        tokens = Sequence(torch.tensor([found.tokens]), torch.tensor([len(found.tokens)]))
        forced = teacher_forced(model, alone, tokens)[0].tolist()
        assert found.log_probs == pytest.approx(forced)


def test_reads_are_the_mean_of_those_that_read(members):
    ((found,),) = search(Ensemble(members), rows(source(), 1), Greedy(method="greedy"), reads=True)
    assert found.reads.sum(1).tolist() == pytest.approx([1.0] * len(found.tokens))


def rows(given, count):
    return Sequence(given.values[:count], given.lengths_B[:count])


def test_its_loss_is_that_of_its_probabilities(members):
    model = Ensemble(members)
    loss = model.loss(Batch(source(), target(), ("a", "b", "c")), 0.0)
    log_probs, lengths = teacher_forced(model, source(), target()), target().lengths_B.tolist()
    expected = -sum(row[:length].sum() for row, length in zip(log_probs, lengths, strict=True))
    assert loss.nll.item() == pytest.approx(expected.item())
    assert loss.tokens == sum(lengths)


def test_members_of_other_vocabularies_are_refused(members):
    with pytest.raises(ValueError, match="same vocabularies"):
        Ensemble([members[0], member(LSTM, 1, SIZE + 1)])
    with pytest.raises(ValueError, match="needs members"):
        Ensemble([])


def test_an_ensemble_is_not_trained(members):
    with pytest.raises(ValueError, match="not trained"):
        Ensemble(members).loss(Batch(source(), target(), ("a", "b", "c")), 0.1)


def test_members_with_aligned_steps_refuse_targets_of_other_lengths():
    aligned = recipe.Model(
        encoder=recipe.RecurrentEncoder(kind="gru", width=6),
        decoder=recipe.RecurrentDecoder(
            kind="gru", width=10, attention=recipe.AlignedAttention(kind="aligned")
        ),
    )
    model = Ensemble([member(aligned, 0), member(FIXED, 1)])
    with pytest.raises(DataError, match="found 6 source and 4 target steps"):
        model.loss(Batch(source(), target(), ("a", "b", "c")), 0.0)
