"""Pairs of encoder and decoder learn to forecast a small task in a few steps, with no linear map beside them.

A wave of a known period, of any phase and size, is forecast from its last two periods. A Transformer decoder
whose steps begin with nothing first stays at the mean: what it reads is about the mean of the memory, which
says nothing of the phase.
"""

import math

import pytest
import torch

from dragoman.model.build import build_model
from dragoman.model.objectives import objective_loss
from dragoman.model.roll_out import roll_out
from dragoman.recipe import model as recipe
from dragoman.recipe.objectives import Squared
from dragoman.recipe.rollout import Rollout
from dragoman.records import Batch, Port, Sequence

PERIOD = 12
SQUARED = Squared(kind="squared")
SIZES = {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "feedforward_width": 32, "dropout": 0.0}
ENCODERS = {
    "lstm": recipe.RecurrentEncoder(kind="lstm", width=16, dropout=0.0),
    "transformer": recipe.TransformerEncoder.model_validate(SIZES),
}
DECODERS = {
    "lstm": recipe.RecurrentDecoder(kind="lstm", width=16, dropout=0.0),
    "transformer": recipe.TransformerDecoder.model_validate(SIZES),
}


def waves(rows, numbers):
    phases = 2 * math.pi * torch.rand(rows, 1, generator=numbers)
    sizes = 0.5 + torch.rand(rows, 1, generator=numbers)
    waves_BT1 = (sizes * torch.sin(2 * math.pi * torch.arange(3 * PERIOD) / PERIOD + phases))[:, :, None]
    known, lengths_B = 2 * PERIOD, torch.full((rows,), PERIOD)
    source = Sequence(waves_BT1[:, :known], 2 * lengths_B)
    return Batch(source, Sequence(waves_BT1[:, known:], lengths_B), ("wave",) * rows)


def unexplained(model):
    """Return the squared error of forecasts of new waves, as a share of that of forecasting the mean."""
    given = waves(200, torch.Generator().manual_seed(3))

    def tell(said_BPFQ, first):
        return model.number_head.point(said_BPFQ)

    with torch.no_grad():
        found = roll_out(model.eval(), given.source, model.encode(given.source), PERIOD, tell).values_BTF
    return float((found - given.target.values).square().sum() / given.target.values.square().sum())


def trained(encoder, decoder, rollout, steps):
    torch.manual_seed(1)
    section = recipe.Model(encoder=ENCODERS[encoder], decoder=DECODERS[decoder], rollout=rollout)
    model = build_model(section, Port("frames", 1), Port("frames", 1), SQUARED)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    numbers = torch.Generator().manual_seed(2)
    for _ in range(steps):
        optimizer.zero_grad()
        objective_loss(model, waves(32, numbers), SQUARED).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


@pytest.mark.parametrize("kind", ["whole", "steps"])
@pytest.mark.parametrize(
    ("encoder", "decoder"), [("transformer", "transformer"), ("lstm", "transformer"), ("transformer", "lstm")]
)
def test_a_pair_that_begins_with_the_context_learns_waves_in_a_few_steps(encoder, decoder, kind):
    rollout = Rollout(kind=kind, patch=PERIOD // 2, begin="context")
    assert unexplained(trained(encoder, decoder, rollout, steps=120)) < 0.1


@pytest.mark.parametrize(("encoder", "decoder"), [("transformer", "transformer"), ("lstm", "transformer")])
def test_it_learns_sooner_than_one_that_begins_with_nothing(encoder, decoder):
    context, nothing = (
        unexplained(
            trained(encoder, decoder, Rollout(kind="whole", patch=PERIOD // 2, begin=begin), steps=60)
        )
        for begin in ("context", "nothing")
    )
    assert context < nothing / 2
