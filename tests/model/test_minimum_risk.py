"""The expected cost of candidates: by hand, by its gradient, beside the cross-entropy."""

import math
from dataclasses import replace

import pytest
import torch

from dragoman.model.build import build_model
from dragoman.model.minimum_risk import expected_costs, risks
from dragoman.model.objectives import objective_loss
from dragoman.recipe.model import Model
from dragoman.recipe.objectives import CrossEntropy
from dragoman.records import EOS, Batch, Candidates, Port, Sequence

PORT = Port("tokens", 9)
TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 1, "heads": 2, "dropout": 0.0}
GRU = {"kind": "gru", "width": 8, "dropout": 0.0}
DECODERS = {
    "transformer": TRANSFORMER,
    "additive": GRU,
    "location": {**GRU, "attention": {"kind": "location"}, "input_feeding": True},
    "none": {**GRU, "attention": {"kind": "none"}},
}


@pytest.fixture(params=DECODERS)
def model(request):
    sections = {"encoder": GRU, "decoder": DECODERS[request.param]}
    return build_model(Model.model_validate(sections), PORT, PORT).double()


@pytest.fixture
def batch():
    source = Sequence(torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2]))
    target = Sequence(torch.tensor([[5, 6, 4, EOS], [8, EOS, 0, 0]]), torch.tensor([4, 2]))
    answers = [[5, 6, EOS], [6, 6, 6, 6, EOS], [EOS], [8, EOS], [7, 8, EOS], [EOS]]
    longest = max(map(len, answers))
    values = torch.tensor([[*row, *[0] * (longest - len(row))] for row in answers])
    costs_BK = torch.tensor([[0.25, 1.5, 0.75], [0.0, 0.5, 9.0]])
    mask_BK = torch.tensor([[True, True, True], [True, True, False]])
    candidates = Candidates(Sequence(values, torch.tensor([*map(len, answers)])), costs_BK, mask_BK)
    return Batch(source, target, ("a", "b"), None, candidates)


def step_by_step(model, batch):
    """The log-probability of each candidate, one token after the other, alone."""
    totals = []
    answers = batch.candidates.answers
    for row, length in enumerate(answers.lengths_B.tolist()):
        place = torch.tensor([row // 3])
        state = model.start(model.encode(batch.source).keep(place))
        token, total = torch.tensor([[2]]), 0.0
        for step in range(length):
            decoded, state = model.advance(token, state)
            token = answers.values[row : row + 1, step : step + 1]
            total = total + model.logits(decoded.outputs_BTD).log_softmax(-1)[0, 0, token[0, 0]]
        totals.append(total)
    return torch.stack(totals).view(2, 3)


def test_it_is_the_mean_cost_under_sharpened_probabilities():
    probs, costs = [0.5, 0.2, 0.1], [0.0, 0.5, 1.0]
    log_probs_NK = torch.tensor([probs], dtype=torch.float64).log()
    mask_NK = torch.ones(1, 3, dtype=torch.bool)
    for sharpness in (0.005, 1.0, 3.0):
        powers = [prob**sharpness for prob in probs]
        wanted = sum(power * cost for power, cost in zip(powers, costs, strict=True)) / sum(powers)
        found = expected_costs(log_probs_NK, torch.tensor([costs]), mask_NK, sharpness)
        assert float(found) == pytest.approx(wanted)
    mask_NK[0, 1] = False
    assert float(expected_costs(log_probs_NK, torch.tensor([costs]), mask_NK, 1)) == pytest.approx(0.1 / 0.6)


def test_its_gradient_is_that_of_the_paper():
    """Shen et al. (2016), equation 13: sharpness times share times what the cost is above the mean cost."""
    log_probs_NK = torch.tensor([[-1.0, -2.0, -4.0]], dtype=torch.float64, requires_grad=True)
    costs_NK, mask_NK = torch.tensor([[0.2, 0.9, 0.4]]), torch.ones(1, 3, dtype=torch.bool)
    risk = expected_costs(log_probs_NK, costs_NK, mask_NK, 0.5).sum()
    shares = [math.exp(0.5 * x) for x in (-1.0, -2.0, -4.0)]
    shares = [share / sum(shares) for share in shares]
    wanted = [0.5 * share * (cost - risk.item()) for share, cost in zip(shares, (0.2, 0.9, 0.4), strict=True)]
    (found,) = torch.autograd.grad(risk, log_probs_NK)
    assert found[0].tolist() == pytest.approx(wanted, abs=1e-7)


def test_candidates_are_scored_as_if_alone(model, batch):
    candidates = batch.candidates
    wanted = expected_costs(step_by_step(model, batch), candidates.costs_BK, candidates.mask_BK, 0.7)
    found = risks(model, model.encode(batch.source), candidates, 0.7)
    torch.testing.assert_close(found, wanted)
    weights = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.sum(), weights, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(wanted.sum(), weights, allow_unused=True, materialize_grads=True),
    )


@pytest.mark.parametrize("options", [{}, {"r_drop": 2.0}], ids=["one pass", "two passes"])
def test_it_shares_the_loss_with_the_reference(model, batch, options):
    said = {"weight": 0.25, "sharpness": 0.7}
    section = CrossEntropy(kind="cross_entropy", minimum_risk=said, **options)
    risk_N = risks(model, model.encode(batch.source), batch.candidates, 0.7)
    alone = model.loss(batch, 0.1)
    found = objective_loss(model, batch, section)
    torch.testing.assert_close(found.total, 0.75 * alone.total + 0.25 * (4 * risk_N[0] + 2 * risk_N[1]))
    torch.testing.assert_close(found.nll, alone.nll)
    without = objective_loss(model, replace(batch, candidates=None), section)
    assert without.tokens == found.tokens == 6


def test_probability_moves_to_what_costs_less(model, batch):
    section = CrossEntropy(kind="cross_entropy", minimum_risk={"weight": 0.99})
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    found = []
    for _ in range(40):
        found.append(risks(model, model.encode(batch.source), batch.candidates, 1.0).sum().item())
        optimizer.zero_grad()
        objective_loss(model, batch, section).total.backward()
        optimizer.step()
    best = batch.candidates.costs_BK.amin(1).sum().item()
    assert found[-1] - best < 0.3 * (found[0] - best)
