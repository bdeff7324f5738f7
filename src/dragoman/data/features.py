"""Log-mel features as Kaldi computes them: what a recogniser sees of sound.

Shapes: B batch, M samples, S frames, N samples of a window, R frequencies, F bands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dragoman.recipe.speech import Speech, mel

_POVEY_POWER = 0.85
"""Kaldi's own window: Hann's to this power, which comes close to Hamming's but ends at zero."""
_FLOOR = torch.finfo(torch.float32).eps
"""Energies below this count as this, in Kaldi as here, also in double precision."""
_FRAMES_AT_ONCE = 512
"""Keeps the work within the processor's cache, and memory apart from the length of a clip."""


class LogMel:
    """Energies in bands of the mel scale, as logarithms: `compute-fbank-feats` without dither.

    Every frame is a whole window (`snip_edges`): its mean is taken off, high frequencies are lifted, Povey's
    window is laid over it, and the power of its Fourier transform is summed in triangles.
    """

    def __init__(self, section: Speech, dtype: torch.dtype = torch.float32) -> None:
        """Lay out the window and the bands; computes in `dtype`."""
        self._section = section
        self._dtype = dtype
        self._window_N = _povey_window(section.window_samples).to(dtype)
        self._bands_RF = _bands(section).to(dtype)

    def count(self, samples: int) -> int:
        """Return how many frames samples make; none where they do not fill a window."""
        return max(0, 1 + (samples - self._section.window_samples) // self._section.hop_samples)

    def seconds_at(self, frame: int) -> float:
        """Return the time in the middle of a frame."""
        middle = frame * self._section.hop_samples + self._section.window_samples / 2
        return middle / self._section.sample_rate_hz

    def frames(self, samples_BM: Tensor) -> Tensor:
        """Return frames_BSF of samples within -1 and 1."""
        samples_BM = samples_BM.to(self._dtype)
        if not self.count(samples_BM.shape[1]):
            return samples_BM.new_empty(samples_BM.shape[0], 0, self._section.mel_bins)
        windows_BSN = samples_BM.unfold(1, self._section.window_samples, self._section.hop_samples)
        parts = [self._log_mel(part_BSN) for part_BSN in torch.split(windows_BSN, _FRAMES_AT_ONCE, dim=1)]
        return torch.cat(parts, dim=1)

    def _log_mel(self, windows_BSN: Tensor) -> Tensor:
        level_BSN = windows_BSN - windows_BSN.mean(dim=2, keepdim=True)
        before_BSN = torch.cat([level_BSN[..., :1], level_BSN[..., :-1]], dim=2)
        lifted_BSN = level_BSN.sub_(before_BSN, alpha=self._section.preemphasis).mul_(self._window_N)
        spectrum_BSR = torch.view_as_real(torch.fft.rfft(lifted_BSN, n=self._section.transform_samples))
        power_BSR = spectrum_BSR.square_().sum(dim=3)
        # Kaldi's bands never hear the highest frequency, half the sample rate.
        energies_BSF = power_BSR[..., :-1] @ self._bands_RF
        return energies_BSF.clamp_min_(_FLOOR).log_()


def _povey_window(samples: int) -> Tensor:
    """Return the window_N in double precision."""
    turn_N = 2 * math.pi * torch.arange(samples, dtype=torch.float64) / (samples - 1)
    return (0.5 - 0.5 * torch.cos(turn_N)).pow(_POVEY_POWER)


def _bands(section: Speech) -> Tensor:
    """Return the bands_RF in double precision: how much of each frequency a band hears."""
    step_hz = section.sample_rate_hz / section.transform_samples
    heard_R1 = torch.tensor(
        [[mel(step_hz * number)] for number in range(section.transform_samples // 2)], dtype=torch.float64
    )
    edges = torch.tensor(section.band_edges_mel, dtype=torch.float64)
    left_F, centre_F, right_F = edges[:-2], edges[1:-1], edges[2:]
    rising_RF = (heard_R1 - left_F) / (centre_F - left_F)
    falling_RF = (right_F - heard_R1) / (right_F - centre_F)
    return torch.minimum(rising_RF, falling_RF).clamp_min(0)
