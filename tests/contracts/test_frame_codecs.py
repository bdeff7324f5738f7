"""The battery that every codec of frames passes: sound and numbers, of all scales and on both sides."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dragoman.data.batching import padded
from dragoman.data.codec import learn_codec, load_codec
from dragoman.errors import DataError
from dragoman.model.build import build_model
from dragoman.recipe.model import ConformerEncoder, Frontend, Model, RecurrentEncoder, TransformerEncoder
from dragoman.recipe.series import Numbers
from dragoman.recipe.speech import Speech
from dragoman.records import Port, Recording, Sequence, Series

pytest.importorskip("soundfile")

RATE_HZ = 8000
TINY = {"sample_rate_hz": RATE_HZ, "mel_bins": 12, "max_seconds": 2.0}
SPEECH = {
    name: Speech(kind="speech", **TINY, **options)
    for name, options in {
        "speech": {},
        "speech-none": {"normalise": "none", "speeds": (1.0, 0.9)},
        "speech-global": {"normalise": "global", "time_masks": 2, "frequency_masks": 1}
        | {"frequency_mask_bins": 4},
    }.items()
}
NUMBERS = {
    f"numbers-{scale}-{missing}{'-calendar' * bool(calendar)}": Numbers(
        kind="numbers", scale=scale, missing=missing, calendar=calendar
    )
    for scale in ("none", "global", "series", "window")
    for missing, calendar in (("refuse", ()), ("zero", ("hour", "month")), ("forward", ("weekday",)))
}
SECTIONS = SPEECH | NUMBERS
SOURCES = [(name, "source") for name in SECTIONS]
TARGETS = [(name, "target") for name in NUMBERS]
LENGTHS = (7, 2, 12, 1)
AHEAD = 3


def recording(number, steps):
    """As many frames as steps: a window each, and hops between."""
    draw = np.random.default_rng(number)
    samples = 0.1 * draw.standard_normal(round(RATE_HZ * (0.1 + 0.025 + 0.01 * steps)))
    return Recording(samples.astype(np.float32), RATE_HZ)


def series(number, steps, missing=False):
    """Hours of two variables, whose times go on."""
    draw = np.random.default_rng(number)
    values = 1000 * number + np.array([1.0, 0.01]) * draw.standard_normal((steps, 2))
    if missing:
        values[::3, 1] = np.nan
    times = np.datetime64("2021-03-27T20", "s") + 3600 * np.arange(steps + AHEAD)
    return Series(values, ("load", "heat"), f"s{number}", times)


def values_of(name):
    section = SECTIONS[name]
    if isinstance(section, Speech):
        return [recording(number, steps) for number, steps in enumerate(LENGTHS)]
    is_gappy = section.missing != "refuse"
    return [series(number, steps, is_gappy) for number, steps in enumerate(LENGTHS)]


def encode(codec, side, value, source=None):
    """Encode a value as its side does: a target has a source to be scaled by."""
    return codec.encode(value, source=(source or value) if side == "target" else None)


CODECS = {
    (name, side): learn_codec(SECTIONS[name], values_of(name), side) for name, side in (*SOURCES, *TARGETS)
}
every_codec = pytest.mark.parametrize(("name", "side"), [*SOURCES, *TARGETS])
every_source = pytest.mark.parametrize(("name", "side"), SOURCES)
every_target = pytest.mark.parametrize(("name", "side"), TARGETS)


def same(one, other):
    """Whether two encodings are the same to the bit, missing numbers included."""
    pairs = ((one.values, other.values), (one.ahead, other.ahead), (one.units, other.units))
    return all(
        (mine is None and theirs is None) or np.array_equal(mine, theirs, equal_nan=True)
        for mine, theirs in pairs
    )


@every_codec
def test_frames_are_of_the_width_and_type_that_the_port_says(name, side):
    codec = CODECS[name, side]
    for value in values_of(name):
        frames = encode(codec, side, value)
        assert codec.port.kind == "frames"
        assert frames.values.shape == (len(frames), codec.port.size)
        assert frames.values.dtype == np.float32
        if isinstance(value, Series):
            assert len(frames) == len(value.values)
        assert (frames.ahead is not None) == (codec.port.ahead > 0)
        if frames.ahead is not None:
            assert frames.ahead.shape == (AHEAD, codec.port.ahead)
        assert side == "target" or np.isfinite(frames.values).all()
        assert (frames.units is not None) == (side == "target")


@every_codec
def test_encoding_changes_neither_the_value_nor_the_next_one(name, side):
    codec = CODECS[name, side]
    one, other = values_of(name)[:2]
    first = encode(codec, side, one)
    encode(codec, side, other)
    assert same(encode(codec, side, one), first)
    assert same(codec.encode(one, 5, source=one), first)
    before = values_of(name)[0]
    for array in ("samples",) if isinstance(one, Recording) else ("values", "times"):
        assert np.array_equal(getattr(one, array), getattr(before, array), equal_nan=array == "values")


@every_target
def test_targets_come_back(name, side):
    codec = CODECS[name, side]
    source = series(1, 9)
    for number, steps in enumerate((1, 4)):
        target = replace(series(number, steps), id="s1")
        back = codec.decode(encode(codec, side, target, source).values, source)
        scale = codec.scale_at(source)
        reach = np.maximum(np.abs(target.values), np.abs(target.values - scale.centre))
        assert (np.abs(back.values - target.values) <= 1e-6 * np.maximum(reach, scale.deviation)).all()
        assert (back.names, back.id) == (("load", "heat"), "s1")


@every_target
def test_missing_targets_stay_missing(name, side):
    codec = CODECS[name, side]
    source, target = series(1, 9), series(1, 4, missing=True)
    frames = encode(codec, side, target, source)
    assert np.array_equal(np.isnan(frames.values), np.isnan(target.values))
    assert np.array_equal(np.isnan(codec.decode(frames.values, source).values), np.isnan(target.values))


@every_codec
def test_a_saved_codec_is_the_same_codec(name, side, tmp_path):
    codec = CODECS[name, side]
    codec.save(tmp_path / "codec")
    loaded = load_codec(tmp_path / "codec")
    assert (loaded.port, loaded.section) == (codec.port, SECTIONS[name])
    for value in values_of(name):
        frames = encode(codec, side, value)
        assert same(encode(loaded, side, value), frames)
        if side == "target":
            one, other = codec.decode(frames.values, value), loaded.decode(frames.values, value)
            assert np.array_equal(one.values, other.values, equal_nan=True)
    loaded.save(tmp_path / "again")
    for file in (tmp_path / "codec").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@every_codec
def test_learning_twice_gives_the_same_codec(name, side, tmp_path):
    CODECS[name, side].save(tmp_path / "one")
    learn_codec(SECTIONS[name], values_of(name), side).save(tmp_path / "two")
    one, two = ((tmp_path / folder / "codec.json").read_bytes() for folder in ("one", "two"))
    assert one == two


@every_codec
def test_padding_holds_each_value_and_its_length(name, side):
    rows = [encode(CODECS[name, side], side, value) for value in values_of(name)]
    batch = padded(rows)
    assert batch.lengths_B.tolist() == [len(row) for row in rows]
    assert batch.values.shape == (len(rows), max(map(len, rows)), CODECS[name, side].port.size)
    for place, row in enumerate(rows):
        alone = padded([row])
        assert torch.equal(alone.values[0].nan_to_num(7), batch.values[place, : len(row)].nan_to_num(7))
        assert not batch.values[place, len(row) :].any()
        for mine, whole in ((alone.units_BF, batch.units_BF), (alone.ahead_BTC, batch.ahead_BTC)):
            assert mine is None if whole is None else torch.equal(mine[0], whole[place])


PARTS = {
    "lstm": (RecurrentEncoder(kind="lstm", width=8, dropout=0.0), None),
    "transformer": (
        TransformerEncoder(kind="transformer", width=8, layers=1, heads=2, feedforward_width=16),
        Frontend(kernels=(3,), strides=(2,)),
    ),
    "conformer": (
        ConformerEncoder(kind="conformer", width=8, layers=1, heads=2, feedforward_width=16, kernel_width=5),
        Frontend(kernels=(4, 3), strides=(2, 1), activation="relu"),
    ),
}


@every_source
@pytest.mark.parametrize("part", PARTS)
def test_no_model_sees_padding(name, side, part):
    encoder, frontend = PARTS[part]
    codec = CODECS[name, side]
    torch.manual_seed(4)
    section = Model(encoder=encoder, frontend=frontend)
    model = build_model(section, codec.port, Port("tokens", 9)).double().eval()
    rows = [codec.encode(value) for value in values_of(name)]
    with torch.inference_mode():
        together = model.encode(_double(padded(rows)))
        for place, row in enumerate(rows):
            alone = model.encode(_double(padded([row])))
            steps = alone.values_NSD.shape[1]
            assert together.mask_NS[place].tolist()[:steps] == [True] * steps
            assert not together.mask_NS[place, steps:].any()
            assert torch.allclose(together.values_NSD[place, :steps], alone.values_NSD[0], atol=1e-11)
            assert torch.allclose(together.summary_ND[place], alone.summary_ND[0], atol=1e-11)


def _double(batch):
    return Sequence(batch.values.double(), batch.lengths_B)


@pytest.mark.parametrize("name", SPEECH)
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (series(0, 3), "expected the path of a sound file or a Recording, found Series"),
        (None, "expected the path of a sound file or a Recording, found NoneType"),
        ("nowhere.wav", r"nowhere\.wav: there is no such file"),
        (recording(0, 999), "too long: 10.1"),
        (Recording(np.zeros(9, np.float32), RATE_HZ), "too short"),
        (Recording(np.full(RATE_HZ, np.nan, np.float32), RATE_HZ), "not finite|not a number|NaN|nan"),
    ],
)
def test_what_is_no_sound_is_refused(name, value, found):
    codec = CODECS[name, "source"]
    for refuse in (codec.encode, codec.encode_variants):
        with pytest.raises(DataError, match=found):
            refuse(value)


@pytest.mark.parametrize(("name", "side"), [pair for pair in (*SOURCES, *TARGETS) if pair[0] in NUMBERS])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "expected numbers, found NoneType"),
        (recording(0, 3), "expected numbers, found Recording"),
        ("", "expected numbers, found nothing"),
        ("1 two 3", "expected a number, found 'two'"),
        ("[[1, 2], [3]]", "as many numbers at each step"),
        ("1 2 3", r"expected 2 variables \('load', 'heat'\), found 1"),
        (Series(np.zeros((3, 2)), ("load", "cold")), r"variables 'load', 'heat', found 'load', 'cold'"),
        (Series(np.zeros((0, 2))), r"found the shape \(0, 2\)"),
        ("[[1, 2], [1e39, 3]]", "step 2, '0': expected a number up to 1e\\+37, found 1e\\+39"),
    ],
)
def test_what_is_no_series_is_refused(name, side, value, found):
    with pytest.raises(DataError, match=found):
        encode(CODECS[name, side], side, value, series(1, 9))


@every_target
@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 4, 2)])
def test_frames_of_another_shape_are_refused(name, side, shape):
    with pytest.raises(DataError, match=r"expected frames of 2 numbers, found the shape"):
        CODECS[name, side].decode(np.zeros(shape, np.float32), series(1, 9))
