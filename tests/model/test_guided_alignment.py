"""The loss that shows attention where to look: by hand, by its gradient, in every decoder that attends."""

import math
from dataclasses import replace

import pytest
import torch

from dragoman.model.build import build_model
from dragoman.model.guided_alignment import alignment_loss
from dragoman.model.objectives import objective_loss, plain
from dragoman.recipe.loading import recipe_from
from dragoman.records import Batch, Port, Sequence

TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 2, "heads": 2, "dropout": 0.0}
GRU = {"kind": "gru", "width": 8, "dropout": 0.0}
DECODERS = {
    "transformer": TRANSFORMER,
    "dot": {**GRU, "attention": {"kind": "dot"}},
    "additive": {**GRU, "attention": {"kind": "additive"}},
    "location": {**GRU, "attention": {"kind": "location"}},
    "fed": {**GRU, "input_feeding": True},
}
LINKS = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 1, 0], [1, 2, 3]])


def test_each_linked_step_has_the_mean_over_its_links():
    reads_BTS = torch.tensor([[[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]], dtype=torch.float64)
    found = alignment_loss(reads_BTS, torch.tensor([[0, 0, 1], [0, 0, 2], [0, 1, 0]]))
    wanted = -(math.log(0.3) + math.log(0.2)) / 2 - math.log(0.6)
    assert float(found) == pytest.approx(wanted, abs=1e-6)
    assert torch.isfinite(alignment_loss(reads_BTS, torch.tensor([[0, 1, 2]])))
    assert alignment_loss(reads_BTS, torch.zeros((0, 3), dtype=torch.int64)) == 0


def made(decoder, **objective):
    section = recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "made.tsv", "alignment": 2}], "held_out_dev": 0.1},
            "source": {"kind": "words"},
            "target": {"kind": "words"},
            "model": {"encoder": GRU, "decoder": DECODERS[decoder]},
            "training": {
                "max_steps": 1,
                "objective": {"kind": "cross_entropy", "guided_alignment": 0.5, **objective},
            },
        }
    )
    model = build_model(section.model, Port("tokens", 12), Port("tokens", 12), section.training.objective)
    return model.double(), section.training.objective


def batch():
    draw = torch.Generator().manual_seed(0)
    sides = [torch.randint(4, 12, (2, steps), generator=draw) for steps in (5, 4)]
    source, target = Sequence(sides[0], torch.tensor([4, 5])), Sequence(sides[1], torch.tensor([2, 4]))
    return Batch(source, target, ("a", "b"), LINKS)


@pytest.mark.parametrize("decoder", DECODERS)
def test_it_stands_beside_the_loss_of_tokens(decoder):
    model, section = made(decoder)
    given = batch()
    guided, alone = (objective_loss(model, one, section) for one in (given, replace(given, links_L3=None)))
    reads_BTS = model.teach(model.encode(given.source), given.target, reads=True).reads_BTS
    torch.testing.assert_close(guided.total - alone.total, 0.5 * alignment_loss(reads_BTS, LINKS))
    torch.testing.assert_close(guided.nll, alone.nll)
    torch.testing.assert_close(alone.total, model.loss(given, section.label_smoothing).total)
    assert objective_loss(model, given, plain(section)).total == model.loss(given, 0.0).total


def test_ctc_shares_what_is_left():
    model, section = made("transformer", ctc_weight=0.25)
    given = batch()
    memory = model.encode(given.source)
    reads_BTS = model.teach(memory, given.target, reads=True).reads_BTS
    by_decoder = model.loss(given, 0.1).total + 0.5 * alignment_loss(reads_BTS, LINKS)
    wanted = 0.75 * by_decoder + 0.25 * model.ctc_loss_of(memory, given.target).total
    torch.testing.assert_close(objective_loss(model, given, section).total, wanted)


@pytest.mark.parametrize("decoder", DECODERS)
def test_attention_learns_where_to_look(decoder):
    model, section = made(decoder, guided_alignment=5.0)
    given = batch()
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    losses = []
    for _ in range(30):
        reads_BTS = model.teach(model.encode(given.source), given.target, reads=True).reads_BTS
        losses.append(alignment_loss(reads_BTS.detach(), LINKS).item())
        optimizer.zero_grad()
        objective_loss(model, given, section).total.backward()
        optimizer.step()
    # Two links of one step share it: ln 2 is the least there is.
    assert losses[-1] - math.log(2) < 0.3 * (losses[0] - math.log(2))
