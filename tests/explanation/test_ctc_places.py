"""Places of CTC's symbols against every path there is."""

import itertools
import math

import numpy as np
import pytest
import torch

from dragoman.errors import DataError
from dragoman.explanation.ctc_places import ctc_places
from dragoman.records import PAD


def places_by_every_path(log_probs_SV, tokens):
    """Sum over paths that write the tokens; which token a step writes is counted along the path."""
    rows = log_probs_SV.exp().tolist()
    found_TS = np.zeros((len(tokens), len(rows)))
    whole = 0.0
    for path in itertools.product((PAD, *sorted(set(tokens))), repeat=len(rows)):
        if [symbol for symbol, _ in itertools.groupby(path) if symbol != PAD] != tokens:
            continue
        probability = math.prod(row[symbol] for row, symbol in zip(rows, path, strict=True))
        whole += probability
        number, before = -1, PAD
        for step, symbol in enumerate(path):
            number += symbol not in (PAD, before)
            before = symbol
            if symbol != PAD:
                found_TS[number, step] += probability
    return found_TS / whole


@pytest.mark.parametrize("tokens", [[4], [4, 5], [4, 4], [5, 4, 4], [4, 5, 4]])
def test_they_are_shares_of_all_paths(tokens):
    log_probs_SV = (2 * torch.randn(6, 7, dtype=torch.float64)).log_softmax(-1)
    found_TS = ctc_places(log_probs_SV, tokens)
    np.testing.assert_allclose(found_TS, places_by_every_path(log_probs_SV, tokens), rtol=1e-9)


def test_nothing_is_written_nowhere_and_long_sources_stay_numbers():
    log_probs_SV = (5 * torch.randn(3000, 7)).log_softmax(-1)
    assert ctc_places(log_probs_SV, []).shape == (0, 3000)
    found_TS = ctc_places(log_probs_SV, [4, 5] * 200)
    assert np.isfinite(found_TS).all()
    assert (found_TS.sum(axis=0) <= 1 + 1e-9).all()
    assert (found_TS.sum(axis=1) > 0.999).all(), "every token is written once at least"


def test_an_answer_that_no_path_writes_is_refused():
    with pytest.raises(DataError, match="no path of 2 steps writes these 2 tokens"):
        ctc_places(torch.randn(2, 7).log_softmax(-1), [4, 4])
