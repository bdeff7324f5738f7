"""Groups of a beam, held against the algorithm of the paper written down plainly."""

import itertools

import pytest
import torch

from dragoman.decoding.diverse import in_turn
from dragoman.decoding.search import search
from dragoman.recipe.decoding import Beam
from dragoman.records import EOS, Hypothesis

SIZE = 9
LONGEST = 5


def endless(fake, seed):
    """A table whose answers are never finished before the length limit."""
    drawn = fake.random_table(SIZE, seed, scale=1.0)
    return lambda source, prefix: [
        -torch.inf if token == EOS else logit for token, logit in enumerate(drawn(source, prefix))
    ]


def by_the_paper(table, source, section):
    """Groups of (score, tokens): group after group, what groups before chose at this step costs."""
    width = section.beam // section.groups
    groups = [[(0.0, ())] for _ in range(section.groups)]
    for _ in range(LONGEST):
        chosen = []
        for number, group in enumerate(groups):
            grown = []
            for total, prefix in group:
                logits = torch.tensor(table(source, prefix), dtype=torch.float64)
                for token in range(EOS + 1, SIZE):
                    score = total + float(logits.log_softmax(0)[token])
                    grown.append((score - section.diversity * chosen.count(token), score, (*prefix, token)))
            best = sorted(grown, reverse=True)[:width]
            groups[number] = [(score, tokens) for _, score, tokens in best]
            chosen += [tokens[-1] for _, _, tokens in best]
    return groups


@pytest.mark.parametrize(("beam", "groups"), [(6, 2), (6, 3), (4, 4)])
@pytest.mark.parametrize("diversity", [0.01, 0.5, 100.0])
def test_groups_find_what_the_paper_says(fake, beam, groups, diversity):
    table = endless(fake, beam)
    section = Beam(
        method="beam", beam=beam, nbest=beam, groups=groups, diversity=diversity, max_length=LONGEST
    )
    found = search(fake.TableModel(table, SIZE), fake.sources(3, 4), section)
    for source, answers in zip((3, 4), found, strict=True):
        expected = dict(
            (tokens, score)
            for score, tokens in itertools.chain.from_iterable(by_the_paper(table, source, section))
        )
        assert {one.tokens for one in answers} == expected.keys()
        for one in answers:
            assert sum(one.log_probs) == pytest.approx(expected[one.tokens], abs=1e-9)


def test_what_is_dear_enough_is_chosen_by_one_group_only(fake):
    section = Beam(method="beam", beam=4, nbest=4, groups=4, diversity=1e6, max_length=LONGEST)
    (answers,) = search(fake.TableModel(endless(fake, 1), SIZE), fake.sources(0), section)
    for tokens in zip(*(one.tokens for one in answers), strict=True):
        assert len(set(tokens)) == 4


def test_answers_differ_more_than_those_of_a_plain_beam(fake):
    plain = Beam(method="beam", beam=6, nbest=6, max_length=LONGEST)
    diverse = plain.model_copy(update={"groups": 3, "diversity": 3.0})
    apart = []
    for section in (plain, diverse):
        found = search(fake.TableModel(endless(fake, 2), SIZE), fake.sources(*range(10)), section)
        apart.append(
            sum(
                sum(a != b for a, b in zip(one.tokens, other.tokens, strict=True))
                for answers in found
                for one, other in itertools.combinations(answers, 2)
            )
        )
    assert apart[1] > 1.2 * apart[0]


def test_fewer_symbols_than_rows_leave_rows_without_a_hypothesis(fake):
    section = Beam(method="beam", beam=12, nbest=12, groups=2, diversity=0.5, max_length=2)
    table = fake.random_table(6, 1)
    (answers,) = search(fake.TableModel(table, 6), fake.sources(0), section)
    assert {one.tokens for one in answers} == {(EOS,), *itertools.product((4, 5), (EOS, 4, 5))}


def one(token, score=0.0):
    return Hypothesis((token,), (score,), score, True)


def test_groups_take_turns_and_nothing_comes_twice():
    groups = [[one(1), one(2)], [one(1), one(3), one(4)], [], [one(5)]]
    assert [found.tokens[0] for found in in_turn(groups, 9)] == [1, 5, 2, 3, 4]
    assert [found.tokens[0] for found in in_turn(groups, 2)] == [1, 5]
