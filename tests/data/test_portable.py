"""Values that are written whole come back, and say the same to a codec."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dragoman.data.codec import learn_codec
from dragoman.data.portable import portable, shown, value_of
from dragoman.errors import DataError
from dragoman.recipe.data import Characters
from dragoman.recipe.series import Numbers
from dragoman.recipe.speech import Speech
from dragoman.records import Recording, Series

soundfile = pytest.importorskip("soundfile")

RATE_HZ = 8000
SAMPLES = (0.3 * np.sin(np.arange(RATE_HZ) / 3)).astype(np.float32)


def through_json(codec, value):
    return value_of(json.loads(json.dumps(portable(codec, value), allow_nan=False)))


def speech(**options):
    section = Speech(kind="speech", sample_rate_hz=RATE_HZ, mel_bins=12, **options)
    return learn_codec(section, [], "source")


def numbers(value, **options):
    return learn_codec(Numbers(kind="numbers", **options), [value], "source")


def timed(ahead=0, known=False):
    values = np.array([[1.5, np.nan], [2.25, -3e7], [0.1, 4.0]])
    times = np.datetime64("2020-02-28T23:30", "s") + 1800 * np.arange(3 + ahead)
    return Series(
        values,
        ("a", "b"),
        "one",
        times,
        np.arange(3.0 + ahead)[:, None] / 3 if known else None,
        ("price",) if known else (),
        before=np.zeros((5, 2)),
    )


def test_sound_stands_by_itself(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, SAMPLES, RATE_HZ)
    in_16_bits, _ = soundfile.read(path, dtype="float32")
    codec = speech()
    kept = portable(codec, f"{path}#t=0.25,0.75")
    path.unlink()
    back = value_of(json.loads(json.dumps(kept)))
    assert isinstance(back, Recording)
    assert back.sample_rate_hz == RATE_HZ
    assert np.array_equal(back.samples, in_16_bits[2000:6000])
    assert portable(codec, back) == kept


def test_sound_of_another_rate_is_kept_as_the_codec_hears_it():
    codec = speech(normalise="none")
    given = Recording(np.stack([SAMPLES, 0 * SAMPLES], axis=1), 2 * RATE_HZ)
    back = through_json(codec, given)
    assert (back.samples.ndim, back.sample_rate_hz) == (1, RATE_HZ)
    assert len(codec.encode(back)) == len(codec.encode(given))


def test_loud_sound_is_cut_off_at_one():
    back = through_json(speech(), Recording(np.full(RATE_HZ, 1.5, np.float32), RATE_HZ))
    assert (back.samples == 32767 / 32768).all()


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (timed(), {"missing": "zero"}),
        (timed(ahead=2), {"missing": "forward", "calendar": ("hour",), "scale": "series"}),
        (timed(ahead=2, known=True), {"missing": "zero", "scale": "window"}),
        (Series(np.array([[1e-30], [1 / 3]])), {"scale": "none"}),
    ],
)
def test_a_series_says_the_same(value, options):
    codec = numbers(value, **options)
    back = through_json(codec, value)
    assert (back.names, back.id, back.known_names) == (value.names, value.id, value.known_names)
    assert np.array_equal(back.values, value.values, equal_nan=True)
    ours, theirs = codec.encode(value), codec.encode(back)
    assert np.array_equal(ours.values, theirs.values)
    assert (ours.ahead is None) == (theirs.ahead is None)
    assert ours.ahead is None or np.array_equal(ours.ahead, theirs.ahead)


@pytest.mark.parametrize("text", ["", "été\n", "[1, 2, null]"])
def test_text_is_itself(text):
    assert through_json(learn_codec(Characters(kind="characters"), ["a"], "source"), text) == text
    assert through_json(numbers("1 2"), text) == text
    assert shown(text) == text


def test_what_results_show():
    assert shown(Recording(SAMPLES, RATE_HZ)) == "recording of 1.00 seconds"
    values = [[1.5, None], [2.25, -3e7], [0.1, 4.0]]
    assert shown(replace(timed(), before=None)) == values
    assert shown(replace(timed(), id="")) == values
    assert shown(timed()) == "one"


@pytest.mark.parametrize(
    "content",
    [
        None,
        3,
        ["a"],
        {},
        {"samples": "AAAA"},
        {"sample_rate_hz": 8000, "samples": "not base64!"},
        {"sample_rate_hz": 8000, "samples": "AAAA"[:2]},
        {"sample_rate_hz": 8000, "samples": "AA=="},
        {"values": [[1.0]]},
        {**portable(numbers("1"), timed()), "values": [["one"]]},
        {**portable(numbers("1"), timed()), "times": ["yesterday"]},
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(DataError, match="not a value that was written whole"):
        value_of(content)
