"""Attention and CTC as one model: exact for CTC alone, the plain model without it, and their weighted sum."""

import itertools
import math
from collections import defaultdict

import pytest
import torch

from dragoman.decoding.score import teacher_forced
from dragoman.decoding.search import search
from dragoman.errors import UserError
from dragoman.model.build import build_model
from dragoman.model.contracts import rows_of
from dragoman.model.ctc import CtcHead
from dragoman.model.ctc_joint import CtcJoint
from dragoman.recipe import model as recipe
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.records import EOS, PAD, Batch, Port, Sequence

SIZE, LONGEST = 7, 5
SYMBOLS = (4, 5, 6)
LENGTHS = (4, 1, 3)
TRANSFORMER = recipe.Model(
    encoder=recipe.ConformerEncoder(
        kind="conformer", width=8, layers=1, heads=2, feedforward_width=10, kernel_width=3
    ),
    decoder=recipe.TransformerDecoder(kind="transformer", width=8, layers=1, heads=2, feedforward_width=10),
)
LSTM = recipe.Model(
    encoder=recipe.RecurrentEncoder(kind="lstm", width=6),
    decoder=recipe.RecurrentDecoder(
        kind="lstm", width=12, attention=recipe.AdditiveAttention(kind="additive")
    ),
)


@pytest.fixture(scope="module", params=[TRANSFORMER, LSTM], ids=["transformer", "lstm"])
def model(request):
    torch.manual_seed(3)
    model = build_model(request.param, Port("tokens", 20), Port("tokens", SIZE))
    model.ctc_head = CtcHead(model.encoder.width, SIZE)
    model = model.double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.4 * torch.randn_like(weight)
        model.ctc_head.symbols.weight *= 2
    return model


def source():
    torch.manual_seed(5)
    return Sequence(torch.randint(4, 20, (3, 4)), torch.tensor(LENGTHS))


def some(given, places):
    lengths = given.lengths_B[places]
    return Sequence(given.values[places, : int(lengths.max())], lengths)


@torch.no_grad()
def ctc_answers(model, place):
    """The log-probability of every answer by CTC, from all paths, best first."""
    log_probs = model.ctc_head.log_probs(model.encode(some(source(), [place])))
    rows, found = log_probs[0].exp().tolist(), defaultdict(float)
    symbols = [symbol for symbol in range(SIZE) if rows[0][symbol] > 0]
    for path in itertools.product(symbols, repeat=len(rows)):
        written = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != PAD)
        found[(*written, EOS)] += math.prod(row[symbol] for row, symbol in zip(rows, path, strict=True))
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return {tokens: math.log(p) for tokens, p in ranked}


def plain(model, place, tokens):
    """The log-probability of an answer by the decoder alone."""
    target = Sequence(torch.tensor([tokens]), torch.tensor([len(tokens)]))
    return teacher_forced(model, some(source(), [place]), target).sum().item()


def beam_of(**changes):
    return Beam(**{"method": "beam", "beam": 4, "nbest": 4, "length_penalty": 0.0, "max_length": 9} | changes)


def test_ctc_alone_finds_the_best_answers_of_all_paths(model):
    wide = beam_of(beam=130, nbest=4, max_length=LONGEST)
    for place, answers in enumerate(search(CtcJoint(model, 1.0), source(), wide)):
        exact = ctc_answers(model, place)
        readable = [tokens for tokens in exact if set(tokens) <= {*SYMBOLS, EOS}]
        wanted = readable[: 4 if LENGTHS[place] > 1 else 3]
        assert [one.tokens for one in answers[: len(wanted)]] == wanted
        assert [one.score for one in answers[: len(wanted)]] == pytest.approx(
            [exact[tokens] for tokens in wanted], abs=1e-9
        )


@pytest.mark.parametrize("weight", [0.3, 0.7])
def test_a_wide_beam_finds_the_best_weighted_sums(model, weight):
    wide = beam_of(beam=130, nbest=3, max_length=LONGEST)
    for place, answers in enumerate(search(CtcJoint(model, weight), source(), wide)):
        both = {
            tokens: (1 - weight) * plain(model, place, tokens) + weight * ctc
            for tokens, ctc in ctc_answers(model, place).items()
            if set(tokens) <= {*SYMBOLS, EOS}
        }
        best = sorted(both, key=both.get, reverse=True)[:3]
        assert [one.tokens for one in answers[: len(best)]] == best
        assert [one.score for one in answers[: len(best)]] == pytest.approx([both[tokens] for tokens in best])


@pytest.mark.parametrize("section", [Greedy(method="greedy", max_length=9), beam_of()])
def test_without_weight_it_is_the_plain_model(model, section):
    alone, joint = search(model, source(), section), search(CtcJoint(model, 0.0), source(), section)
    assert [[one.tokens for one in found] for found in alone] == [
        [one.tokens for one in found] for found in joint
    ]
    for found, again in zip(alone, joint, strict=True):
        assert [one.score for one in again] == pytest.approx([one.score for one in found], abs=1e-9)


METHODS = [beam_of(), beam_of(min_length=4), Sample(method="sample", samples=3, max_length=9)]


@pytest.mark.parametrize("section", METHODS)
def test_rows_that_are_reordered_score_as_in_teacher_forcing_and_alone(model, section):
    joint = CtcJoint(model, 0.4)
    for place, answers in enumerate(search(joint, source(), section)):
        (alone,) = search(joint, some(source(), [place]), section, keys=[place])
        assert [one.tokens for one in alone] == [one.tokens for one in answers]
        assert [one.score for one in alone] == pytest.approx([one.score for one in answers], abs=1e-9)
        for one in answers:
            target = Sequence(torch.tensor([one.tokens]), torch.tensor([len(one.tokens)]))
            forced = teacher_forced(joint, some(source(), [place]), target)[0].tolist()
            assert list(one.log_probs) == pytest.approx(forced, abs=1e-9)


@torch.no_grad()
def test_selecting_rows_and_keeping_sources_commute_with_stepping(model):
    joint, beams = CtcJoint(model, 0.5), 3
    tokens_BT = torch.randint(EOS + 1, SIZE, (3 * beams, 4))
    memory, kept = joint.encode(source()), torch.tensor([2, 0])
    parents_B = (torch.arange(3)[:, None] * beams + torch.randint(beams, (3, beams))).flatten()
    rows = rows_of(kept, beams)
    assert joint.start(memory, beams).keep(kept).select(rows_of(torch.arange(2), beams)).prefixes is None
    _, state = joint.advance(tokens_BT[:, :2], joint.start(memory, beams))
    moved, _ = joint.advance(tokens_BT[rows, 2:], state.select(parents_B).keep(kept))
    written_BT = torch.cat([tokens_BT[parents_B][rows, :2], tokens_BT[rows, 2:]], 1)
    whole, _ = joint.advance(written_BT, joint.start(memory.keep(kept), beams))
    torch.testing.assert_close(moved.outputs_BTD, whole.outputs_BTD[:, 2:])


@torch.no_grad()
def test_scores_are_log_probabilities_with_the_rest_at_pad(model):
    joint, tokens_BT = CtcJoint(model, 0.5), torch.tensor([[2, 4, 4], [2, 5, 6], [2, 6, 4]])
    decoded, _ = joint.advance(tokens_BT, joint.start(joint.encode(source())))
    logits = joint.logits(decoded.outputs_BTD)
    torch.testing.assert_close(logits.logsumexp(-1), torch.zeros(3, 3, dtype=torch.float64))
    assert logits[..., PAD].isfinite().all()


def test_it_works_in_float32_with_a_search_that_goes_on_too_long(model):
    """A longer answer than CTC can write: improbable, but never without a number."""
    single = build_model(TRANSFORMER, Port("tokens", 20), Port("tokens", SIZE)).eval()
    single.ctc_head = CtcHead(8, SIZE)
    for answers in search(CtcJoint(single, 0.5), source(), beam_of(min_length=7, max_length=12)):
        assert answers
        for one in answers:
            assert len(one.tokens) > 7 and math.isfinite(one.score)


def test_its_loss_is_the_models(model):
    target = Sequence(torch.tensor([[4, EOS], [5, EOS], [6, EOS]]), torch.tensor([2, 2, 2]))
    batch = Batch(source(), target, ("a", "b", "c"))
    assert torch.equal(CtcJoint(model, 0.3).loss(batch, 0.1).total, model.loss(batch, 0.1).total)


def test_a_model_without_ctc_is_refused():
    without = build_model(LSTM, Port("tokens", 20), Port("tokens", SIZE))
    without.ctc_head = None
    with pytest.raises(UserError, match=r"`decoding\.ctc_weight` needs a model that was trained with CTC"):
        CtcJoint(without, 0.3)
