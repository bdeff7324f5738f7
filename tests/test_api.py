"""The verbs as functions, for models of speech and of series."""

import json
import shutil

import numpy as np
import pytest

import dragoman
from dragoman.errors import DataError, RecipeError, UserError
from dragoman.evaluation.scored_set import read_examples
from dragoman.records import Recording

HEADER = "name,time,load\n"


def lines_of(name, values, begin="2022-01-01T00"):
    times = np.datetime64(begin, "m") + 60 * np.arange(len(values))
    return "".join(f"{name},{time},{value}\n" for time, value in zip(times, values, strict=True))


@pytest.fixture
def later(tmp_path):
    """A file of new series, one longer than a context and one as long as it."""
    path = tmp_path / "later.csv"
    path.write_text(HEADER + lines_of("east", range(11)) + lines_of("north", range(40, 48)), "utf-8")
    return str(path)


def test_series_of_a_file_are_forecast_beyond_their_ends(series_run, later):
    found = dragoman.load(series_run).forecast([later])
    assert [prediction.example.id for prediction in found] == ["east", "north"]
    for prediction in found:
        value = prediction.values[0]
        assert (value.values.shape, value.names) == ((4, 1), ("load",))
        assert prediction.forecast.samples.shape == (20, 4, 1)
        assert list(prediction.forecast.quantiles) == [0.1, 0.9]
    assert str(found[0].values[0].times[0]).startswith("2022-01-01T11")
    assert str(found[1].values[0].times[0]).startswith("2022-01-01T08")


def test_a_horizon_is_said_in_two_ways(series_run, later):
    bundle = dragoman.load(series_run)
    by_word = bundle.forecast([later], horizon=7)
    by_override = bundle.forecast([later], "decoding.horizon=7")
    for one, other in zip(by_word, by_override, strict=True):
        assert one.values[0].values.shape == (7, 1)
        assert len(one.values[0].times) == 7
        assert np.array_equal(one.values[0].values, other.values[0].values)
    short = bundle.forecast([later], horizon=2)
    np.testing.assert_allclose(short[0].values[0].values, by_word[0].values[0].values[:2], rtol=1e-5)


def test_what_cannot_be_forecast_is_refused(series_run, speech_run, tmp_path):
    bundle = dragoman.load(series_run)
    path = tmp_path / "short.csv"
    path.write_text(HEADER + lines_of("east", range(7)), "utf-8")
    with pytest.raises(DataError, match="series 'east': a context of 8 steps does not fit"):
        bundle.forecast([str(path)])
    with pytest.raises(DataError, match="nowhere.csv"):
        bundle.forecast(["nowhere.csv"])
    with pytest.raises(RecipeError, match="horizon"):
        bundle.forecast([str(path)], horizon=0)
    with pytest.raises(UserError, match="this model reads speech, no files of series; predict would do"):
        dragoman.load(speech_run).forecast([str(path)])


def test_scores_of_a_recipe_s_test_set_have_baselines_beside_them(series_run):
    report = dragoman.evaluate(series_run)
    assert [score.label for score in report.scores] == ["mae", "mase", "crps"]
    assert list(report.baselines) == ["last value", "seasonal naive (4)", "DLinear"]
    assert report.examples == 2 * (10 - 4 + 1)
    assert dragoman.evaluate(series_run).scores == report.scores


def test_a_bundle_of_series_checks_itself(series_run, tmp_path):
    shutil.copytree(series_run, tmp_path / "alone" / "run")
    assert dragoman.check(tmp_path / "alone" / "run") == []
    rows = sample_of(series_run)
    assert rows[0]["source"]["names"] == ["load"]
    assert np.shape(rows[0]["answer"]) == (4, 1)


def test_a_bundle_of_speech_checks_itself_without_its_sounds(speech_run, tmp_path):
    sounds = speech_run.parent / "sounds"
    aside = tmp_path / "sounds"
    sounds.rename(aside)
    try:
        assert dragoman.check(speech_run) == []
    finally:
        aside.rename(sounds)
    assert all(row["source"].keys() == {"sample_rate_hz", "samples"} for row in sample_of(speech_run))


@pytest.mark.parametrize("kind", ["speech", "series"])
def test_a_bundle_that_says_something_else_is_found_out(kind, speech_run, series_run):
    run = {"speech": speech_run, "series": series_run}[kind]
    bundle = dragoman.load(run)
    for weight in bundle.model.parameters():
        weight.data.mul_(-3)
    complaints = dragoman.api.selftest(bundle)
    assert complaints
    shown = {"speech": "'recording of 0.25 seconds'", "series": "[49.621, "}[kind]
    assert complaints[0].startswith(f"sample 1, {shown}")


def test_sounds_are_files_parts_of_files_or_samples(speech_run):
    bundle = dragoman.load(speech_run)
    path = speech_run.parent / "sounds" / "3.wav"
    times = np.arange(2300) / 8000
    heard = (0.3 * np.sin(2 * np.pi * 600 * times)).astype(np.float32)
    of_file, of_part, of_samples = bundle.predictions(
        [str(path), f"{path}#t=0,0.2875", Recording(heard, 8000)], "decoding.nbest=2"
    )
    assert len(of_file.values) == 2
    assert of_file.values == of_part.values == of_samples.values
    scores = [[one.score for one in found.hypotheses] for found in (of_file, of_samples)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-2)
    with pytest.raises(DataError, match=r"input 2: .*nowhere\.wav: there is no such file"):
        bundle.predict([str(path), "nowhere.wav"])


def sample_of(run):
    return [json.loads(line) for line in (run / "sample.jsonl").read_text("utf-8").splitlines()]


def test_models_of_numbers_have_nothing_to_score_by(series_run):
    bundle = dragoman.load(series_run)
    (example, *_) = read_examples(bundle.recipe, (), None, "test")
    with pytest.raises(UserError, match="this needs targets of text, found numbers"):
        list(bundle.score([example]))


def test_models_of_numbers_forecast_together(series_run):
    alone, together = dragoman.load(series_run), dragoman.load(series_run, others=[series_run])
    (example, *_) = dragoman.api.read_examples(alone.recipe, (), None, "test")
    plain = ("decoding.samples=0", "decoding.quantiles=[]")
    (one,), (both,) = alone.predict([example], *plain), together.predict([example], *plain)
    np.testing.assert_allclose(both.values, one.values, rtol=1e-6)
