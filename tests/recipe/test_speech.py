"""The sections of speech by themselves: what they refuse, and their bands on the mel scale."""

import math

import pytest
from pydantic import ValidationError

from dragoman.recipe.speech import Manifest, Speech


def refused(section, **settings):
    with pytest.raises(ValidationError) as error:
        section(**settings)
    (found,) = error.value.errors()
    return found["msg"].removeprefix("Value error, ").split("\n")


class TestManifest:
    @pytest.mark.parametrize("form", ["nemo", "common_voice", "kaldi"])
    def test_fixed_columns(self, form):
        complaints = refused(Manifest, manifest="a", format=form, audio="x", begin=1, duration="y")
        assert complaints == [
            f"`{key}` has no effect with the format {form}, which fixes its columns"
            for key in ("audio", "begin", "duration")
        ]

    def test_the_target_of_kaldi_is_its_text(self):
        assert refused(Manifest, manifest="a", format="kaldi", target="x") == [
            "`target` has no effect with the format kaldi, which fixes its columns"
        ]
        assert Manifest(manifest="a", format="nemo", target="x").target == "x"


class TestSpeech:
    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"high_hz": 8001.0}, "`high_hz` 8001 is above 8000, the highest of 16000 Hz"),
            ({"low_hz": 8000.0}, "`low_hz` 8000 leaves no band below 8000"),
            ({"low_hz": 300.0, "high_hz": 200.0}, "`low_hz` 300 leaves no band below 200"),
            (
                {"hop_seconds": 0.03},
                "`hop_seconds` 0.03 is above `window_seconds` 0.025: no frame would hear what lies between",
            ),
            (
                {"window_seconds": 1e-4, "hop_seconds": 1e-5},
                "`window_seconds` needs at least 2 samples and `hop_seconds` at least 1",
            ),
            (
                {"mel_bins": 128},
                "`mel_bins` 128 is too fine: 1 of them (the first is number 3 from 0) would hear no "
                "frequency of a window of 0.025 seconds; fewer bands or a longer window would do",
            ),
            ({"max_seconds": 0.05}, "`min_seconds` 0.1 is above `max_seconds` 0.05"),
            ({"speeds": (0.9, 1.1)}, "`speeds` lacks 1.0, the speed of everything that is not training"),
            ({"speeds": (1.0, 1.0)}, "`speeds` has the same speed twice"),
            ({"speeds": (1.0, 2.1)}, "`speeds` run from 0.5 to 2"),
            (
                {"min_seconds": 0.03, "speeds": (1.0, 1.5)},
                "`min_seconds` 0.03, at the highest of `speeds`, is shorter than a window of 0.025 seconds",
            ),
            ({"frequency_mask_bins": 10}, "`frequency_mask_bins` has no effect without `frequency_masks`"),
            ({"time_mask_seconds": 0.5}, "`time_mask_seconds` has no effect without `time_masks`"),
            ({"time_mask_share": 0.5}, "`time_mask_share` has no effect without `time_masks`"),
            (
                {"frequency_masks": 1, "mel_bins": 20},
                "`frequency_mask_bins` 27 is above `mel_bins` 20",
            ),
        ],
    )
    def test_contradictions(self, settings, complaint):
        assert refused(Speech, kind="speech", **settings) == [complaint]

    def test_several_at_once(self):
        complaints = refused(Speech, kind="speech", hop_seconds=0.03, high_hz=9000.0)
        assert len(complaints) == 2

    def test_samples_are_whole_numbers(self):
        section = Speech(kind="speech", sample_rate_hz=44100)
        assert (section.window_samples, section.hop_samples, section.transform_samples) == (1102, 441, 2048)
        even = Speech(kind="speech", window_seconds=0.032, hop_seconds=0.035 - 0.01)
        assert (even.window_samples, even.hop_samples, even.transform_samples) == (512, 400, 512)

    def test_bands_are_even_in_mel(self):
        section = Speech(kind="speech", mel_bins=9, low_hz=100.0, high_hz=7000.0)
        edges_hz = [700 * math.expm1(edge / 1127) for edge in section.band_edges_mel]
        assert edges_hz[0] == pytest.approx(100)
        assert edges_hz[-1] == pytest.approx(7000)
        ratios = [(700 + high) / (700 + low) for low, high in zip(edges_hz, edges_hz[1:], strict=False)]
        assert ratios == pytest.approx([ratios[0]] * 10)
