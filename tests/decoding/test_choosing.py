import math

import numpy as np
import pytest
import torch

from dragoman.decoding.choosing import best_continuations, normalisers, top


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11, 12])
@pytest.mark.parametrize("levels", [1, 2, 4, 1000])
def test_top_takes_the_lowest_of_equals(count, levels):
    scores_BV = torch.randint(levels, (50, 12)).double()
    values_BC, ids_BC = top(scores_BV, count)
    expected = scores_BV.sort(dim=1, descending=True, stable=True)
    assert torch.equal(values_BC, expected.values[:, :count])
    assert torch.equal(ids_BC, expected.indices[:, :count])


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("levels", [1, 2, 40, 10**6])
@pytest.mark.parametrize("size", [64 * 40, 64 * 40 + 1, 64 * 41 - 1])
def test_top_of_many_takes_the_lowest_of_equals(count, levels, size):
    scores_BV = torch.randint(levels, (20, size)).double()
    scores_BV[:, 3::2] = -math.inf
    values_BC, ids_BC = top(scores_BV, count)
    expected = scores_BV.sort(dim=1, descending=True, stable=True)
    assert torch.equal(values_BC, expected.values[:, :count])
    assert torch.equal(ids_BC, expected.indices[:, :count])


def test_top_finds_the_few_that_are_allowed():
    scores_BV = torch.full((1, 8), -math.inf)
    scores_BV[0, [2, 6]] = torch.tensor([0.5, 0.5])
    values_BC, ids_BC = top(scores_BV, 4)
    assert ids_BC[0, :2].tolist() == [2, 6]
    assert (values_BC[0, 2:] == -math.inf).all()


def test_equal_continuations_come_from_the_first_rows_and_lowest_tokens():
    logits_BV = torch.zeros(3, 5)
    choice = best_continuations(logits_BV, normalisers(logits_BV)[0], np.zeros((1, 3)), 3)
    assert choice.parents_NK.tolist() == [[0, 0, 0]]
    assert choice.tokens_NK.tolist() == [[0, 1, 2]]


def test_one_row_gives_as_many_continuations_as_are_wanted_and_there_are():
    logits_BV = torch.tensor([[1.0, 3.0, 2.0]])
    for wanted, tokens in ((2, [[1, 2]]), (5, [[1, 2, 0]])):
        choice = best_continuations(logits_BV, normalisers(logits_BV)[0], np.zeros((1, 1)), wanted)
        assert choice.tokens_NK.tolist() == tokens


def test_a_row_without_a_hypothesis_gives_none_even_if_it_computes_nonsense():
    logits_BV = torch.stack([torch.full((4,), math.nan), torch.arange(4.0)])
    totals_NK = np.array([[-math.inf, -1.0]])
    choice = best_continuations(logits_BV, normalisers(logits_BV)[0], totals_NK, 2)
    assert choice.parents_NK.tolist() == [[1, 1]]
    assert choice.tokens_NK.tolist() == [[3, 2]]
    assert np.isfinite(choice.totals_NK).all()


def test_sums_keep_apart_what_float32_would_make_equal():
    logits_BV = torch.tensor([[0.0, 1e-7]])
    totals_NK = np.array([[-900.0]])
    assert best_continuations(logits_BV, np.zeros(1), totals_NK, 1).tokens_NK.item() == 1


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("levels", [2, 40, 10**6])
def test_kernels_find_what_torch_finds(monkeypatch, size, levels):
    logits_BV = torch.randint(levels, (30, size)).float() / levels * 20
    logits_BV[:, 3::2] = -math.inf
    logits_BV[0] = -math.inf
    normaliser_B, bounds_BX = normalisers(logits_BV)
    masked_BV = logits_BV.clone()
    masked_BV[:, ::7] = -math.inf  # what rules do in between
    found = {count: top(masked_BV, count, bounds_BX) for count in (1, 3, 64) if count <= size}
    unbound = {count: top(masked_BV, count) for count in found}
    monkeypatch.setattr("dragoman.decoding.choosing._choosing", lambda: None)
    assert np.allclose(normaliser_B[1:], normalisers(logits_BV)[0][1:], rtol=1e-6, atol=1e-6)
    assert not np.isfinite(normaliser_B[0])
    for count, (values_BC, ids_BC) in found.items():
        expected = top(masked_BV, count)
        assert torch.equal(values_BC, expected[0])
        is_real_BC = values_BC > -math.inf
        assert torch.equal(ids_BC[is_real_BC], expected[1][is_real_BC])
        assert torch.equal(unbound[count][1], ids_BC)


def test_kernels_take_what_is_not_a_number_for_the_least():
    logits_BV = torch.tensor([[math.nan, 1.0, math.nan, 2.0, -math.inf]])
    assert np.isnan(normalisers(logits_BV)[0][0])
    assert top(logits_BV, 2)[1].tolist()[0] in ([3, 1], [0, 2])  # of torch, the first


def test_kernels_hide_nothing_that_is_not_a_number_among_what_is_impossible():
    logits_BV = torch.full((2, 200), -math.inf)
    logits_BV[:, 150:] = 1.0
    logits_BV[0, 3] = math.nan
    broken, whole = normalisers(logits_BV)[0]
    assert np.isnan(broken)
    assert whole == pytest.approx(1 + math.log(50))


@pytest.mark.parametrize(
    ("sources", "rows", "wanted"), [(1, 1, 1), (3, 1, 4), (2, 5, 5), (4, 3, 2), (1, 2, 64)]
)
@pytest.mark.parametrize(("size", "levels"), [(40, 3), (200, 40), (1000, 10**6)])
def test_kernels_continue_as_numpy_does(monkeypatch, sources, rows, wanted, size, levels):
    random = np.random.default_rng(size + rows)
    logits_BV = torch.from_numpy(random.integers(levels, size=(sources * rows, size))).float() / levels * 20
    logits_BV[:, 5::3] = -math.inf
    totals_NK = random.integers(3, size=(sources, rows)) * -1.5
    if rows > 2:
        totals_NK[:, 1] = -math.inf
        logits_BV.view(sources, rows, size)[:, 1] = math.nan  # nothing of it counts
    normaliser_B, bounds_BX = normalisers(logits_BV)
    logits_BV[:, 0] = -math.inf  # what rules do in between
    given = logits_BV, normaliser_B, totals_NK, wanted
    found, unbound = best_continuations(*given, bounds_BX), best_continuations(*given)
    monkeypatch.setattr("dragoman.decoding.choosing._choosing", lambda: None)
    expected = best_continuations(*given)
    is_real_NK = expected.totals_NK > -math.inf
    for one in (found, unbound):
        assert np.array_equal(one.totals_NK, expected.totals_NK)
        assert np.array_equal(one.tokens_NK[is_real_NK], expected.tokens_NK[is_real_NK])
        assert np.array_equal(one.parents_NK[is_real_NK], expected.parents_NK[is_real_NK])
        assert np.array_equal(one.log_probs_NK[is_real_NK], expected.log_probs_NK[is_real_NK])
