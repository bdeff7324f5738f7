"""Metrics of forecasts: by hand, by definition, with what is missing, with intervals of blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import DataError
from dragoman.evaluation.forecasting import Outcomes, crps, measure_forecasts, naive_error, window_rows
from dragoman.recipe.metrics import Evaluation
from dragoman.recipe.series import Crps, ForecastError, Mase, Smape

nan = np.nan
MSE, MAE = ForecastError(name="mse", label="mse"), ForecastError(name="mae", label="mae")
SMAPE, MASE, CRPS = (kind.model_validate({"name": kind.__name__.lower()}) for kind in (Smape, Mase, Crps))
SECTION = Evaluation(bootstrap_samples=200)
TRUTH = np.array([[1.0, 2.0], [4.0, nan]])[..., None]
POINTS = np.array([[2.0, 2.0], [1.0, 5.0]])[..., None]


def value(metric, *outcomes, **more):
    return measure_forecasts(metric, outcomes, SECTION, **more).value


def test_metrics_by_hand():
    outcomes = Outcomes(TRUTH, POINTS, naive_errors=np.array([[1.0], [2.0]]))
    assert value(MSE, outcomes) == pytest.approx((1 + 0 + 9) / 3)
    assert value(MAE, outcomes) == pytest.approx((1 + 0 + 3) / 3)
    assert value(SMAPE, outcomes) == pytest.approx((200 / 3 + 0 + 200 * 3 / 5) / 3)
    assert value(MASE, outcomes, season=1) == pytest.approx((1 + 0 + 3 / 2) / 3)
    assert value(CRPS, outcomes) == value(MAE, outcomes)


@pytest.mark.parametrize("metric", [MSE, MAE, SMAPE, MASE, CRPS])
def test_a_part_at_a_time_is_all_at_once(metric):
    numbers = np.random.default_rng(0)
    truth, points = numbers.standard_normal((2, 9, 4, 3))
    truth[2, 1, 0] = nan
    naive = numbers.random((9, 3)) + 0.1
    whole = Outcomes(truth, points, naive_errors=naive)
    parts = [
        Outcomes(truth[rows], points[rows], naive_errors=naive[rows]) for rows in (slice(4), slice(4, 9))
    ]
    assert measure_forecasts(metric, parts, SECTION, 2) == measure_forecasts(metric, [whole], SECTION, 2)


def test_global_units_divide_by_deviations_of_training():
    numbers = np.random.default_rng(0)
    truth, points, deviation = numbers.random((3, 5, 4, 2)) + 1
    deviation = deviation[0, 0]
    scaled = Outcomes(truth / deviation, points / deviation)
    given_ = Outcomes(truth, points, deviations=deviation)
    for name in ("mse", "mae"):
        ours = ForecastError(name=name, label=name, units="global")
        assert value(ours, given_) == pytest.approx(value(ForecastError(name=name), scaled))
    assert value(Crps(name="crps", units="global"), given_) == pytest.approx(value(CRPS, scaled))
    each = Outcomes(truth, points, deviations=np.repeat(deviation[None], 5, axis=0))
    assert value(ours, each) == pytest.approx(value(ours, given_))


def test_nought_for_nought_is_no_error():
    outcomes = Outcomes(np.zeros((1, 2, 1)), np.array([[[0.0], [1.0]]]))
    assert value(SMAPE, outcomes) == 100


@settings(derandomize=True, deadline=None, max_examples=50)
@given(samples=st.lists(st.floats(-5, 5), min_size=1, max_size=8), truth=st.floats(-5, 5))
def test_crps_of_samples_is_the_area_between_distributions(samples, truth):
    outcomes = Outcomes(np.full((1, 1, 1), truth), np.zeros((1, 1, 1)), np.reshape(samples, (1, -1, 1, 1)))
    edges = np.unique([*samples, truth])
    below = np.array([np.mean(np.array(samples) <= edge) for edge in edges[:-1]])
    area = (np.diff(edges) * (below - (truth <= edges[:-1])) ** 2).sum()
    assert crps(outcomes.truth, outcomes).item() == pytest.approx(area, abs=1e-9)


def test_crps_of_many_quantiles_nears_that_of_their_distribution():
    levels = (np.arange(500) + 0.5) / 500
    quantiles = {level: np.full((1, 1, 1), level) for level in levels}  # of the uniform distribution
    outcomes = Outcomes(np.full((1, 1, 1), 0.3), np.full((1, 1, 1), 0.5), quantiles=quantiles)
    assert crps(outcomes.truth, outcomes).item() == pytest.approx((0.3**3 + 0.7**3) / 3, abs=1e-4)
    assert "from:500-quantiles" in measure_forecasts(CRPS, [outcomes], SECTION).signature


def test_the_naive_error_of_a_past():
    past = np.array([[1.0, 5], [2, nan], [4, 5], [8, nan]])
    np.testing.assert_allclose(naive_error(past, 1), [7 / 3, nan])
    np.testing.assert_allclose(naive_error(past, 2), [4.5, 0])
    np.testing.assert_allclose(naive_error(past, 9), [nan, nan])


def test_a_constant_past_is_left_out_of_mase():
    naive = np.array([[0.0], [2.0]])
    outcomes = Outcomes(TRUTH, POINTS, naive_errors=naive)
    assert window_rows(MASE, outcomes).tolist() == [[0, 0], [1.5, 1]]
    with pytest.raises(DataError, match="`mase` got 2 windows, and each has no change a season apart"):
        value(MASE, Outcomes(TRUTH, POINTS, naive_errors=np.zeros((2, 1))))
    with pytest.raises(DataError, match="`mase` needs a season"):
        value(MASE, Outcomes(TRUTH, POINTS))


def test_nothing_to_score_is_refused():
    with pytest.raises(DataError, match="`mse` got no windows"):
        value(MSE, Outcomes(TRUTH[:0], POINTS[:0]))
    with pytest.raises(DataError, match="`mae` got 2 windows, and each is missing"):
        value(MAE, Outcomes(TRUTH * nan, POINTS))
    with pytest.raises(
        DataError, match="window 2, step 1, variable 1: expected a finite forecast, found inf"
    ):
        value(MSE, Outcomes(TRUTH, np.where(POINTS == 1, np.inf, POINTS)))


def test_the_signature_says_how_it_was_counted():
    outcomes = Outcomes(np.ones((20, 4, 1)), np.zeros((20, 4, 1)), naive_errors=np.ones((20, 1)))
    score = measure_forecasts(MASE, [outcomes], SECTION, overlap=4, season=24)
    assert score.signature.startswith(
        "season:24|past:series|constant-past:left-out|windows:20|interval:moving-blocks-of-4|dragoman:"
    )
    assert (score.label, score.higher_is_better) == ("mase", False)
    assert "|interval:bootstrap|" in measure_forecasts(SMAPE, [outcomes], SECTION).signature
    assert (
        "|interval:moving-blocks-of-10|" in measure_forecasts(MSE, [outcomes], SECTION, overlap=96).signature
    )


def test_blocks_widen_the_interval_where_neighbours_are_alike():
    errors = np.repeat(np.random.default_rng(0).standard_normal(30), 20)[:, None, None]
    outcomes = Outcomes(np.zeros_like(errors), errors)

    def width(overlap):
        score = measure_forecasts(MSE, [outcomes], SECTION, overlap=overlap)
        return score.high - score.low

    assert width(20) > 2.5 * width(1)
