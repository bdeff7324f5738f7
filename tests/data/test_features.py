import numpy as np
import pytest
import torch

from dragoman.data.features import LogMel
from dragoman.recipe.speech import Speech

SETTINGS = [
    {},
    {"sample_rate_hz": 8000, "mel_bins": 40},
    {"sample_rate_hz": 44100},
    {"sample_rate_hz": 22050, "mel_bins": 128, "window_seconds": 0.05, "hop_seconds": 0.0125},
    {"sample_rate_hz": 11025, "mel_bins": 23, "low_hz": 64.0, "high_hz": 5000.0},
    {"mel_bins": 64, "low_hz": 0.0, "preemphasis": 0.0, "window_seconds": 0.032, "hop_seconds": 0.008},
    {"sample_rate_hz": 48000, "window_seconds": 0.02, "hop_seconds": 0.02, "preemphasis": 0.9},
]


def speech(**settings):
    return Speech(kind="speech", **settings)


def noise(section, seconds=1.0, seed=0):
    draw = np.random.default_rng(seed)
    return (0.1 * draw.standard_normal(round(seconds * section.sample_rate_hz))).astype(np.float32)


def voice(section, seconds=1.0):
    """Harmonics of a falling tone that come and go, an offset and a little noise: what speech is like."""
    times_M = np.arange(round(seconds * section.sample_rate_hz)) / section.sample_rate_hz
    phase_M = 2 * np.pi * (180 * times_M - 20 * times_M**2)
    sound_M = sum(np.sin(number * phase_M) / number for number in range(1, 15)) * np.sin(9 * times_M) ** 2
    return (0.1 * sound_M + 0.02 + 0.02 * noise(section, seconds)).astype(np.float32)


def frames_of(section, samples_M, dtype=torch.float32):
    return LogMel(section, dtype).frames(torch.from_numpy(samples_M)[None])[0]


def kaldi(section, samples_M):
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = section.sample_rate_hz
    options.frame_opts.frame_length_ms = section.window_seconds * 1000
    options.frame_opts.frame_shift_ms = section.hop_seconds * 1000
    options.frame_opts.preemph_coeff = section.preemphasis
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = section.mel_bins
    options.mel_opts.low_freq = section.low_hz
    options.mel_opts.high_freq = section.high_hz or 0
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(section.sample_rate_hz, samples_M.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(number) for number in range(bank.num_frames_ready)])


class TestKaldi:
    # Kaldi computes in single precision: where a band is much weaker than others, that is how far it is off.
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("settings", SETTINGS, ids=str)
    @pytest.mark.parametrize(("signal", "error"), [(noise, 5e-4), (voice, 2e-3)])
    def test_the_same_frames(self, settings, dtype, signal, error):
        section = speech(**settings)
        samples_M = signal(section)
        found_SF = frames_of(section, samples_M, dtype)
        expected_SF = kaldi(section, samples_M)
        assert found_SF.dtype == dtype
        assert found_SF.shape == expected_SF.shape
        difference_SF = np.abs(found_SF.numpy() - expected_SF)
        assert difference_SF.max() < error
        assert difference_SF.mean() < error / 50

    def test_silence_is_the_floor(self):
        section = speech()
        silence_M = np.zeros(1600, np.float32)
        assert np.allclose(frames_of(section, silence_M), kaldi(section, silence_M), atol=1e-6)
        assert np.allclose(frames_of(section, silence_M), np.log(1.1920929e-07))

    @pytest.mark.parametrize("samples", [400, 401, 559, 560, 561, 1359, 1360])
    def test_only_whole_windows_count(self, samples):
        section = speech()
        frames_SF = frames_of(section, noise(section)[:samples])
        assert (
            len(frames_SF) == LogMel(section).count(samples) == len(kaldi(section, noise(section)[:samples]))
        )

    def test_less_than_a_window_has_no_frames(self):
        section = speech()
        assert frames_of(section, noise(section)[:399]).shape == (0, 80)
        assert LogMel(section).count(399) == LogMel(section).count(0) == 0


class TestProperties:
    section = speech(sample_rate_hz=8000, mel_bins=20)

    def frames(self, samples_M):
        return frames_of(self.section, samples_M, torch.float64)

    def test_a_batch_is_its_clips(self):
        clips_BM = np.stack([noise(self.section, seed=seed) for seed in range(3)])
        together_BSF = LogMel(self.section, torch.float64).frames(torch.from_numpy(clips_BM))
        for clip_M, frames_SF in zip(clips_BM, together_BSF, strict=True):
            torch.testing.assert_close(self.frames(clip_M), frames_SF, rtol=0, atol=1e-12)

    def test_padding_behind_changes_no_earlier_frame(self):
        samples_M = noise(self.section)
        longer_M = np.concatenate([samples_M, np.ones(777, np.float32)])
        frames_SF = self.frames(samples_M)
        torch.testing.assert_close(self.frames(longer_M)[: len(frames_SF)], frames_SF, rtol=0, atol=1e-12)

    def test_a_hop_later_is_a_frame_later_over_all_blocks(self):
        samples_M = noise(self.section, seconds=12)  # more frames than are computed at once
        frames_SF = self.frames(samples_M)
        assert len(frames_SF) == 1198
        later_SF = self.frames(samples_M[self.section.hop_samples :])
        torch.testing.assert_close(later_SF, frames_SF[1:], rtol=0, atol=1e-12)

    def test_an_offset_is_not_heard_and_loudness_is_a_sum(self):
        samples_M = noise(self.section).astype(np.float64)
        torch.testing.assert_close(self.frames(samples_M + 0.3), self.frames(samples_M), rtol=0, atol=1e-9)
        louder_SF = self.frames(samples_M * 10)
        torch.testing.assert_close(louder_SF, self.frames(samples_M) + np.log(100), rtol=0, atol=1e-9)

    def test_a_tone_is_loudest_in_its_band(self):
        edges = self.section.band_edges_mel
        for band in (3, 10, 18):
            centre_hz = 700 * np.expm1(edges[band + 1] / 1127)
            times_M = np.arange(8000) / 8000
            tone_M = np.sin(2 * np.pi * centre_hz * times_M)
            assert (self.frames(tone_M).argmax(dim=1) == band).all()

    def test_samples_are_left_as_they_are(self):
        samples_M = noise(self.section)
        self.frames(samples_M.astype(np.float64))
        kept_M = samples_M.copy()
        frames_of(self.section, samples_M)
        assert np.array_equal(samples_M, kept_M)

    def test_the_time_of_a_frame_is_its_middle(self):
        log_mel = LogMel(self.section)
        click_M = np.zeros(8000, np.float32)
        click_M[4000] = 1
        loudest = int(self.frames(click_M).sum(dim=1).argmax())
        assert abs(log_mel.seconds_at(loudest) - 0.5) <= self.section.hop_seconds / 2
        assert log_mel.seconds_at(0) == 0.0125
