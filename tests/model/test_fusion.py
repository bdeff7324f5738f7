"""A model and a language model: scores are weighted sums, whatever the two are."""

import pytest
import torch

from dragoman.decoding.score import teacher_forced
from dragoman.decoding.search import search
from dragoman.errors import UserError
from dragoman.model.answering import in_int8
from dragoman.model.build import build_model
from dragoman.model.ensemble import Ensemble
from dragoman.model.fusion import Fused
from dragoman.recipe import model as recipe
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.recipe.objectives import Squared
from dragoman.records import EOS, Batch, Port, Sequence

SIZE = 9
WEIGHT = 0.4
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
METHODS = [
    Greedy(method="greedy", max_length=9),
    Beam(method="beam", beam=4, nbest=4, max_length=9),
    Beam(method="beam", beam=4, nbest=4, groups=2, diversity=0.5, max_length=9),
    Sample(method="sample", samples=3, max_length=9),
]


def built(section, seed, source_size, size=SIZE):
    torch.manual_seed(seed)
    model = build_model(section, Port("tokens", source_size), Port("tokens", size)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.4 * torch.randn_like(weight)
    return model


@pytest.fixture(scope="module")
def parts():
    models = [built(TRANSFORMER, 0, 20), built(LSTM, 1, 20)]
    languages = [built(LSTM, 2, 4), built(TRANSFORMER, 3, 4)]
    return [*zip(models, languages, strict=True), (Ensemble(models), languages[0])]


def source():
    torch.manual_seed(5)
    return Sequence(torch.randint(4, 20, (3, 6)), torch.tensor([6, 2, 4]))


def nothing(rows):
    return Sequence(torch.full((rows, 1), EOS), torch.ones(rows, dtype=torch.long))


def some(given, place, rows=1):
    length = int(given.lengths_B[place])
    return Sequence(given.values[[place] * rows, :length], given.lengths_B[[place] * rows])


@pytest.mark.parametrize("section", METHODS, ids=str)
def test_answers_score_log_p_plus_the_weighted_log_p_of_the_language_model(parts, section):
    for model, language in parts:
        for place, answers in enumerate(search(Fused(model, language, WEIGHT), source(), section)):
            for one in answers:
                target = Sequence(torch.tensor([one.tokens]), torch.tensor([len(one.tokens)]))
                own = teacher_forced(model, some(source(), place), target)[0]
                said = teacher_forced(language, nothing(1), target)[0]
                assert list(one.log_probs) == pytest.approx((own + WEIGHT * said).tolist(), abs=1e-9)


@pytest.mark.parametrize("section", METHODS, ids=str)
def test_what_comes_out_does_not_depend_on_the_batch(parts, section):
    for model, language in parts:
        fused = Fused(model, language, WEIGHT)
        together = search(fused, source(), section)
        for place, answers in enumerate(together):
            (alone,) = search(fused, some(source(), place), section, keys=[place])
            assert [one.tokens for one in alone] == [one.tokens for one in answers]
            assert [one.score for one in alone] == pytest.approx([one.score for one in answers], abs=1e-9)


def test_a_weight_next_to_nothing_is_the_model_alone_and_a_large_one_the_language_model(parts):
    model, language = parts[0]
    section = Greedy(method="greedy", max_length=9)
    light, heavy = (search(Fused(model, language, weight), source(), section) for weight in (1e-12, 1e6))
    assert [one.tokens for (one,) in light] == [one.tokens for (one,) in search(model, source(), section)]
    ((alone,),) = search(language, nothing(1), section.model_copy(update={"max_extra": 50}))
    assert {one.tokens for (one,) in heavy} == {alone.tokens}


def test_in_int8_both_are(parts):
    fused = Fused(parts[0][0], parts[0][1], WEIGHT).float().eval()
    found = search(in_int8(fused), source(), METHODS[0])
    exact = search(fused, source(), METHODS[0])
    assert [one.score for (one,) in found] == pytest.approx([one.score for (one,) in exact], rel=0.2)
    fused.double()


def test_its_loss_is_that_of_the_model(parts):
    model, language = parts[0]
    target = Sequence(torch.tensor([[4, 5, EOS]] * 3), torch.tensor([3, 3, 3]))
    batch = Batch(source(), target, ("a", "b", "c"))
    assert Fused(model, language, WEIGHT).loss(batch, 0.0).nll == model.loss(batch, 0.0).nll


def test_other_symbols_and_numbers_are_refused(parts):
    model, language = parts[0]
    with pytest.raises(ValueError, match="expected one vocabulary"):
        Fused(model, built(LSTM, 1, 4, SIZE + 1), WEIGHT)
    numbers = build_model(LSTM, Port("frames", 2), Port("frames", 2), Squared(kind="squared"))
    with pytest.raises(UserError, match="a language model knows of symbols; this model writes numbers"):
        Fused(numbers, language, WEIGHT)
