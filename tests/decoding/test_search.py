"""Search over distributions that are known exactly; `tests/contracts` runs it over real models."""

import itertools
import math
from collections import Counter

import pytest
import torch

from dragoman.decoding.search import search
from dragoman.errors import UserError
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.records import BOS, EOS, PAD, UNKNOWN

A, B, C, D = 4, 5, 6, 7
SIZE = 8
METHODS = [
    Greedy(method="greedy", max_length=6),
    Beam(method="beam", beam=4, nbest=3, max_length=6),
    Beam(method="beam", beam=6, groups=2, diversity=0.7, nbest=4, max_length=6),
    Sample(method="sample", samples=3, max_length=6),
]


def ids(section):
    return section.method


@pytest.fixture
def model(fake):
    return fake.TableModel(fake.random_table(SIZE), SIZE)


def answers_of(found):
    return [[(one.tokens, one.is_finished) for one in answers] for answers in found]


def log_probs_of(model, source, tokens):
    """The model's own log-probability of each token, from its table."""
    steps = [
        torch.tensor(model.table(source, tokens[:end]), dtype=torch.float64) for end in range(len(tokens))
    ]
    return [float(step.log_softmax(0)[token]) for step, token in zip(steps, tokens, strict=True)]


def best_of(model, fake, source, section):
    """The score and tokens of every finished answer, best first."""
    scored = []
    for tokens in fake.leaves(SIZE, section.max_length):
        total = sum(log_probs_of(model, source, tokens))
        scored.append((total / ((5 + len(tokens)) / 6) ** section.length_penalty, tokens))
    return sorted(scored, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_as_wide_as_the_tree_finds_the_best(fake, seed, alpha):
    model = fake.TableModel(fake.random_table(SIZE, seed, scale=1.0), SIZE)
    section = Beam(method="beam", beam=320, nbest=7, max_length=4, length_penalty=alpha)
    found = search(model, fake.sources(0, 1), section)
    for source, answers in enumerate(found):
        expected = best_of(model, fake, source, section)[:7]
        assert [one.tokens for one in answers] == [tokens for _, tokens in expected]
        assert [one.score for one in answers] == pytest.approx([score for score, _ in expected], abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(10))
def test_a_beam_of_one_is_greedy(fake, seed, alpha):
    model = fake.TableModel(fake.random_table(SIZE, seed), SIZE)
    source = fake.sources(0, 1, 2, 3)
    narrow = search(model, source, Beam(method="beam", beam=1, max_length=8, length_penalty=alpha))
    greedy = search(model, source, Greedy(method="greedy", max_length=8))
    assert answers_of(narrow) == answers_of(greedy)
    assert [one.log_probs for (one,) in narrow] == [one.log_probs for (one,) in greedy]


def test_greedy_takes_the_most_probable_token_of_every_step(model, fake):
    ((answer,),) = search(model, fake.sources(3), METHODS[0])
    for end, token in enumerate(answer.tokens):
        logits = model.table(3, answer.tokens[:end])
        assert token == max(range(EOS, SIZE), key=logits.__getitem__)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_log_probs_are_the_models_own_whatever_the_rules(model, fake, section):
    section = section.model_copy(update={"no_repeat_ngram": 1, "min_length": 2})
    if section.method == "sample":
        section = section.model_copy(update={"temperature": 2.0, "top_k": 3, "top_p": 0.9})
    for source, answers in enumerate(search(model, fake.sources(0, 1, 2), section)):
        for answer in answers:
            assert list(answer.log_probs) == pytest.approx(
                log_probs_of(model, source, answer.tokens), abs=1e-9
            )


def test_scores_are_sums_or_follow_the_length_penalty(model, fake):
    source = fake.sources(0, 1, 2)
    for section in METHODS:
        power = section.length_penalty if section.method == "beam" else 0
        for answer in itertools.chain(*search(model, source, section)):
            divisor = ((5 + len(answer.tokens)) / 6) ** power
            assert answer.score == pytest.approx(sum(answer.log_probs) / divisor, abs=1e-9)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_finished_come_first_then_the_best(fake, section):
    model = fake.TableModel(fake.random_table(SIZE, 1, scale=1.0), SIZE)
    found = search(model, fake.sources(*range(20)), section)
    assert (
        any(len({one.is_finished for one in answers}) == 2 for answers in found) or section.method == "greedy"
    )
    for answers in found:
        keys = [(not one.is_finished, -one.score) for one in answers]
        assert keys == sorted(keys)
        assert all(one.is_finished == (one.tokens[-1] == EOS) for one in answers)
        assert all(EOS not in one.tokens[:-1] for one in answers)


def test_answers_of_a_beam_differ(model, fake):
    section = Beam(method="beam", beam=6, nbest=6, max_length=5)
    for answers in search(model, fake.sources(*range(10)), section):
        assert len({one.tokens for one in answers}) == 6


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_what_comes_out_does_not_depend_on_the_batch(model, fake, section):
    inputs = [5, 3, 8, 1, 9, 2, 3]
    together = search(model, fake.sources(*inputs), section)
    alone = [search(model, fake.sources(one), section, keys=[key])[0] for key, one in enumerate(inputs)]
    backwards = search(model, fake.sources(*inputs[::-1]), section, keys=[*range(7)][::-1])[::-1]
    assert together == alone == backwards


def test_equally_probable_tokens_go_by_their_ids(fake):
    model = fake.TableModel(lambda source, prefix: [0.0] * SIZE, SIZE)
    ((answer,),) = search(model, fake.sources(0), Greedy(method="greedy", min_length=2, max_length=9))
    assert answer.tokens == (A, A, EOS)
    ((*answers,),) = search(
        model,
        fake.sources(0),
        Beam(method="beam", beam=3, nbest=3, min_length=1, max_length=2, length_penalty=0),
    )
    assert [one.tokens for one in answers] == [(A, EOS), (A, A), (A, B)]


# --- leaving


def test_finished_sources_leave_the_batch_at_once(fake):
    def table(source, prefix):
        return fake.logs({EOS: 1} if len(prefix) == source else {A: 1}, SIZE)

    model = fake.TableModel(table, SIZE)
    found = search(model, fake.sources(4, 0, 2, 2), Greedy(method="greedy"))
    assert [len(one.tokens) for (one,) in found] == [5, 1, 3, 3]
    assert model.rows == [4, 3, 3, 1, 1]


def test_a_beam_stops_when_nothing_live_can_win(fake):
    def table(source, prefix):
        return fake.logs({EOS: 0.9, A: 0.1} if not prefix else {A: 0.5, B: 0.5}, SIZE)

    model = fake.TableModel(table, SIZE)
    section = Beam(method="beam", beam=3, length_penalty=0, max_length=100)
    assert search(model, fake.sources(0), section)[0][0].tokens == (EOS,)
    assert len(model.rows) == 1


def test_a_beam_goes_on_while_a_longer_answer_could_win(fake):
    """The short answer has the larger sum, and the long one the better score, but only at its full length."""

    def table(source, prefix):
        if len(prefix) == 19:
            return fake.logs({EOS: 1.0}, SIZE)
        return fake.logs({A: 1.0} if prefix else {EOS: 0.7, A: 0.3}, SIZE)

    section = Beam(method="beam", beam=3, length_penalty=1.0, max_length=20)
    ((answer,),) = search(fake.TableModel(table, SIZE), fake.sources(0), section)
    assert answer.tokens == (A,) * 19 + (EOS,)
    assert answer.score == pytest.approx(math.log(0.3) / (25 / 6))
    model = fake.TableModel(table, SIZE)
    ((answer,),) = search(model, fake.sources(0), section.model_copy(update={"length_penalty": 0.0}))
    assert answer.tokens == (EOS,)
    assert len(model.rows) == 1


def test_a_beam_stops_when_enough_have_finished_and_none_looks_better(fake):
    model = fake.TableModel(lambda source, prefix: fake.logs({EOS: 0.5, A: 0.5}, SIZE), SIZE)
    section = Beam(method="beam", beam=3, length_penalty=1.0, max_length=1000)
    search(model, fake.sources(0), section)
    assert len(model.rows) == 3


def test_poor_early_ends_do_not_crowd_out_the_answer_that_is_still_being_written(fake):
    def table(source, prefix):
        return fake.logs({EOS: 1.0} if len(prefix) == 6 else {A: 0.999, EOS: 0.001}, SIZE)

    for beam in (1, 2, 3):
        section = Beam(method="beam", beam=beam, length_penalty=1.0, max_length=1000)
        ((answer,),) = search(fake.TableModel(table, SIZE), fake.sources(0), section)
        assert answer.tokens == (A,) * 6 + (EOS,)


# --- limits


def test_what_never_ends_is_cut_and_says_so(fake):
    model = fake.TableModel(lambda source, prefix: fake.logs({A: 0.5, B: 0.5}, SIZE), SIZE)
    for section in METHODS:
        for answer in search(model, fake.sources(0), section)[0]:
            assert len(answer.tokens) == 6
            assert not answer.is_finished
            assert answer.log_probs == pytest.approx([math.log(0.5)] * 6)


def test_each_source_has_its_own_limit(fake):
    model = fake.TableModel(lambda source, prefix: fake.logs({A: 0.5, B: 0.5}, SIZE), SIZE)
    section = Greedy(method="greedy", max_ratio=2, max_extra=1)
    found = search(model, fake.sources(0, 1, 2, lengths=[1, 4, 2]), section)
    assert [len(one.tokens) for (one,) in found] == [3, 9, 5]


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_the_shortest_length_is_kept(fake, section):
    model = fake.TableModel(lambda source, prefix: fake.logs({EOS: 0.99, A: 0.005, B: 0.005}, SIZE), SIZE)
    section = section.model_copy(update={"min_length": 4})
    for answer in search(model, fake.sources(0), section)[0]:
        assert len(answer.tokens) >= 5


@pytest.mark.parametrize("section", METHODS, ids=ids)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_run_comes_twice(fake, section, size):
    model = fake.TableModel(fake.random_table(6, 5), 6)
    section = section.model_copy(update={"no_repeat_ngram": size, "max_length": 12, "min_length": 8})
    for answer in itertools.chain(*search(model, fake.sources(*range(8)), section)):
        runs = Counter(
            itertools.pairwise(answer.tokens)
            if size == 2
            else zip(*_shifted(answer.tokens, size), strict=True)
        )
        assert set(runs.values()) <= {1}


def _shifted(tokens, size):
    return [tokens[first : len(tokens) - size + first + 1] for first in range(size)]


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_control_symbols_are_not_written_however_probable(fake, section):
    shares = {PAD: 0.3, UNKNOWN: 0.3, BOS: 0.3, A: 0.05, EOS: 0.05}
    model = fake.TableModel(lambda source, prefix: fake.logs(shares, SIZE), SIZE)
    for answer in search(model, fake.sources(0), section)[0]:
        assert set(answer.tokens) <= {A, EOS}
        assert answer.log_probs[0] == pytest.approx(math.log(0.05))


# --- prefixes


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_answers_start_with_their_prefix_and_count_it(model, fake, section):
    prefixes = [[A, A, A], [], [C]]
    found = search(model, fake.sources(0, 1, 2), section, prefixes=prefixes)
    for source, (prefix, answers) in enumerate(zip(prefixes, found, strict=True)):
        assert len({one.tokens for one in answers}) == len(answers) or section.method == "sample"
        for answer in answers:
            assert list(answer.tokens[: len(prefix)]) == prefix
            assert list(answer.log_probs) == pytest.approx(
                log_probs_of(model, source, answer.tokens), abs=1e-9
            )
    assert found[1] == search(model, fake.sources(1), section, keys=[1])[0]


def test_a_prefix_that_the_model_finds_impossible_fails_alone(fake):
    model = fake.TableModel(lambda source, prefix: fake.logs({A: 0.5, EOS: 0.5}, SIZE), SIZE)
    bad, good = search(model, fake.sources(0, 0), METHODS[1], prefixes=[[B], [A]])
    assert bad[0].tokens == () and bad[0].score == -math.inf
    assert good[0].tokens == (A, EOS)


# --- models that break


def broken_table(fake, step, value):
    good = fake.random_table(SIZE)

    def table(source, prefix):
        logits = good(source, prefix)
        if source == 7 and len(prefix) == step:
            return value if isinstance(value, list) else [value, *logits[1:]]
        return logits

    return table


@pytest.mark.parametrize("section", METHODS, ids=ids)
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf] * SIZE, [math.nan] * SIZE], ids=str)
def test_a_source_without_probabilities_fails_alone(fake, section, step, value):
    section = section.model_copy(update={"min_length": 2})
    model = fake.TableModel(broken_table(fake, step, value), SIZE)
    found = search(model, fake.sources(1, 7, 2), section)
    (failed,) = found[1]
    assert (failed.tokens, failed.log_probs, failed.score, failed.is_finished) == ((), (), -math.inf, False)
    assert [found[0], found[2]] == search(
        fake.TableModel(fake.random_table(SIZE), SIZE), fake.sources(1, 2), section, keys=[0, 2]
    )


def test_what_was_found_before_a_model_broke_does_not_hide_it(fake):
    def table(source, prefix):
        return [math.nan] * SIZE if prefix else fake.logs({EOS: 0.5, A: 0.5}, SIZE)

    ((answer,),) = search(fake.TableModel(table, SIZE), fake.sources(0), METHODS[1])
    assert answer.score == -math.inf


# --- reads


def test_reads_go_with_their_tokens(model, fake):
    source = fake.sources(0, 1, 2, lengths=[1, 3, 2])
    for section in METHODS:
        for length, answers in zip([1, 3, 2], search(model, source, section, reads=True), strict=True):
            assert all(one.reads.shape == (len(one.tokens), length) for one in answers)
        assert search(model, source, section)[0][0].reads is None


def test_coverage_costs_what_was_not_read(model, fake):
    section = Beam(method="beam", beam=40, nbest=40, max_length=3, length_penalty=0, coverage_penalty=0.1)
    answers = search(model, fake.sources(0, lengths=[2]), section)[0]
    for answer in answers:
        read = min(0.5 * len(answer.tokens), 1)
        penalty = 0.1 * (-math.log(read) - math.log(1e-9))
        assert answer.score == pytest.approx(sum(answer.log_probs) - penalty, abs=1e-9)
        assert answer.reads is None


def test_coverage_without_attention_is_refused(model, fake):
    attend = model.advance

    def advance(tokens_BT, state, reads=False):
        return attend(tokens_BT, state, False)

    model.advance = advance
    with pytest.raises(UserError, match="coverage_penalty` needs a decoder that attends"):
        search(model, fake.sources(0), Beam(method="beam", coverage_penalty=1))


# --- sampling


def test_samples_follow_the_distribution_of_whole_answers(fake):
    model = fake.TableModel(fake.random_table(6, 3, scale=1.0), 6)
    section = Sample(method="sample", samples=4000, max_length=3, seed=5)
    counts = Counter(one.tokens for one in search(model, fake.sources(0), section)[0])

    def allowed(prefix):
        logits = torch.tensor(model.table(0, prefix)[EOS:], dtype=torch.float64)
        return dict(zip(range(EOS, 6), logits.softmax(0).tolist(), strict=True))

    expected = {}
    for tokens in itertools.chain(fake.leaves(6, 3), itertools.product((A, B), repeat=3)):
        expected[tokens] = math.prod(allowed(tokens[:end])[token] for end, token in enumerate(tokens))
    assert sum(expected.values()) == pytest.approx(1)
    assert set(counts) <= set(expected)
    chi_square = sum(
        (counts[tokens] - 4000 * share) ** 2 / (4000 * share) for tokens, share in expected.items()
    )
    assert chi_square < 38  # 14 degrees of freedom: passed by 99.95% of fair draws


def test_draws_depend_on_seed_and_key_only(model, fake):
    section = Sample(method="sample", samples=5, max_length=6)
    same = fake.sources(1, 1)
    first, second = search(model, same, section)
    assert first != second
    assert search(model, same, section, keys=[1, 1]) == [second, second]
    assert search(model, same, section.model_copy(update={"seed": 2}))[0] != first
    more = section.model_copy(update={"samples": 8})
    assert {one.tokens for one in first} <= {one.tokens for one in search(model, same, more)[0]}


def test_nothing_in_nothing_out(model, fake):
    nothing = fake.sources(0)
    empty = type(nothing)(nothing.values[:0], nothing.lengths_B[:0])
    assert search(model, empty, METHODS[0]) == []
