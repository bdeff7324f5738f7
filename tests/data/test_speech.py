import json

import numpy as np
import pytest
import torch

from dragoman.data.features import LogMel
from dragoman.data.speech import SAMPLE, SpeechCodec, SpeechLearner
from dragoman.errors import DataError
from dragoman.recipe.speech import Speech
from dragoman.records import Port, Recording, Series

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

RATE = 8000


def speech(**settings):
    return Speech(kind="speech", **{"sample_rate_hz": RATE, "mel_bins": 20, "max_seconds": 5.0, **settings})


def codec_of(section, values=()):
    learner = SpeechLearner(section)
    for value in values:
        learner.hear(value)
    return learner.learnt()


def recording(seed=0, seconds=1.0, loudness=0.1):
    draw = np.random.default_rng(seed)
    return Recording((loudness * draw.standard_normal(round(seconds * RATE))).astype(np.float32), RATE)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, recording().samples, RATE, subtype="FLOAT")
    return str(path)


class TestEncoding:
    def test_a_clip_and_its_recording_are_the_same_frames(self, clip):
        codec = codec_of(speech())
        frames_SF = codec.encode(clip).values
        assert codec.port == Port("frames", 20)
        assert frames_SF.shape == (98, 20)
        assert frames_SF.dtype == np.float32
        assert np.array_equal(frames_SF, codec.encode(recording()).values)
        assert np.array_equal(frames_SF, codec.encode(clip, seed=7, source="x").values)
        assert codec.normalise(clip) == clip

    def test_without_normalisation_they_are_the_log_mel_frames(self):
        section = speech(normalise="none")
        expected_SF = LogMel(section).frames(torch.from_numpy(recording().samples)[None])[0].numpy()
        assert np.array_equal(codec_of(section).encode(recording()).values, expected_SF)

    def test_normalised_over_the_utterance(self):
        codec = codec_of(speech())
        for loudness in (0.001, 0.3):
            frames_SF = codec.encode(recording(loudness=loudness)).values
            assert np.abs(frames_SF.mean(axis=0)).max() < 1e-5
            assert np.abs(frames_SF.std(axis=0) - 1).max() < 1e-5

    @pytest.mark.parametrize("normalise", ["utterance", "global"])
    def test_bands_that_stay_the_same_become_zero(self, normalise):
        silence = Recording(np.zeros(RATE, np.float32), RATE)
        frames_SF = codec_of(speech(normalise=normalise), [silence]).encode(silence).values
        assert np.abs(frames_SF).max() < 1e-2

    def test_at_several_speeds(self):
        section = speech(speeds=(0.9, 1.0, 1.1))
        codec = codec_of(section)
        same_SF, slow_SF, fast_SF = [frames.values for frames in codec.encode_variants(recording())]
        assert codec.variants == 3
        assert np.array_equal(same_SF, codec.encode(recording()).values)
        assert [len(slow_SF), len(same_SF), len(fast_SF)] == [109, 98, 89]

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("nowhere.wav", r"nowhere\.wav: there is no such file"),
            (recording(seconds=6), "too long: 6.0 seconds, `max_seconds` is 5"),
            (recording(seconds=0.05), "too short"),
            (Series(np.zeros((3, 1))), "expected the path of a sound file or a Recording, found Series"),
        ],
    )
    def test_what_cannot_be_encoded(self, value, message):
        for encode in (codec_of(speech()).encode, codec_of(speech()).encode_variants):
            with pytest.raises(DataError, match=message):
                encode(value)

    @pytest.mark.parametrize("rate_hz", [7350, 8000, 44100])
    @pytest.mark.parametrize("window_seconds", [0.025, 0.0371])
    def test_the_shortest_clip_has_a_frame_at_every_speed(self, rate_hz, window_seconds):
        speeds = (1.0, 1.1, 1.37, 2.0)
        section = speech(window_seconds=window_seconds, min_seconds=2 * window_seconds, speeds=speeds)
        shortest = Recording(np.zeros(int(np.ceil(2 * window_seconds * rate_hz)), np.float32), rate_hz)
        assert min(map(len, codec_of(section).encode_variants(shortest))) >= 1


class TestLearning:
    def test_global_figures_are_those_of_all_frames(self):
        section = speech(normalise="global")
        plain = codec_of(speech(normalise="none"))
        values = [recording(seed, seconds, 0.1 + seed) for seed, seconds in enumerate([0.5, 1.0, 2.0])]
        frames_SF = np.concatenate([plain.encode(value).values for value in values]).astype(np.float64)
        codec = codec_of(section, values)
        expected_SF = (plain.encode(values[0]).values - frames_SF.mean(axis=0)) / frames_SF.std(axis=0)
        assert np.abs(codec.encode(values[0]).values - expected_SF).max() < 1e-5

    def test_what_cannot_be_read_is_left_out(self):
        section = speech(normalise="global")
        values = ["nowhere.wav", recording(), recording(1, seconds=0.01)]
        found_SF = codec_of(section, values).encode(recording(2)).values
        assert np.array_equal(found_SF, codec_of(section, [recording()]).encode(recording(2)).values)

    def test_nothing_to_learn_from(self):
        section = speech(normalise="global")
        with pytest.raises(DataError, match=r"no clip to learn from: .*nowhere\.wav: there is no such file"):
            codec_of(section, ["nowhere.wav"])
        with pytest.raises(DataError, match="no clip to learn from: there is none"):
            codec_of(section)

    def test_only_what_is_wanted_is_read(self):
        assert codec_of(speech(), ["nowhere.wav"]).port.size == 20

    def test_many_clips_are_sampled_evenly(self, monkeypatch):
        monkeypatch.setattr("dragoman.data.speech.SAMPLE", 40)
        section = speech(normalise="global", min_seconds=0.03)
        values = [recording(seed, 0.03, 0.01 if seed < 200 else 1.0) for seed in range(400)]
        everything = codec_of(speech(normalise="none", min_seconds=0.03))
        mean = np.mean([everything.encode(value).values.mean() for value in values])
        reads = []
        monkeypatch.setattr(
            "dragoman.data.speech.read_audio", lambda value, *_: reads.append(value) or value.samples
        )
        codec = codec_of(section, values)
        assert len(reads) == 40
        assert SAMPLE > 40
        # Half of all are 9.2 louder than the others: forty of the first, or of the last, would be 4.6 off.
        offset = codec.encode(values[0]).values * 4.6 - (everything.encode(values[0]).values - mean)
        assert abs(offset.mean()) < 2


class TestSaving:
    @pytest.mark.parametrize("normalise", ["none", "utterance", "global"])
    def test_saved_and_loaded(self, tmp_path, normalise):
        codec = codec_of(speech(normalise=normalise, speeds=(1.0, 1.1)), [recording()])
        codec.save(tmp_path / "codec")
        content = json.loads((tmp_path / "codec" / "codec.json").read_text("utf-8"))
        assert content["format"] == 1
        section = Speech.model_validate_json(json.dumps(content["codec"]))
        assert section == codec.section
        loaded = SpeechCodec.load(section, content)
        assert np.array_equal(loaded.encode(recording(1)).values, codec.encode(recording(1)).values)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"mean": [0.0]}, "'mean' needs 20 numbers"),
            ({"mean": None}, "'mean' needs 20 numbers"),
            ({"mean": ["x"] * 20}, "'mean' needs 20 numbers"),
            ({"deviation": [float("nan")] * 20}, "'deviation' needs 20 numbers"),
            ({"deviation": [0.0] * 20}, "'deviation' needs numbers above 0"),
        ],
    )
    def test_incomplete(self, change, message):
        with pytest.raises(DataError, match=message):
            SpeechCodec.load(speech(), {"mean": [0.0] * 20, "deviation": [1.0] * 20, **change})


MASKED = {"frequency_masks": 2, "frequency_mask_bins": 5, "time_masks": 2, "time_mask_seconds": 0.2}


def masks(before_SF, after_SF):
    """Which bands and which steps were replaced as a whole."""
    changed_SF = before_SF != after_SF
    return changed_SF.all(axis=0), changed_SF.all(axis=1)


class TestMasks:
    frames_SF = np.random.default_rng(0).standard_normal((98, 20)).astype(np.float32) + 3

    def test_off(self):
        assert codec_of(speech()).augment(self.frames_SF, seed=1) is self.frames_SF

    def test_a_function_of_frames_and_seed(self):
        codec = codec_of(speech(**MASKED))
        before_SF = self.frames_SF.copy()
        first_SF = codec.augment(self.frames_SF, seed=5)
        codec.augment(self.frames_SF, seed=6)
        assert np.array_equal(first_SF, codec.augment(self.frames_SF, seed=5))
        assert not np.array_equal(first_SF, codec.augment(self.frames_SF, seed=6))
        assert np.array_equal(self.frames_SF, before_SF)
        assert first_SF.dtype == np.float32

    def test_masked_is_the_mean_and_the_rest_is_kept(self):
        codec = codec_of(speech(**MASKED))
        mean_F = self.frames_SF.mean(axis=0)
        for seed in range(50):
            masked_SF = codec.augment(self.frames_SF, seed)
            bands_F, steps_S = masks(self.frames_SF, masked_SF)
            expected_SF = np.where(steps_S[:, None] | bands_F, mean_F, self.frames_SF)
            assert np.array_equal(masked_SF, expected_SF)

    @pytest.mark.parametrize(
        ("settings", "axis", "widest"),
        [
            ({"frequency_masks": 1, "frequency_mask_bins": 5}, 0, 5),
            ({"time_masks": 1, "time_mask_seconds": 0.1, "time_mask_share": 1.0}, 1, 10),
            ({"time_masks": 1, "time_mask_share": 0.1}, 1, 9),
        ],
    )
    def test_every_width_and_every_place(self, settings, axis, widest):
        codec = codec_of(speech(**settings))
        widths, touched = [], np.zeros(self.frames_SF.shape[1 - axis], bool)
        for seed in range(600):
            masked = masks(self.frames_SF, codec.augment(self.frames_SF, seed))[axis]
            places = np.flatnonzero(masked)
            assert len(places) == 0 or places[-1] - places[0] + 1 == len(places)
            widths.append(len(places))
            touched |= masked
        assert set(widths) == set(range(widest + 1))
        assert touched.all()

    def test_as_many_masks_as_wanted(self):
        codec = codec_of(speech(time_masks=5, time_mask_seconds=0.02, time_mask_share=1.0))
        runs = []
        for seed in range(100):
            steps_S = masks(self.frames_SF, codec.augment(self.frames_SF, seed))[1]
            runs.append(int((np.diff(steps_S.astype(int), prepend=0) == 1).sum()))
        assert max(runs) == 5

    def test_very_short_clips(self):
        codec = codec_of(speech(**MASKED))
        for seed in range(20):
            assert codec.augment(self.frames_SF[:1], seed).shape == (1, 20)
