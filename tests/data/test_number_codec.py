"""Numbers to frames and back: what every scale gives, states and refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dragoman.data.number_codec import NumbersLearner, codec_from_json
from dragoman.data.series_text import parse_series, written
from dragoman.errors import DataError
from dragoman.recipe.series import Numbers
from dragoman.records import Recording, Series

nan = np.nan
SCALES = ("none", "global", "series", "window", "level")
every_scale = pytest.mark.parametrize("scale", SCALES)


def series(length=40, name="s", names=("a", "b"), ahead=0, known=False, seed=0):
    numbers = np.random.default_rng(seed)
    steps = length + ahead
    return Series(
        100 + 5 * numbers.standard_normal((length, len(names))),
        names,
        name,
        np.datetime64("2020-02-27T12", "s") + np.arange(steps) * np.timedelta64(3600, "s"),
        numbers.standard_normal((steps, 1)) + 7 if known else None,
        ("k",) if known else (),
    )


def learn(*heard, side="source", **section):
    learner = NumbersLearner(Numbers(kind="numbers", **section), side)
    for one in heard or (series(),):
        learner.hear(one)
    return learner.learnt()


finite = st.floats(-1e6, 1e6).map(lambda number: round(number, 6))


@every_scale
@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data())
def test_a_target_comes_back(scale, data):
    values = data.draw(arrays(np.float64, (9, 2), elements=finite))
    whole = Series(values, ("a", "b"), "s", series(9).times)
    codec = learn(whole, side="target", scale=scale)
    source = replace(whole, values=values[:6])
    target = replace(whole, values=values[6:], times=whole.times[6:])
    frames = codec.encode(target, source=source)
    assert (frames.values.dtype, frames.values.shape, codec.port.size) == (np.float32, (3, 2), 2)
    back = codec.decode(frames.values, source)
    deviation = codec.scale_at(source).deviation
    reach = np.maximum(
        np.abs(target.values), np.maximum(deviation, np.abs(target.values - values[:6].mean(0)))
    )
    assert (np.abs(back.values - target.values) <= 1e-6 * np.maximum(reach, 1e-30)).all()
    assert (back.names, back.id) == (("a", "b"), "s")
    assert (back.times == target.times).all()


@every_scale
@pytest.mark.parametrize("missing", ["refuse", "zero", "forward"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_saved_codec_says_the_same(tmp_path, scale, missing, side):
    given_ = series(ahead=3, known=True)
    codec = learn(given_, side=side, scale=scale, missing=missing, calendar=("hour", "month"), season=24)
    codec.save(tmp_path / "new")
    content = json.loads((tmp_path / "new" / "codec.json").read_text("utf-8"))
    loaded = codec_from_json(content)
    assert (content["format"], loaded.section, loaded.side, loaded.port) == (
        1,
        codec.section,
        side,
        codec.port,
    )
    ours, theirs = codec.encode(given_, source=given_), loaded.encode(given_, source=given_)
    for one, other in ((ours.values, theirs.values), (ours.ahead, theirs.ahead), (ours.units, theirs.units)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(side="both"),
        lambda content: content.pop("statistics"),
        lambda content: content["statistics"]["scale"]["deviation"].__setitem__(0, 0.0),
        lambda content: content["statistics"]["scale"]["centre"].pop(),
        lambda content: content["statistics"].update(names="ab"),
        lambda content: content["codec"].update(scale="half"),
    ],
)
def test_a_codec_that_is_not_complete_is_refused(tmp_path, change):
    learn().save(tmp_path)
    content = json.loads((tmp_path / "codec.json").read_text("utf-8"))
    change(content)
    with pytest.raises((KeyError, TypeError, ValueError)):
        codec_from_json(content)


@pytest.mark.parametrize("scale", ["global", "series", "window"])
def test_scaled_frames_have_mean_nought_and_deviation_one(scale):
    frames = learn(scale=scale).encode(series()).values
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-5)


def test_statistics_are_those_of_all_values_however_they_are_cut():
    whole = series(300)
    whole.values[5:50, 0] = nan
    parts = [replace(whole, values=part) for part in np.split(whole.values, [1, 7, 100])]
    for heard in ([whole], parts):
        scale = learn(*heard).statistics.whole
        np.testing.assert_allclose(scale.centre, np.nanmean(whole.values, axis=0), rtol=1e-12)
        np.testing.assert_allclose(scale.deviation, np.nanstd(whole.values, axis=0), rtol=1e-12)


def test_scales_are_of_series_or_of_windows():
    low, high = series(name="low"), high_of(series(name="high", seed=1))
    of_series = learn(low, high, scale="series")
    np.testing.assert_allclose(of_series.encode(high).values.std(axis=0), 1, atol=1e-5)
    with pytest.raises(DataError, match="knows the 2 series of training, found one 'new'; `scale: window`"):
        of_series.encode(series(name="new"))
    with pytest.raises(DataError, match="found one without a name"):
        of_series.encode("[[1, 2]]")
    window = learn(low, high, scale="window")
    np.testing.assert_allclose(window.encode(low).values, window.encode(high_of(low)).values, atol=1e-4)


def high_of(one):
    return replace(one, values=1e4 * one.values - 3e5)


def test_units_say_what_a_frame_is_worth_in_global_deviations():
    source, target = series(30), series(5, seed=3)
    codec = learn(series(1000, seed=2), side="target", scale="window")
    frames = codec.encode(target, source=source)
    moved = replace(target, values=target.values + source.values.std(axis=0))
    np.testing.assert_allclose(codec.encode(moved, source=source).values - frames.values, 1, atol=1e-5)
    np.testing.assert_allclose(
        frames.units, source.values.std(axis=0) / codec.statistics.whole.deviation, rtol=1e-6
    )
    assert (learn(side="target").encode(target).units == 1).all()
    raw = learn(side="target", scale="none")
    np.testing.assert_allclose(raw.encode(target).units, 1 / raw.statistics.whole.deviation, rtol=1e-6)


@every_scale
@pytest.mark.parametrize("level", [0.0, 0.1, -1e6])
def test_constant_numbers_are_safe(scale, level):
    flat = Series(np.full((20, 1), level), ("value",), "s")
    source = learn(flat, scale=scale)
    assert np.isfinite(source.encode(flat).values).all()
    target = learn(flat, side="target", scale=scale)
    moved = replace(flat, values=flat.values + 0.5)
    frames = target.encode(moved, source=flat)
    assert np.isfinite(frames.values).all()
    np.testing.assert_allclose(target.decode(frames.values, flat).values, moved.values, rtol=1e-6)


def test_a_variable_that_a_window_lacks_has_the_scale_of_all():
    given_ = series()
    given_.values[:, 1] = nan
    codec = learn(series(seed=5), scale="window", missing="zero")
    scale = codec.scale_at(given_)
    assert scale.centre[1] == codec.statistics.whole.centre[1]
    assert scale.deviation[1] == codec.statistics.whole.deviation[1]
    assert (codec.encode(given_).values[:, [1, 3]] == [0, 1]).all()


@every_scale
@settings(derandomize=True, deadline=None, max_examples=30)
@given(values=arrays(np.float64, (9, 2), elements=st.floats(1e-3, 1e6)))
def test_logarithms_come_back(scale, values):
    whole = Series(values, ("a", "b"), "s")
    codec = learn(whole, side="target", scale=scale, transform="log")
    source, target = replace(whole, values=values[:6]), replace(whole, values=values[6:])
    frames = codec.encode(target, source=source)
    np.testing.assert_allclose(codec.decode(frames.values, source).values, target.values, rtol=2e-5)
    again = codec_from_json(written_json(codec))
    np.testing.assert_array_equal(again.encode(target, source=source).values, frames.values)


def written_json(codec):
    section, statistics = codec.section.model_dump(mode="json"), codec.statistics.to_json()
    return json.loads(json.dumps({"codec": section, "side": codec.side, "statistics": statistics}))


def test_logarithms_are_scaled_by_those_of_training():
    given_ = replace(series(), values=np.exp(series().values / 50))
    plain, log = learn(series(), scale="level"), learn(given_, scale="level", transform="log")
    np.testing.assert_allclose(log.encode(given_).values, plain.encode(series()).values, atol=1e-4)
    middle = np.exp(series().values.mean(0) / 50)
    np.testing.assert_allclose(log.statistics.whole.middle, middle)


def test_a_level_is_the_mean_of_the_window_in_deviations_of_all():
    codec, window = learn(series(200), scale="level"), series(10, seed=3)
    expected = (window.values - window.values.mean(0)) / codec.statistics.whole.deviation
    np.testing.assert_allclose(codec.encode(window).values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transform", ["none", "log"])
@pytest.mark.parametrize("scale", ["window", "level"])
def test_the_last_value_can_be_the_centre(scale, transform):
    source = replace(series(10, seed=3), values=np.exp(series(10, seed=3).values / 50))
    source.values[-2:, 1] = nan
    target = learn(source, side="target", scale=scale, centre="last", transform=transform)
    stays = np.array([[source.values[-1, 0], source.values[-3, 1]]] * 4)
    np.testing.assert_allclose(target.decode(np.zeros((4, 2), np.float32), source).values, stays)
    by_mean = learn(source, side="target", scale=scale, transform=transform).scale_at(source)
    np.testing.assert_array_equal(target.scale_at(source).deviation, by_mean.deviation)
    assert (target.scale_at(source).centre != by_mean.centre).all()


def test_a_variable_without_a_last_value_has_the_centre_of_all():
    given_ = series()
    given_.values[:, 1] = nan
    codec = learn(series(seed=5), scale="window", centre="last", missing="zero")
    assert codec.scale_at(given_).centre[1] == codec.statistics.whole.centre[1]


@pytest.mark.parametrize("wrong", [0.0, -2.5])
def test_what_has_no_logarithm_is_refused_where_it_stands(wrong):
    codec, given_ = learn(transform="log"), series()
    given_.values[4, 1] = wrong
    with pytest.raises(DataError, match=rf"step 5 .*'b': `transform: log` needs .* found {wrong:g};"):
        codec.encode(given_)


def test_an_endless_answer_is_the_largest_number():
    codec = learn(side="target", scale="none", transform="log")
    assert np.isfinite(codec.decode(np.full((2, 2), 1e4, np.float32), series()).values).all()


def test_what_is_missing_is_stated():
    given_ = Series(np.array([[nan], [3.0], [nan], [5.0]]), ("value",))
    zero = learn(given_, scale="none", missing="zero").encode(given_).values
    assert zero.tolist() == [[0, 1], [3, 0], [0, 1], [5, 0]]
    forward = learn(given_, scale="none", missing="forward").encode(given_).values
    assert forward.tolist() == [[0, 1], [3, 0], [3, 1], [5, 0]]
    target = learn(given_, side="target", scale="none").encode(given_).values
    np.testing.assert_array_equal(target, given_.values)
    with pytest.raises(DataError, match=r"series '', step 1, 'value': a value is missing, 2 in all; say"):
        learn(given_).encode(given_)


def test_what_is_known_beforehand_stands_beside_and_ahead():
    given_ = series(10, ahead=4, known=True)
    codec = learn(given_, calendar=("weekday",))
    frames = codec.encode(given_)
    assert codec.port.size == 5 == frames.values.shape[1]
    assert frames.ahead.shape == (4, 3)
    channels = np.concatenate([frames.values[:, 2:], frames.ahead])
    np.testing.assert_allclose(channels[:, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose((channels[:, 1:] ** 2).sum(axis=1), 1, atol=1e-6)
    assert (
        codec.encode(replace(given_, times=given_.times[:10], known_values=given_.known_values[:10])).ahead
        is None
    )
    assert learn().encode(series(ahead=4)).ahead is None


def test_the_calendar_goes_round():
    times = np.array(["2020-02-27T06:15", "2020-03-01T00:00", "2021-03-01T00:00"], "M8[s]")
    given_ = Series(np.zeros((3, 1)), times=times)
    fields = ("minute", "hour", "weekday", "monthday", "yearday", "month")
    frames = learn(given_, calendar=fields).encode(given_).values[:, 1:].reshape(3, 6, 2)
    shares = np.arctan2(frames[..., 0], frames[..., 1]) / (2 * np.pi) % 1
    wanted = [
        [15 / 60, 6 / 24, 3 / 7, 26 / 29, 57 / 366, 1 / 12],
        [0, 0, 6 / 7, 0, 60 / 366, 2 / 12],
        [0, 0, 0, 0, 59 / 365, 2 / 12],
    ]
    np.testing.assert_allclose((shares - wanted + 0.5) % 1, 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (series(names=("a",)), r"expected 2 variables \('a', 'b'\), found 1"),
        (series(names=("a", "c")), "expected the variables 'a', 'b', found 'a', 'c'"),
        ("1 2 3", "expected 2 variables"),
        ("one two", "expected a number, found 'one'"),
        ("", "expected numbers, found nothing"),
        ("[]", "an empty list"),
        ("[[1, 2], [3]]", "as many numbers at each step"),
        ("[[1, 2], 3]", "as many numbers at each step"),
        ('[["1", 2]]', "expected a number, found '1'"),
        ("[[1, true]]", "expected a number, found True"),
        ("[[1, Infinity]]", r"expected a number up to 1e\+37, found inf"),
        ("[[1, 1e999]]", "found inf"),
        ("[1", "not a JSON list of numbers"),
        (Series(np.empty((0, 2)), ("a", "b")), r"found the shape \(0, 2\)"),
        (
            Series(np.array([[1.0, -np.inf]])),
            r"series '', step 1, '1': expected a number up to 1e\+37, found -inf",
        ),
        (Recording(np.zeros(3, np.float32), 8000), "expected numbers, found Recording"),
    ],
)
def test_other_values_are_refused(value, message):
    with pytest.raises(DataError, match=message):
        learn().encode(value)


def test_faults_beside_the_values_are_refused():
    given_ = series(known=True)
    codec = learn(given_, calendar=("hour",))
    with pytest.raises(DataError, match="expected 'k' to be known at each of 40 steps, found it at 0"):
        codec.encode(replace(given_, known_values=None))
    with pytest.raises(DataError, match="`calendar` needs the time of each of 40 steps, found 0"):
        codec.encode(replace(given_, times=None))
    with pytest.raises(DataError, match="known values go on for 40 steps, times for 41"):
        codec.encode(replace(given_, times=series(ahead=1).times))
    given_.known_values[3] = nan
    with pytest.raises(DataError, match="known values must be there for all steps"):
        codec.encode(given_)
    tiny = Series(np.array([[1e-30], [2e-30]]), ("value",))
    target = learn(tiny, side="target")
    with pytest.raises(DataError, match="too far from the others to be scaled like them"):
        target.encode("[1e30]")
    with pytest.raises(DataError, match="expected frames of 1 numbers, found the shape"):
        target.decode(np.zeros((3, 4), np.float32))
    with pytest.raises(DataError, match="needs a source in numbers"):
        learn(tiny, side="target", scale="window").encode("1 2", source="some text")
    with pytest.raises(DataError, match="no series in training"):
        NumbersLearner(Numbers(kind="numbers"), "target").learnt()


def test_a_learner_leaves_out_what_does_not_fit():
    codec = learn(series(), "text", series(names=("x", "y")), series(names=("a",)))
    np.testing.assert_array_equal(codec.statistics.whole.centre, series().values.mean(axis=0))


def test_a_target_of_text_has_the_scale_of_all():
    codec = learn("1 2 3 4", side="target")
    frames = codec.encode("4, 1", source="any words")
    assert codec.decode(frames.values, "any words").values[:, 0] == pytest.approx([4, 1])
    assert codec.normalise("1;2").names == ("value",)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1 -2.5\t3e2", [[1], [-2.5], [300]]),
        ("1, 2 ;3", [[1], [2], [3]]),
        ("[1, null]", [[1], [nan]]),
        ("[[1, 2], [NaN, 4]]", [[1, 2], [nan, 4]]),
    ],
)
def test_numbers_as_people_write_them(text, steps):
    np.testing.assert_array_equal(parse_series(text).values, steps)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 3)), elements={"allow_infinity": False})
)
def test_what_is_written_can_be_read(values):
    found = parse_series(written(Series(values.astype(np.float64)))).values
    np.testing.assert_array_equal(found.astype(np.float32), values)
