"""Where a run stands, and what it makes of validations."""

import json
import math

from dragoman.data.batching import Position
from dragoman.recipe.run import Constant, Plateau
from dragoman.training.state import Interval, Progress, Watch

CONSTANT = Constant(kind="constant")


def watch_of(values, schedule=CONSTANT, higher_is_better=False):
    watch = Watch()
    for step, value in enumerate(values, 1):
        watch = watch.seen(value, step, higher_is_better, schedule)
    return watch


def test_the_best_is_the_lowest_or_the_highest():
    assert (watch_of([3, 1, 2]).best, watch_of([3, 1, 2]).best_step) == (1, 2)
    rising = watch_of([3, 5, 2], higher_is_better=True)
    assert (rising.best, rising.best_step, rising.since_best) == (5, 2, 1)


def test_an_equal_value_is_no_better():
    assert watch_of([2, 2, 2]).best_step == 1
    assert watch_of([2, 2, 2]).since_best == 2


def test_what_is_not_finite_is_never_the_best():
    assert watch_of([math.nan, math.inf]).best is None
    assert watch_of([math.nan, -math.inf], higher_is_better=False).since_best == 2
    assert watch_of([1, math.nan]).best == 1


def test_a_plateau_is_more_than_patience_validations_long():
    plateau = Plateau(kind="plateau", factor=0.5, patience=1)
    assert watch_of([1, 2], plateau).plateau_factor == 1
    assert watch_of([1, 2, 2], plateau).plateau_factor == 0.5
    assert watch_of([1, 2, 2, 2], plateau).plateau_factor == 0.5
    assert watch_of([1, 2, 2, 2, 2], plateau).plateau_factor == 0.25
    assert watch_of([1, 2, 0.5, 2], plateau).plateau_factor == 1


def test_early_stopping_counts_on_through_plateaus():
    assert watch_of([1, 2, 2, 2, 2], Plateau(kind="plateau", patience=1)).since_best == 4


def test_progress_survives_json():
    progress = Progress(
        step=7,
        position=Position(1, 2, 3),
        tokens_seen=99,
        seconds=1 / 3,
        best_metrics={"loss": 0.1 + 0.2},
        watch=Watch(best=1 / 3, best_step=5, since_best=2, since_plateau=1, plateau_factor=0.5),
        interval=Interval(2 / 3, 11, 0.7),
    )
    assert Progress.from_dict(json.loads(json.dumps(progress.as_dict()))) == progress
