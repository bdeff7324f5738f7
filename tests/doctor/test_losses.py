"""Each complaint about a run's curves, from a log that has it; healthy curves have none."""

import math

import pytest

from dragoman.doctor.losses import Yardsticks, loss_findings, unigram_entropy

FALLING = [4.0, 2.0, 1.2, 0.9, 0.8, 0.75, 0.73, 0.72]


def log(losses, dev=None, end=True, metrics=None, extra=()):
    dev = [loss + 0.05 for loss in losses] if dev is None else dev
    lines = [{"kind": "start", "step": 0, "skipped": 0}]
    for number, loss in enumerate(losses, 1):
        lines.append(
            {"kind": "train", "step": 50 * number, "skipped": 0, "loss": loss, "learning_rate": 0.01}
        )
        if number <= len(dev):
            line = {"kind": "validation", "step": 50 * number, "skipped": 0, "loss": dev[number - 1]}
            lines.append({**line, "metrics": metrics or {}})
    lines += extra
    return [*lines, {"kind": "end", "step": 50 * len(losses), "skipped": 0}] if end else lines


def findings(*given, yardsticks=None, max_steps=400, **more):
    return list(loss_findings(log(*given, **more), yardsticks or Yardsticks(), max_steps))


def only(found, text):
    (one,) = [one for one in found if text in one.found]
    assert one.means and one.mend
    return one


def test_healthy_curves_have_no_complaints():
    assert findings(FALLING) == []
    good = Yardsticks(unigram=3.0, dev=0.77, dev_shuffled=5.0)
    assert findings(FALLING, yardsticks=good) == []


def test_a_loss_that_rises_is_a_fault():
    assert only(findings([4.0, 2.0, 1.5, 1.2, 3.0, 5.0, 6.0, 6.0]), "rose from 1.2").severity == "fault"


def test_a_loss_that_stays_is_seen():
    only(findings([4.0, 4.01, 3.99, 4.0, 4.02, 3.98, 4.0, 4.0]), "did not fall")


def test_skipped_steps_are_counted_and_giving_up_is_a_fault():
    skip = {"kind": "skip", "step": 120, "skipped": 1, "loss": "nan", "first_ids": ["pairs.tsv:7"]}
    assert "pairs.tsv:7" in only(findings(FALLING, extra=[skip]), "1 steps were skipped").mend
    stop = {"kind": "stop", "step": 120, "skipped": 5, "reason": "not finite 5 times in a row"}
    assert only(findings(FALLING, extra=[skip, stop], end=False), "gave up").severity == "fault"


def test_runs_that_never_trained_or_validated_are_seen():
    only(findings([]), "no training steps")
    only(findings(FALLING, dev=[]), "never validated")


def test_guessing_by_frequency_is_a_fault():
    flat = [4.0, 3.1, 3.02, 3.0, 3.0, 3.0, 3.0, 3.0]
    assert only(findings(flat, yardsticks=Yardsticks(unigram=3.0)), "how frequent").severity == "fault"


def test_a_source_that_is_not_used_is_a_fault():
    unused = Yardsticks(dev=0.77, dev_shuffled=0.775)
    assert only(findings(FALLING, yardsticks=unused), "source of another").severity == "fault"


def test_learning_by_heart_is_seen():
    dev = [3.9, 2.2, 1.6, 1.5, 1.6, 1.7, 1.8, 1.9]
    assert "step 200" in only(findings(FALLING, dev), "development loss was best").found


def test_a_run_that_ended_too_soon_is_told():
    falling = [8.0, 6.0, 5.0, 4.2, 3.6, 3.0, 2.5, 2.1]
    assert only(findings(falling), "still fell").severity == "note"
    assert not any("still fell" in one.found for one in findings(falling, max_steps=10_000))


def test_forecasts_worse_than_the_last_season_are_seen():
    only(findings(FALLING, metrics={"mase": 1.2}), "mase 1.2")


def test_unigram_entropy_is_that_of_the_counts():
    assert unigram_entropy([5, 5, 0]) == pytest.approx(math.log(2))
    assert unigram_entropy([9]) == 0
