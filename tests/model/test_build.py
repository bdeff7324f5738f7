"""Models as recipes describe them: every pair, every way of tying, and the number of parameters."""

import itertools

import pytest
import torch

from dragoman.errors import RecipeError
from dragoman.model.build import build_model
from dragoman.model.conformer import ConformerEncoder
from dragoman.model.recurrent import RecurrentDecoder, RecurrentEncoder
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.recipe import model as recipe
from dragoman.records import PAD, Port

SOURCE, TARGET = Port("tokens", 17), Port("tokens", 13)
SIZES = {"kind": "transformer", "width": 8, "layers": 2, "heads": 2, "feedforward_width": 12}
ENCODERS = {
    TransformerEncoder: recipe.TransformerEncoder(**SIZES),
    RecurrentEncoder: recipe.RecurrentEncoder(kind="gru", width=6),
    ConformerEncoder: recipe.ConformerEncoder(**SIZES | {"kind": "conformer"}),
}
DECODERS = {
    TransformerDecoder: recipe.TransformerDecoder(**SIZES),
    RecurrentDecoder: recipe.RecurrentDecoder(kind="lstm", width=10),
}


def _section(**changes):
    transformers = {"encoder": ENCODERS[TransformerEncoder], "decoder": DECODERS[TransformerDecoder]}
    return recipe.Model(**transformers | changes)


def _parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("encoder", "decoder"), list(itertools.product(ENCODERS, DECODERS)))
def test_the_parts_are_those_of_the_recipe(encoder, decoder):
    model = build_model(_section(encoder=ENCODERS[encoder], decoder=DECODERS[decoder]), SOURCE, TARGET)
    assert type(model.encoder) is encoder
    assert type(model.decoder) is decoder
    assert model.source_frontend.weight.shape == (17, ENCODERS[encoder].width)
    assert model.target_frontend.weight.shape == (13, DECODERS[decoder].width)
    assert model.head.weight.shape == (13, DECODERS[decoder].width)


def test_the_seed_decides_the_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in build_model(_section(), SOURCE, TARGET).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_number_of_parameters_is_that_of_the_paper():
    width, inner, norm = 8, 12, 2 * 8
    attention = 4 * (width * width + width)
    feed = width * inner + inner + inner * width + width
    encoder = 2 * (attention + feed + 2 * norm) + norm
    decoder = 2 * (2 * attention + feed + 3 * norm) + norm
    tables = 17 * width + 13 * width
    head = 13 * width + 13
    assert _parameters(build_model(_section(), SOURCE, TARGET)) == encoder + decoder + tables + head


@pytest.mark.parametrize(
    ("tie", "input_and_output", "source_and_target", "tables"),
    [
        ("none", False, False, 3),
        ("decoder", True, False, 2),
        ("encoder_decoder", False, True, 2),
        ("all", True, True, 1),
    ],
)
def test_ties_share_one_parameter(tie, input_and_output, source_and_target, tables):
    model = build_model(_section(tie=tie), TARGET, TARGET)
    source, target, output = model.source_frontend.weight, model.target_frontend.weight, model.head.weight
    assert (target is output) == input_and_output
    assert (source is target) == source_and_target
    assert (
        sum(parameter.shape[0] == 13 and parameter.dim() == 2 for parameter in model.parameters()) == tables
    )
    assert (model.head.bias is None) == input_and_output


def test_a_tied_table_learns_from_both_sides():
    model = build_model(_section(tie="decoder"), SOURCE, TARGET)
    outputs = torch.randn(3, 8)
    model.logits(outputs).sum().backward()
    assert model.target_frontend.weight.grad.abs().sum() > 0


def test_tables_of_other_widths_are_projected():
    section = _section(source_embedding_width=5, target_embedding_width=7, tie="decoder")
    model = build_model(section, SOURCE, TARGET)
    assert model.source_frontend.weight.shape == (17, 5)
    assert model.head.weight.shape == (13, 7)
    assert model.logits(torch.randn(2, 3, 8)).shape == (2, 3, 13)
    assert _parameters(build_model(_section(tie="decoder"), SOURCE, TARGET)) - _parameters(model) == (
        17 * (8 - 5) + 13 * (8 - 7) - (5 * 8 + 8) - (7 * 8 + 8) - 8 * 7
    )


def test_embeddings_start_with_a_variance_of_one_and_zero_for_padding():
    frontend = build_model(_section(source_embedding_width=64), Port("tokens", 500), TARGET).source_frontend
    assert frontend(torch.arange(4, 500)).std().item() == pytest.approx(1, abs=0.02)
    assert (frontend(torch.tensor([PAD])) == 0).all()


def test_tying_needs_one_vocabulary():
    with pytest.raises(RecipeError, match=r"recipe\.model\.tie.*17 source and 13 target"):
        build_model(_section(tie="all"), SOURCE, TARGET)


def test_a_target_of_frames_needs_a_loss_of_numbers():
    with pytest.raises(RecipeError, match=r"recipe.training.objective: cross_entropy .* target of frames"):
        build_model(_section(), Port("frames", 80), Port("frames", 1))
