"""Answers of CTC against every path there is, and against a beam in plain Python."""

import itertools
import math
from collections import defaultdict

import pytest
import torch
from pydantic import ValidationError

from dragoman.decoding.ctc import ctc_beam, ctc_greedy
from dragoman.decoding.search import FAILED
from dragoman.recipe.ctc import Ctc, CtcBeam, CtcGreedy
from dragoman.records import BOS, EOS, PAD, UNKNOWN

SYMBOLS = (4, 5, 6)
NEVER_WRITTEN = (UNKNOWN, BOS, EOS)


def random_log_probs(sources, steps, size=7, scale=2.0):
    return (scale * torch.randn(sources, steps, size, dtype=torch.float64)).log_softmax(-1)


def rows_of(*steps):
    """Log-probabilities of one source from probabilities by symbol; the rest goes to UNKNOWN."""
    rows = []
    for shares in steps:
        rest = 1 - sum(shares.values())
        rows.append([math.log(max(shares.get(s, rest if s == UNKNOWN else 0), 1e-9)) for s in range(7)])
    return torch.tensor([rows], dtype=torch.float64)


def best_answers(log_probs_SV):
    """All answers with their log-probabilities, best first, from all paths."""
    found = defaultdict(float)
    rows = log_probs_SV.exp().tolist()
    for path in itertools.product((PAD, *SYMBOLS), repeat=len(rows)):
        written = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != PAD)
        found[written] += math.prod(row[symbol] for row, symbol in zip(rows, path, strict=True))
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return [((*answer, EOS), math.log(p)) for answer, p in ranked]


def plain_beam(log_probs_SV, beam):
    """The algorithm as it is printed (Hannun et al. 2014), a prefix and a symbol at a time: what it keeps."""
    probs, kept = log_probs_SV.exp().tolist(), {(): (0.0, 1.0)}
    for row in probs:
        found = defaultdict(lambda: (0.0, 0.0))
        for prefix, (by_symbol, by_blank) in kept.items():
            s, b = found[prefix]
            last = row[prefix[-1]] if prefix else 0.0
            found[prefix] = (s + by_symbol * last, b + (by_symbol + by_blank) * row[PAD])
            for symbol in range(EOS + 1, len(row)):
                again = bool(prefix) and prefix[-1] == symbol
                s, b = found[(*prefix, symbol)]
                found[(*prefix, symbol)] = (s + (by_blank + (not again) * by_symbol) * row[symbol], b)
        kept = dict(sorted(found.items(), key=lambda item: -sum(item[1]))[:beam])
    return [(*prefix, EOS) for prefix in kept]


LENGTHS = torch.tensor([5, 1, 3, 4])


def test_a_beam_as_wide_as_the_tree_finds_the_best_answers_and_their_probabilities():
    log_probs = random_log_probs(4, 5)
    found = ctc_beam(log_probs, LENGTHS, beam=400, nbest=4)
    for row, length, answers in zip(log_probs, LENGTHS.tolist(), found, strict=True):
        expected = best_answers(row[:length])[:4]
        assert [one.tokens for one in answers] == [tokens for tokens, _ in expected]
        assert [one.score for one in answers] == pytest.approx([p for _, p in expected], abs=1e-9)
        assert all(one.is_finished for one in answers)


@pytest.mark.parametrize(("beam", "size"), [(1, 7), (2, 7), (3, 7), (4, 30), (10, 30), (20, 6)])
def test_a_narrow_beam_is_the_algorithm_as_it_is_printed(beam, size):
    log_probs, lengths = random_log_probs(12, 25, size), torch.full((12,), 25)
    kept = [plain_beam(row, beam) for row in log_probs]
    assert [one.tokens for (one,) in ctc_beam(log_probs, lengths, beam)] == [best for best, *_ in kept]
    found = ctc_beam(log_probs, lengths, beam, nbest=beam)
    assert [{one.tokens for one in answers} for answers in found] == [set(answers) for answers in kept]


def test_the_log_probabilities_of_tokens_sum_to_the_score_and_none_is_above_zero():
    for answers in ctc_beam(random_log_probs(5, 20), torch.tensor([20, 3, 11, 20, 1]), beam=6, nbest=6):
        assert [one.score for one in answers] == sorted((one.score for one in answers), reverse=True)
        assert len({one.tokens for one in answers}) == len(answers)
        for one in answers:
            assert len(one.log_probs) == len(one.tokens)
            assert sum(one.log_probs) == pytest.approx(one.score)
            assert max(one.log_probs) <= 1e-12


def test_scores_do_not_depend_on_the_width_of_the_beam():
    log_probs, lengths = random_log_probs(6, 6), torch.full((6,), 6)
    known = [dict(best_answers(row)) for row in log_probs]
    for (one,), exact in zip(ctc_beam(log_probs, lengths, beam=1), known, strict=True):
        assert one.score == pytest.approx(exact[one.tokens], abs=1e-9)


@pytest.mark.parametrize("decode", [ctc_greedy, lambda *given: ctc_beam(*given, beam=5, nbest=3)])
def test_answers_do_not_depend_on_the_batch(decode):
    log_probs, lengths = random_log_probs(5, 18, 12), torch.tensor([18, 1, 9, 17, 4])
    together = decode(log_probs, lengths)
    for place, length in enumerate(lengths.tolist()):
        (alone,) = decode(log_probs[place : place + 1, :length], lengths[place : place + 1])
        pairs = zip([alone], [together[place]], strict=True)
        if isinstance(alone, tuple):
            pairs = zip(alone, together[place], strict=True)
        for one, other in pairs:
            assert one.tokens == other.tokens
            assert one.score == pytest.approx(other.score, abs=1e-9)
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-9)


def test_the_best_path_is_read_as_ctc_reads_paths():
    best = [4, 4, PAD, 4, 5, 5, 5, PAD, PAD]
    shares = [0.9, 0.8, 0.7, 0.9, 0.5, 0.6, 0.55, 0.9, 0.9]
    log_probs = rows_of(*({symbol: share} for symbol, share in zip(best, shares, strict=True)))
    (found,) = ctc_greedy(log_probs, torch.tensor([8]))
    assert found.tokens == (4, 4, 5, EOS)
    assert found.log_probs == pytest.approx((math.log(0.9), math.log(0.9), math.log(0.6), 0.0))
    assert found.score == pytest.approx(sum(math.log(share) for share in shares[:8]))
    assert found.is_finished


def test_many_paths_together_beat_the_best_one():
    log_probs = rows_of({PAD: 0.55, 4: 0.45}, {PAD: 0.55, 4: 0.45})
    (greedy,) = ctc_greedy(log_probs, torch.tensor([2]))
    ((beam,),) = ctc_beam(log_probs, torch.tensor([2]), beam=2)
    assert (greedy.tokens, beam.tokens) == ((EOS,), (4, EOS))
    assert beam.score == pytest.approx(math.log(1 - 0.55**2), abs=1e-6)


def test_symbols_that_nobody_can_read_are_never_written():
    log_probs = rows_of({UNKNOWN: 0.6, 4: 0.2}, {BOS: 0.5, 5: 0.3}, {EOS: 0.9, 6: 0.05})
    (greedy,) = ctc_greedy(log_probs, torch.tensor([3]))
    ((beam, *_),) = ctc_beam(log_probs, torch.tensor([3]), beam=50)
    assert greedy.tokens == beam.tokens == (4, 5, 6, EOS)
    assert greedy.score == pytest.approx(math.log(0.2 * 0.3 * 0.05))


def test_a_source_without_probabilities_fails_alone():
    log_probs = random_log_probs(3, 4)
    log_probs[1, 2, 5] = math.nan
    lengths = torch.tensor([4, 3, 4])
    greedy, beam = ctc_greedy(log_probs, lengths), ctc_beam(log_probs, lengths, 4)
    assert greedy[1] is FAILED and beam[1] == (FAILED,)
    assert [greedy[place].is_finished for place in (0, 2)] == [True, True]
    fine = log_probs[[0, 2]]
    assert [beam[0][0].tokens, beam[2][0].tokens] == [
        answers[0].tokens for answers in ctc_beam(fine, lengths[[0, 2]], 4)
    ]
    lengths[1] = 2  # what stands in padding is nobody's
    assert ctc_greedy(log_probs, lengths)[1].is_finished and ctc_beam(log_probs, lengths, 4)[1][0].is_finished


def test_no_sources_have_no_answers():
    nothing = torch.zeros(0, 3, 7)
    assert ctc_greedy(nothing, torch.zeros(0, dtype=torch.long)) == []
    assert ctc_beam(nothing, torch.zeros(0, dtype=torch.long), 3) == []


def test_sections_refuse_more_answers_than_prefixes():
    with pytest.raises(ValidationError, match="`nbest` 4 is more than `beam` 3"):
        CtcBeam(method="ctc_beam", beam=3, nbest=4)
    assert CtcBeam(method="ctc_beam").nbest == 1
    assert (CtcGreedy(method="ctc_greedy").precision, Ctc(kind="ctc").kind) == ("fp32", "ctc")
