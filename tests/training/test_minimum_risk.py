"""Answers to learn from: drawn alike whenever they are drawn, priced, and cut to the memory of a batch."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from rapidfuzz.distance import Levenshtein

from dragoman.bundle import Bundle
from dragoman.data.batching import batches_of
from dragoman.data.codec import learn_codecs, ports_of
from dragoman.data.prepare import read_split
from dragoman.data.rejects import Rejects
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Beam, CtcGreedy, Greedy
from dragoman.recipe.objectives import MinimumRisk
from dragoman.records import EOS
from dragoman.training import minimum_risk
from dragoman.training.minimum_risk import with_candidates
from dragoman.training.train import train

CER = MinimumRisk(cost="cer", samples=4)


@pytest.fixture
def bundle(recipe_of):
    """A model that has learnt nothing: its answers are of all kinds."""
    recipe = recipe_of().model_copy(update={"decoding": Greedy(method="greedy", max_length=9)})
    codecs = learn_codecs(recipe, lambda: read_split(recipe, "dev", Rejects()))
    return Bundle(recipe, codecs, build_model(recipe.model, *ports_of(recipe, codecs)).eval())


@pytest.fixture
def batch(bundle):
    examples = read_split(bundle.recipe, "dev", Rejects())
    batches = list(batches_of(examples, bundle.codecs, 100))
    return max(batches, key=lambda one: len(one.ids))


def within(bundle, decoding):
    return replace(bundle, recipe=bundle.recipe.model_copy(update={"decoding": decoding}))


def rows_of(part):
    """Of each source its candidates, as texts of ids with their costs."""
    answers, found = part.candidates.answers, []
    number = part.candidates.costs_BK.shape[1]
    for source in range(len(part.ids)):
        rows = range(source * number, (source + 1) * number)
        costs, mask = part.candidates.costs_BK[source].tolist(), part.candidates.mask_BK[source].tolist()
        each = [tuple(answers.values[row, : answers.lengths_B[row]].tolist()) for row in rows]
        found.append(
            [pair for pair, is_there in zip(zip(each, costs, strict=True), mask, strict=True) if is_there]
        )
    return found


def all_rows(parts):
    return [rows for part in parts for rows in rows_of(part)]


def gold_of(part):
    pairs = zip(part.target.values.tolist(), part.target.lengths_B.tolist(), strict=True)
    return [tuple(row[:length]) for row, length in pairs]


def test_parts_are_the_batch_with_distinct_priced_candidates(bundle, batch, monkeypatch):
    whole = list(with_candidates(bundle, batch, CER, 0))
    assert [part.ids for part in whole] == [batch.ids]
    monkeypatch.setattr(minimum_risk, "_FEWEST_TOKENS", 1)
    parts = list(with_candidates(bundle, batch, CER, 0))
    assert len(parts) > 1
    assert all_rows(parts) == all_rows(whole)
    assert [name for part in parts for name in part.ids] == list(batch.ids)
    decode = bundle.codecs.text.decode
    for part in parts:
        is_small = part.candidates.answers.values.numel() <= batch.target.values.numel()
        assert is_small or len(part.ids) == 1
        for rows, gold in zip(rows_of(part), gold_of(part), strict=True):
            tokens = [one for one, _ in rows]
            assert tokens[0] == gold
            assert len(set(tokens)) == len(tokens) <= 5
            for one, cost in rows:
                edits = Levenshtein.distance(decode(one), decode(gold))
                assert cost == pytest.approx(edits / len(decode(gold)), abs=1e-6)
    assert max(cost for rows in all_rows(parts) for _, cost in rows) > 0.5


def test_a_draw_depends_on_its_number_alone(bundle, batch):
    bundle.model.train()
    before = torch.get_rng_state()
    drawn = partial(with_candidates, bundle, batch, CER)
    first = all_rows(drawn(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(part.training for part in bundle.model.modules())
    assert first == all_rows(drawn(7))
    assert first != all_rows(drawn(8))
    small = bundle.recipe.decoding.model_copy(update={"batch_tokens": 50})
    assert all_rows(with_candidates(within(bundle, small), batch, CER, 7)) == first


def test_the_reference_can_be_left_out(bundle, batch):
    section = CER.model_copy(update={"with_reference": False})
    with_gold = all_rows(with_candidates(bundle, batch, CER, 0))
    without = all_rows(with_candidates(bundle, batch, section, 0))
    for rows, drawn, gold in zip(with_gold, without, gold_of(batch), strict=True):
        assert {one for one, _ in rows} == {one for one, _ in drawn} | {gold}
    assert any(
        gold not in [one for one, _ in rows] for rows, gold in zip(without, gold_of(batch), strict=True)
    )


def test_answers_keep_to_the_limits_of_decoding(bundle, batch):
    section = CER.model_copy(update={"with_reference": False})
    short = Beam(method="beam", max_length=3, precision="int8")
    drawn = all_rows(with_candidates(within(bundle, short), batch, section, 0))
    assert max(len(one) for rows in drawn for one, _ in rows) == 3
    assert any(one[-1] != EOS for rows in drawn for one, _ in rows)
    by_ctc = within(bundle, CtcGreedy(method="ctc_greedy"))  # has no limits of its own: the usual ones hold
    assert (
        max(len(one) for rows in all_rows(with_candidates(by_ctc, batch, section, 0)) for one, _ in rows) > 3
    )


def test_links_go_with_their_rows(bundle, batch, monkeypatch):
    monkeypatch.setattr(minimum_risk, "_FEWEST_TOKENS", 1)
    rows = len(batch.ids)
    links_L3 = torch.tensor([[row, 0, row % 2] for row in range(rows)])
    parts = list(with_candidates(bundle, replace(batch, links_L3=links_L3), CER, 0))
    assert len(parts) > 1
    assert [part.links_L3[:, 0].tolist() for part in parts] == [list(range(len(part.ids))) for part in parts]
    assert torch.cat([part.links_L3[:, 2] for part in parts]).tolist() == links_L3[:, 2].tolist()


def test_without_probabilities_only_the_reference_is_left(bundle, batch):
    with torch.no_grad():
        next(iter(bundle.model.parameters())).fill_(torch.nan)
    drawn = all_rows(with_candidates(bundle, batch, CER.model_copy(update={"with_reference": False}), 0))
    assert [[one for one, _ in rows] for rows in drawn] == [[gold] for gold in gold_of(batch)]


def test_the_models_answers_get_better(recipe_of):
    """Of two runs that go on where one by cross-entropy ended, the one that sees costs answers better."""
    quick = {"optimizer": {"kind": "adam", "learning_rate": 0.01}, "batch_tokens": 512, "validate_every": 99}

    def mean_cost_after(run, objective, **training):
        objective = {"kind": "cross_entropy", **objective}
        bundle = train(recipe_of(run, objective=objective, **quick, **training), say=lambda line: None)
        return bundle.recipe.run, mean_cost(bundle)

    begun, _ = mean_cost_after("begun", {}, max_steps=60)
    onwards = {"max_steps": 40, "begin_with": begun}
    _, by_likelihood = mean_cost_after("likely", {}, **onwards)
    _, by_risk = mean_cost_after("risky", {"minimum_risk": {"weight": 0.99, "cost": "cer"}}, **onwards)
    assert by_risk < by_likelihood


def mean_cost(bundle):
    """What answers to development sources cost that the model draws."""
    section = MinimumRisk(cost="cer", samples=8, with_reference=False)
    batches = batches_of(read_split(bundle.recipe, "dev", Rejects()), bundle.codecs, 200)
    drawn = [rows for batch in batches for rows in all_rows(with_candidates(bundle, batch, section, 0))]
    costs = [cost for rows in drawn for _, cost in rows]
    return sum(costs) / len(costs)
