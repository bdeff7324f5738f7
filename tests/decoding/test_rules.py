import math
import random

import numpy as np
import pytest
import torch

from dragoman.decoding.rules import Rules, coverage_penalty, length_divisor, rules_for
from dragoman.errors import UserError
from dragoman.recipe.decoding import Greedy
from dragoman.records import BOS, EOS, PAD, UNKNOWN

A, B, C = 4, 5, 6


def allowed(rules, tokens, size=7):
    logits_BV = torch.zeros(1, size)
    rules.apply(logits_BV, np.array([tokens], dtype=np.int64))
    return {token for token, value in enumerate(logits_BV[0].tolist()) if value > -math.inf}


def rules(prefixes=None, length=10, **limits):
    return rules_for(np.array([length]), Greedy(method="greedy", **limits), prefixes)


def test_control_symbols_are_never_written():
    assert allowed(rules(), []) == {EOS, A, B, C}


def test_an_answer_does_not_end_before_its_shortest_length():
    shortest = rules(min_length=2)
    assert EOS not in allowed(shortest, [])
    assert EOS not in allowed(shortest, [A])
    assert EOS in allowed(shortest, [A, A])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_blocked_is_exactly_what_would_repeat_a_run(size):
    numbers = random.Random(size)
    blocking = rules(no_repeat_ngram=size)
    for _ in range(100):
        tokens = numbers.choices([A, B, C], k=numbers.randrange(9))
        runs = {tuple(tokens[first : first + size]) for first in range(len(tokens) - size + 1)}
        begun = tuple(tokens[len(tokens) - size + 1 :])
        repeated = {token for token in (A, B, C) if (*begun, token) in runs}
        assert allowed(blocking, tokens) == {EOS, A, B, C} - repeated


def test_rows_are_blocked_by_what_they_wrote_themselves():
    logits_BV = torch.zeros(2, 7)
    rules(no_repeat_ngram=1).apply(logits_BV, np.array([[A, B], [C, C]]))
    assert logits_BV.isneginf().tolist() == [
        [True, True, True, False, True, True, False],
        [True, True, True, False, False, False, True],
    ]


def test_where_nothing_else_may_follow_an_answer_can_end():
    stuck = rules(no_repeat_ngram=1, min_length=9)
    assert allowed(stuck, [A, B, C]) == {EOS}
    assert allowed(stuck, [A, B]) == {C}


@pytest.mark.parametrize("token", [A, UNKNOWN])
def test_a_prefix_overrides_every_other_rule(token):
    forced = rules([[A, A, token]], no_repeat_ngram=1, min_length=5)
    assert allowed(forced, [A, A]) == {token}
    assert allowed(forced, [A, A, token]) == {B, C}


def test_prefixes_of_different_lengths_bind_only_their_sources():
    both = rules_for(np.array([3, 3]), Greedy(method="greedy"), [[A], [B, C]])
    logits_BV = torch.zeros(4, 7)  # two rows a source
    both.apply(logits_BV, np.array([[A], [A], [B], [B]]))
    assert logits_BV.isfinite().sum(dim=1).tolist() == [4, 4, 1, 1]
    assert logits_BV[2:, C].isfinite().all()


def test_the_forced_token_keeps_its_own_logit():
    logits_BV = torch.arange(7.0)[None]
    rules([[B]]).apply(logits_BV, np.zeros((1, 0), dtype=np.int64))
    assert logits_BV[0, B] == B


@pytest.mark.parametrize(
    ("length", "limits", "longest"),
    [
        (10, {}, 70),
        (3, {"max_ratio": 1.5, "max_extra": 2}, 6),
        (600, {"max_length": 100}, 100),
        (1, {"max_ratio": 0.1, "max_extra": 0}, 1),
        (1, {"max_ratio": 1, "max_extra": 0, "min_length": 5}, 6),
    ],
)
def test_the_longest_answer(length, limits, longest):
    assert rules(length=length, **limits).longest_N.tolist() == [longest]


def test_a_prefix_makes_room_for_itself_and_one_more():
    assert rules([[A] * 7], length=1, max_ratio=1, max_extra=0).longest_N.tolist() == [8]


def test_a_prefix_without_room_is_refused():
    with pytest.raises(UserError, match="prefix of 4 tokens leaves no room under `decoding.max_length` 4"):
        rules([[A] * 4], max_length=4)


@pytest.mark.parametrize("token", [PAD, BOS, EOS])
def test_a_prefix_holds_no_control_symbols(token):
    with pytest.raises(ValueError, match="no PAD, BOS or EOS"):
        rules([[A, token]])


def test_prefixes_are_as_many_as_sources():
    with pytest.raises(ValueError, match="2 prefixes for 1 sources"):
        rules([[A], [B]])


def test_kept_rules_are_those_of_the_kept_sources():
    three = rules_for(np.array([1, 2, 3]), Greedy(method="greedy"), [[A], [B], [C, C]])
    kept = three.keep(np.array([2, 0]))
    assert isinstance(kept, Rules)
    assert kept.longest_N.tolist() == [56, 52]
    assert kept.prefixes_NP.tolist()[0] == [C, C]


def test_length_divisor():
    lengths = np.array([1, 7])
    assert length_divisor(lengths, 0).tolist() == [1, 1]
    assert length_divisor(lengths, 1).tolist() == [1, 2]
    assert length_divisor(lengths, 0.5).tolist() == pytest.approx([1, 2**0.5])


def test_coverage_penalty():
    reads_BTS = torch.tensor([[[0.5, 0.1, 0.0], [0.25, 1.9, 0.0]]])
    mask_BS = torch.tensor([[True, True, False]])
    assert coverage_penalty(reads_BTS, mask_BS, 2.0).tolist() == pytest.approx([-2 * math.log(0.75)])


def test_what_was_never_read_costs_much_but_not_everything():
    penalty_B = coverage_penalty(torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), 1.0)
    assert 10 < penalty_B.item() < 100
