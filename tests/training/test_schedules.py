"""Learning rates and scheduled sampling are pure functions of the step."""

import math

import pytest

from dragoman.recipe.objectives import CROSS_ENTROPY, CrossEntropy, Ctc, Squared
from dragoman.recipe.run import Constant, Decay, InverseSqrt, Plateau
from dragoman.training.schedules import objective_at, rate_factor


@pytest.mark.parametrize(
    "section",
    [
        Constant(kind="constant", warmup_steps=10),
        InverseSqrt(kind="inverse_sqrt", warmup_steps=10),
        Decay(kind="linear", warmup_steps=10, steps=100),
        Decay(kind="cosine", warmup_steps=10, steps=100),
        Plateau(kind="plateau", warmup_steps=10),
    ],
)
def test_every_schedule_warms_up_on_a_line_to_the_whole_rate(section):
    factors = [rate_factor(section, step, None) for step in range(1, 11)]
    assert factors == pytest.approx([step / 10 for step in range(1, 11)])


def test_no_warmup_starts_at_the_whole_rate():
    assert rate_factor(Constant(kind="constant"), 1, None) == 1
    assert rate_factor(Constant(kind="constant"), 10**6, None) == 1


def test_inverse_sqrt_halves_when_the_step_is_four_times_the_warmup():
    section = InverseSqrt(kind="inverse_sqrt", warmup_steps=100)
    assert rate_factor(section, 400, None) == pytest.approx(0.5)
    assert rate_factor(section, 10_000, None) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_decays_end_at_their_fraction_and_stay_there(kind):
    section = Decay(kind=kind, warmup_steps=20, steps=120, final_fraction=0.1)
    assert rate_factor(section, 70, None) == pytest.approx(0.55)
    assert rate_factor(section, 120, None) == pytest.approx(0.1)
    assert rate_factor(section, 500, None) == pytest.approx(0.1)


def test_cosine_follows_the_cosine():
    section = Decay(kind="cosine", steps=100)
    assert rate_factor(section, 25, None) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_a_decay_without_its_own_end_ends_with_the_run():
    section = Decay(kind="linear")
    assert rate_factor(section, 50, 200) == pytest.approx(0.75)
    assert rate_factor(section, 200, 200) == 0


def test_a_plateau_multiplies_what_the_plateaus_left():
    section = Plateau(kind="plateau", warmup_steps=4)
    assert rate_factor(section, 2, None, 0.25) == pytest.approx(0.125)
    assert rate_factor(section, 100, None, 0.25) == 0.25


@pytest.mark.parametrize(("loss", "kind"), [(CrossEntropy, "cross_entropy"), (Squared, "squared")])
def test_scheduled_sampling_rises_on_a_line_and_stays(loss, kind):
    section = loss(kind=kind, scheduled_sampling=0.5, sampling_warmup_steps=10)
    shares = [objective_at(section, step).scheduled_sampling for step in range(1, 21)]
    assert shares == pytest.approx([min(0.5, step / 20) for step in range(1, 21)])
    assert objective_at(section, 10) == section.model_copy(update={"scheduled_sampling": 0.5})


@pytest.mark.parametrize(
    "section",
    [
        CROSS_ENTROPY,
        Ctc(kind="ctc"),
        CrossEntropy(kind="cross_entropy", scheduled_sampling=0.3),
        Squared(kind="squared", scheduled_sampling=0.3),
    ],
)
def test_without_warm_up_objectives_do_not_change(section):
    assert objective_at(section, 1) is section
