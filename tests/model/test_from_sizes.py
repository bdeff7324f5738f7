"""The two-LSTM model from Python: tensors in, tensors out, a loop by hand."""

import pytest
import torch
from torch import nn

from dragoman.errors import UserError
from dragoman.model.build import build_model
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe import model as recipe
from dragoman.recipe.objectives import Squared
from dragoman.recipe.rollout import Rollout
from dragoman.records import Port


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_two_lstms_in_a_row_and_a_linear_map(layers):
    torch.manual_seed(1)
    model = Seq2Seq.from_sizes(3, 8, 2, layers).double().eval()
    encoder = nn.LSTM(3, 8, layers, batch_first=True).double()
    decoder = nn.LSTM(8, 8, layers, batch_first=True).double()
    pairs = [(encoder, model.encoder.forwards), (decoder, model.decoder.layers)]
    for whole, parts in pairs:
        names = {
            name.replace("_l0", f"_l{layer}"): weight
            for layer, part in enumerate(parts)
            for name, weight in part.recurrence.state_dict().items()
        }
        whole.load_state_dict(names)
    values_BSF = torch.randn(4, 7, 3, dtype=torch.float64)
    expected = model.head.linear(decoder(encoder(values_BSF)[0])[0])
    torch.testing.assert_close(model(values_BSF), expected)
    sizes = [sum(weight.numel() for weight in part.parameters()) for part in (encoder, decoder)]
    assert sum(weight.numel() for weight in model.parameters()) == sum(sizes) + 2 * 8 + 2


def test_a_recipe_builds_the_same_model():
    section = recipe.Model(
        encoder=recipe.RecurrentEncoder(kind="lstm", width=8, bidirectional=False),
        decoder=recipe.RecurrentDecoder(
            kind="lstm", width=8, attention=recipe.AlignedAttention(kind="aligned")
        ),
        rollout=Rollout(kind="whole"),
    )
    built = build_model(section, Port("frames", 3), Port("frames", 2), Squared(kind="squared")).eval()
    mine = Seq2Seq.from_sizes(3, 8, 2).eval()
    built.load_state_dict(mine.state_dict())
    values_BSF = torch.randn(2, 5, 3)
    assert torch.equal(built(values_BSF), mine(values_BSF))


def test_it_learns_in_a_loop_by_hand():
    torch.manual_seed(1)
    model = Seq2Seq.from_sizes(input_size=1, hidden_size=12, output_size=1)
    optimizer, mse = torch.optim.Adam(model.parameters(), lr=0.02), nn.MSELoss()
    values_BSF = torch.randn(64, 10, 1)
    means_BSF = values_BSF.cumsum(1) / torch.arange(1, 11)[None, :, None]
    first = mse(model(values_BSF), means_BSF).item()
    for _ in range(120):
        optimizer.zero_grad()
        loss = mse(model(values_BSF), means_BSF)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * first


def test_a_step_sees_nothing_that_comes_after_it():
    model = Seq2Seq.from_sizes(2, 6, 2).double().eval()
    values_BSF = torch.randn(1, 6, 2, dtype=torch.float64)
    changed_BSF = values_BSF.clone()
    changed_BSF[:, 4:] += 1
    answer, otherwise = model(values_BSF), model(changed_BSF)
    torch.testing.assert_close(answer[:, :4], otherwise[:, :4])
    assert not torch.allclose(answer[:, 4:], otherwise[:, 4:])


def test_tensors_are_refused_where_they_do_not_say_all():
    section = recipe.Model(
        encoder=recipe.RecurrentEncoder(kind="lstm", width=8),
        decoder=recipe.RecurrentDecoder(kind="lstm", width=8),
    )
    numbers = build_model(section, Port("frames", 3), Port("frames", 2), Squared(kind="squared"))
    text = build_model(section, Port("tokens", 9), Port("tokens", 9))
    for model in (numbers, text):
        with pytest.raises(UserError, match="others take a Batch"):
            model(torch.randn(2, 5, 3))
