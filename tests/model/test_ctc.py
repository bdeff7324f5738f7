"""CTC against every path there is, in float64."""

import itertools
import math
from collections import defaultdict

import pytest
import torch

from dragoman.model.contracts import Memory
from dragoman.model.ctc import CtcHead, blank_after_the_end, ctc_loss
from dragoman.model.ctc_prefixes import empty_prefixes, prepare
from dragoman.model.kernels import compute
from dragoman.records import BOS, EOS, PAD, UNKNOWN

SIZE = 6
SYMBOLS = (UNKNOWN, 4, 5)


def drawn(sources, steps):
    """Logits, and log-probabilities as a head makes them: none for BOS and EOS."""
    logits = 2 * torch.randn(sources, steps, SIZE, dtype=torch.float64)
    return logits, normalised(logits)


def normalised(logits):
    return logits.index_fill(2, torch.tensor([BOS, EOS]), -1e4).log_softmax(-1)


def answers_of(log_probs_SV):
    """The probability of every answer, from all paths."""
    found = defaultdict(float)
    rows = log_probs_SV.exp().tolist()
    for path in itertools.product((PAD, *SYMBOLS), repeat=len(rows)):
        written = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != PAD)
        found[written] += math.prod(row[symbol] for row, symbol in zip(rows, path, strict=True))
    return found


def padded(answers):
    """Targets as batches have them: with EOS, their lengths counting it."""
    lengths = [len(answer) + 1 for answer in answers]
    rows = [[*answer, EOS, *[PAD] * (max(lengths) - len(answer) - 1)] for answer in answers]
    return torch.tensor(rows), torch.tensor(lengths)


def mask_of(lengths, steps):
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


ANSWERS = [(), (4,), (4, 4), (5, 4, 4), (UNKNOWN, 5), (4, 5, 4)]
LENGTHS = [4, 1, 3, 4, 2, 3]


def test_the_loss_is_that_of_all_paths():
    _, log_probs = drawn(6, 4)
    targets, target_lengths = padded(ANSWERS)
    loss = ctc_loss(log_probs, mask_of(LENGTHS, 4), targets, target_lengths)
    expected = -sum(
        math.log(answers_of(row[:length])[answer])
        for row, length, answer in zip(log_probs, LENGTHS, ANSWERS, strict=True)
    )
    assert loss.impossible == 0
    assert loss.total.item() == pytest.approx(expected, abs=1e-9)


def test_gradients_are_those_of_the_loss():
    logits, _ = drawn(6, 4)
    targets, target_lengths = padded(ANSWERS)
    mask = mask_of(LENGTHS, 4)

    def total(logits):
        return ctc_loss(normalised(logits), mask, targets, target_lengths).total

    assert torch.autograd.gradcheck(total, logits.requires_grad_())
    (gradient,) = torch.autograd.grad(total(logits), logits)
    assert not gradient[~mask].any()


def test_what_no_path_writes_is_counted_and_teaches_nothing():
    logits, _ = drawn(4, 3)
    answers = [(4, 4, 5), (4, 5, 4), (5, 5), (4, 5)]  # the first needs four steps, the third three
    targets, target_lengths = padded(answers)
    mask = mask_of([3, 3, 2, 1], 3)
    loss = ctc_loss(normalised(logits.requires_grad_()), mask, targets, target_lengths)
    alone = ctc_loss(normalised(logits[1:2]), mask[1:2], targets[1:2], target_lengths[1:2])
    assert (loss.impossible, alone.impossible) == (3, 0)
    torch.testing.assert_close(loss.total, alone.total)
    (gradient,) = torch.autograd.grad(loss.total, logits)
    assert gradient.isfinite().all()
    assert not gradient[[0, 2, 3]].any() and gradient[1].abs().min(0).values[4] > 0


def test_gradients_of_a_head_are_numbers():
    head, values = CtcHead(8, SIZE).double(), torch.randn(6, 4, 8, dtype=torch.float64)
    targets, target_lengths = padded(ANSWERS)
    mask = mask_of(LENGTHS, 4)
    log_probs = head.log_probs(Memory(values, mask, values.mean(1)))
    ctc_loss(log_probs, mask, targets, target_lengths).total.backward()
    for parameter in head.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()
        assert not parameter.grad[[BOS, EOS]].any()


def test_results_repeat_to_the_bit():
    logits, _ = drawn(6, 4)
    targets, target_lengths = padded(ANSWERS)
    logits = logits.float().requires_grad_()

    def once():
        loss = ctc_loss(normalised(logits), mask_of(LENGTHS, 4), targets, target_lengths)
        return loss.total, *torch.autograd.grad(loss.total, logits)

    assert all(torch.equal(one, two) for one, two in zip(once(), once(), strict=True))


def test_a_head_gives_probabilities_of_what_may_be_written_in_full_precision():
    head, values = CtcHead(8, SIZE), torch.randn(2, 3, 8)
    memory = Memory(values, torch.ones(2, 3, dtype=torch.bool), values.mean(1))
    with compute("bf16", values.device):
        log_probs = head.log_probs(memory)
    assert log_probs.dtype is torch.float32
    assert (log_probs[..., [BOS, EOS]].exp() == 0).all()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(log_probs, head.log_probs(memory), rtol=0, atol=0)


def test_padding_that_is_blank_for_certain_changes_no_answer():
    _, log_probs = drawn(1, 4)
    alone = answers_of(log_probs[0, :2])
    certain = answers_of(blank_after_the_end(log_probs, mask_of([2], 4))[0])
    assert {answer: p for answer, p in certain.items() if p} == pytest.approx(
        {answer: p for answer, p in alone.items() if p}
    )


@pytest.mark.parametrize("length", [1, 3, 4])
def test_prefixes_are_as_probable_as_all_answers_that_begin_with_them(length):
    _, log_probs = drawn(1, 4)
    answers = answers_of(log_probs[0, :length])
    paths = prepare(log_probs, mask_of([length], 4))

    def starting(prefix):
        return sum(p for answer, p in answers.items() if answer[: len(prefix)] == prefix)

    def visit(prefix, known):
        assert known.scores_B.exp().item() == pytest.approx(starting(prefix), abs=1e-12)
        assert known.ends_B.exp().item() == pytest.approx(answers.get(prefix, 0.0), abs=1e-12)
        if starting(prefix):
            following = known.next_scores(paths).exp()[0]
            for symbol in SYMBOLS:
                assert following[symbol].item() == pytest.approx(starting((*prefix, symbol)), abs=1e-12)
                visit((*prefix, symbol), known.extend(paths, torch.tensor([symbol])))

    visit((), empty_prefixes(paths, 1))


def test_what_is_very_improbable_keeps_its_digits():
    """Hundreds of steps, a symbol that only the last could write: far below what float64 can hold."""
    log_probs = torch.full((1, 400, SIZE), -30.0, dtype=torch.float64)
    log_probs[0, :, 4] = 0.0
    log_probs[0, -1] = torch.tensor([-40.0, -40.0, -math.inf, -math.inf, -40.0, 0.0])
    paths = prepare(log_probs, mask_of([400], 400))
    prefixes = empty_prefixes(paths, 1)
    assert prefixes.ends_B.item() == pytest.approx(-30 * 399 - 40)
    prefixes = prefixes.extend(paths, torch.tensor([5]))
    # It may have begun at any of the 400 steps.
    assert prefixes.ends_B.item() == pytest.approx(-30 * 399 + math.log(400), abs=1e-6)
