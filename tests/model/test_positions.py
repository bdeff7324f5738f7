"""Positions: the same whether steps come at once or one by one, and as their papers define them."""

import math

import pytest
import torch

from dragoman.errors import DataError
from dragoman.model.positions import LearntPositions, SinusoidalPositions, rotation


def _wave(place: int, wave: int, waves: int) -> float:
    return place / 10_000 ** (wave / (waves - 1))


def test_sinusoids_are_sines_then_cosines_from_one():
    table = SinusoidalPositions()(torch.zeros(1, 7, 6, dtype=torch.float64), first=0)[0]
    for step in range(7):
        angles = [_wave(step + 1, wave, 3) for wave in range(3)]
        expected = [*map(math.sin, angles), *map(math.cos, angles)]
        torch.testing.assert_close(table[step], torch.tensor(expected, dtype=torch.float64))


def test_late_sinusoids_keep_their_digits_in_float32():
    late = SinusoidalPositions()(torch.zeros(1, 1, 4), first=999_999)[0, 0, 0]
    assert late.item() == pytest.approx(math.sin(1_000_000), abs=1e-6)


@pytest.mark.parametrize("positions", [SinusoidalPositions(), LearntPositions(6, 12, "model.encoder")])
def test_positions_of_a_part_are_part_of_the_positions(positions):
    whole = positions(torch.zeros(2, 9, 6), first=0)
    assert torch.equal(positions(torch.zeros(2, 4, 6), first=5), whole[:, 5:])
    assert whole[0, 0].ne(whole[0, 1]).any()


def test_learnt_positions_end_with_a_message():
    positions = LearntPositions(4, 8, "model.decoder")
    positions(torch.zeros(1, 3, 4), first=5)
    with pytest.raises(DataError, match=r"9 steps .* 8 positions .* `model.decoder.max_positions`"):
        positions(torch.zeros(1, 4, 4), first=5)


def test_rotation_sees_distances_only():
    query, key = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)

    def score(query_step: int, key_step: int) -> torch.Tensor:
        return rotation(query_step, 1, 8, query).turn(query) @ rotation(key_step, 1, 8, key).turn(key).T

    torch.testing.assert_close(score(3, 1), score(1003, 1001), rtol=0, atol=1e-10)
    assert (score(3, 1) - score(3, 2)).abs() > 1e-3


def test_rotation_turns_halves_against_each_other():
    x = torch.arange(4, dtype=torch.float64)
    turned = rotation(5, 1, 4, x).turn(x)[0]
    for wave, angle in enumerate((5.0, 5.0 / 100)):
        pair = complex(x[wave], x[wave + 2]) * complex(math.cos(angle), math.sin(angle))
        assert complex(turned[wave], turned[wave + 2]) == pytest.approx(pair)
