"""Frames become fewer steps, and lengths are right to the frame."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F  # noqa: N812

from dragoman.model.frame_frontend import FrameFrontend
from dragoman.model.kernels import compute
from dragoman.recipe.model import Frontend

FEATURES, WIDTH = 3, 6
SECTIONS = {
    "none": None,
    "as is": Frontend(),
    "one to one": Frontend(kernels=(3,), strides=(1,), activation="relu"),
    "every second": Frontend(kernels=(3, 4, 2), strides=(2, 1, 2), width=5, activation="gelu"),
    "thirds": Frontend(kernels=(7, 3), strides=(3, 3), activation="none"),
    "patches that touch": Frontend(kernels=(4,), strides=(4,), activation="none"),
    "patches that overlap": Frontend(kernels=(16,), strides=(8,), activation="none"),
}
each_section = pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)


def _frontend(section):
    frontend = FrameFrontend(section, FEATURES, WIDTH).double()
    with torch.no_grad():
        for parameter in frontend.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return frontend


def _steps(section, length):
    return length if section is None else section.steps(length)


@each_section
@torch.no_grad()
def test_a_sequence_alone_is_as_in_any_batch_to_the_frame(section):
    frontend, lengths = _frontend(section), torch.arange(1, 42)
    frames = torch.randn(len(lengths), 45, FEATURES, dtype=torch.float64)
    outputs, mask = frontend(frames, torch.arange(45) < lengths[:, None])
    assert frontend.width == outputs.shape[2] == WIDTH
    assert outputs.shape[:2] == mask.shape == (len(lengths), _steps(section, 45))
    for row, length in enumerate(lengths.tolist()):
        steps = _steps(section, length)
        assert mask[row].tolist() == [True] * steps + [False] * (mask.shape[1] - steps)
        own = frames[row : row + 1, :length]
        alone, own_mask = frontend(own, torch.ones(1, length, dtype=torch.bool))
        assert own_mask.shape == (1, steps) and own_mask.all()
        torch.testing.assert_close(outputs[row, :steps], alone[0], rtol=0, atol=1e-12)
        assert not outputs[row, steps:].any()


@each_section
def test_every_frame_is_heard(section):
    for length in (1, 2, 9, 16, 23):
        frames = torch.randn(1, length, FEATURES, dtype=torch.float64, requires_grad=True)
        outputs, _ = _frontend(section)(frames, torch.ones(1, length, dtype=torch.bool))
        (reach,) = torch.autograd.grad((outputs * torch.randn_like(outputs)).sum(), frames)
        assert reach.abs().sum(2).all() or section is not None and section.activation == "relu"


def test_it_is_a_convolution():
    section = Frontend(kernels=(5,), strides=(2,), activation="none")
    frontend, frames = _frontend(section), torch.randn(2, 9, FEATURES, dtype=torch.float64)
    outputs, _ = frontend(frames, torch.ones(2, 9, dtype=torch.bool))
    windows, projection = frontend.convolutions[0].windows, frontend.projection
    kernel = windows.weight.view(WIDTH, FEATURES, 5)
    channels = F.conv1d(F.pad(frames.transpose(1, 2), (1, 3)), kernel, windows.bias, stride=2)
    expected = F.linear(channels.transpose(1, 2), projection.weight, projection.bias)
    torch.testing.assert_close(outputs, expected)


def test_patches_are_cut_side_by_side():
    frontend = _frontend(Frontend(kernels=(4,), strides=(4,), activation="none"))
    frames = torch.randn(1, 8, FEATURES, dtype=torch.float64, requires_grad=True)
    outputs, _ = frontend(frames, torch.ones(1, 8, dtype=torch.bool))
    (reach,) = torch.autograd.grad(outputs[0, 1].sum(), frames)
    assert reach.abs().sum(2)[0].nonzero().flatten().tolist() == [4, 5, 6, 7]


@each_section
def test_gradients_reach_every_parameter(section):
    frontend = _frontend(section)
    outputs, _ = frontend(
        torch.randn(2, 11, FEATURES, dtype=torch.float64), torch.ones(2, 11, dtype=torch.bool)
    )
    outputs.square().sum().backward()
    assert all(parameter.grad.abs().max() > 1e-9 for parameter in frontend.parameters())


def test_what_it_writes_has_the_type_of_the_frames_in_bf16_too():
    frontend, frames = FrameFrontend(Frontend(), FEATURES, WIDTH), torch.randn(2, 9, FEATURES)
    mask = torch.ones(2, 9, dtype=torch.bool)
    exact, _ = frontend(frames, mask)
    with compute("bf16", frames.device):
        low, _ = frontend(frames, mask)
    assert low.dtype is torch.float32
    torch.testing.assert_close(low, exact, rtol=0, atol=0.05)


def test_steps_are_counted_over_all_convolutions():
    section = Frontend(kernels=(5, 3, 3), strides=(3, 2, 1))
    assert [section.steps(length) for length in (0, 1, 6, 7)] == [0, 1, 1, 2]
    assert section.shortening == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernels": (5,)}, "`kernels` and `strides` go in pairs, found 1 and 2"),
        ({"kernels": (5, 1)}, "a kernel of 1 with a stride of 2 skips steps"),
        ({"kernels": (), "strides": ()}, "at least 1 item"),
        ({"strides": (2, 0)}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Frontend(**wrong)
