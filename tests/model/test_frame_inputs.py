"""What steps of numbers are told, and the properties of models that write numbers."""

import itertools
import math

import pytest
import torch

from dragoman.errors import DataError, RecipeError, UserError
from dragoman.model.answering import in_int8
from dragoman.model.build import build_model
from dragoman.model.contracts import rows_of
from dragoman.model.frame_inputs import FrameInputs, PlainFrames
from dragoman.model.objectives import objective_loss
from dragoman.model.roll_out import roll_out
from dragoman.recipe import model as recipe
from dragoman.recipe.objectives import CROSS_ENTROPY, Likelihood, Squared
from dragoman.recipe.rollout import Rollout
from dragoman.records import Batch, Port, Sequence

F, C = 2, 3
SQUARED = Squared(kind="squared")
NAN = math.nan


def inputs(kind="steps", patch=1, ahead=0, width=6, begin="nothing"):
    torch.manual_seed(1)
    return FrameInputs(F, ahead, width, Rollout(kind=kind, patch=patch, begin=begin)).double()


def frames(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# --- inputs


def test_a_step_is_told_the_patch_before_it_and_the_first_one_nothing():
    values_BTF = frames(2, 5, F)
    before_BJX = inputs(patch=2).before(values_BTF)
    assert before_BJX.shape == (2, 3, 2 * F)
    assert before_BJX[:, 0].isnan().all()
    assert torch.equal(before_BJX[:, 1:].reshape(2, 4, F), values_BTF[:, :4])
    assert inputs("whole").before(values_BTF).isnan().all()


def test_where_the_context_begins_it_the_first_step_is_told_its_last_patch_and_with_whole_every_step():
    values_BSF, lengths_B = frames(3, 5, F + 1), torch.tensor([5, 3, 1])
    for kind in ("steps", "whole"):
        part = inputs(kind, patch=2, begin="context")
        end_BX = part.end_of(Sequence(values_BSF, lengths_B))
        assert torch.equal(end_BX[0], values_BSF[0, 3:5, :F].flatten())
        assert torch.equal(end_BX[1], values_BSF[1, 1:3, :F].flatten())
        assert end_BX[2, :F].isnan().all() and torch.equal(end_BX[2, F:], values_BSF[2, 0, :F])
        targets_BTF = frames(3, 5, F)
        before_BJX = part.before(targets_BTF, end_BX)
        assert torch.equal(before_BJX[:, 0].nan_to_num(), end_BX.nan_to_num())
        expected_BX = end_BX if kind == "whole" else targets_BTF[:, :2].flatten(1)
        assert torch.equal(before_BJX[:, 1].nan_to_num(), expected_BX.nan_to_num())
        assert part(before_BJX).isfinite().all()
        assert inputs(kind).end_of(Sequence(values_BSF, lengths_B)) is None


def test_a_missing_value_is_told_from_a_zero():
    part = inputs()
    zero, missing = torch.zeros(1, 1, F).double(), torch.tensor([[[NAN, 0.0]]]).double()
    assert part(missing).isfinite().all()
    assert not torch.allclose(part(zero), part(missing))


def test_what_is_known_beforehand_reaches_its_own_step_only():
    for kind in ("steps", "whole"):
        part = inputs(kind, patch=2, ahead=C)
        before_BJX, ahead_BTC = part.first(1, 2, frames(1)), frames(1, 4, C)
        changed_BTC = ahead_BTC.clone()
        changed_BTC[:, 2:] += 1
        told, otherwise = part(before_BJX, ahead_BTC), part(before_BJX, changed_BTC)
        assert torch.equal(told[:, 0], otherwise[:, 0])
        assert not torch.allclose(told[:, 1], otherwise[:, 1])
        with pytest.raises(DataError, match=r"forecasts 4 steps .* found 2"):
            part(before_BJX, ahead_BTC[:, :2])
        with pytest.raises(DataError, match=r"forecasts 4 steps .* found 0"):
            part(before_BJX)


# --- whole models

LENGTHS, STEPS = (6, 3, 5), 6
ENCODERS = {
    "lstm": recipe.RecurrentEncoder(kind="lstm", width=10, bidirectional=False, dropout=0.2),
    "transformer": recipe.TransformerEncoder(kind="transformer", width=12, layers=1, heads=2, dropout=0.2),
}
ALIGNED = recipe.AlignedAttention(kind="aligned")
DECODERS = {
    "aligned": recipe.RecurrentDecoder(kind="lstm", width=8, layers=2, attention=ALIGNED, dropout=0.2),
    "additive": recipe.RecurrentDecoder(kind="gru", width=8),
    "transformer": recipe.TransformerDecoder(kind="transformer", width=8, layers=1, heads=2),
}
ROTARY = DECODERS["transformer"].model_copy(update={"positions": "rotary"})
ROLLOUTS = {
    "steps": Rollout(),
    "steps of patches": Rollout(patch=2),
    "whole": Rollout(kind="whole"),
    "whole of patches": Rollout(kind="whole", patch=4),
    "steps from the context": Rollout(patch=2, begin="context"),
    "whole from the context": Rollout(kind="whole", begin="context"),
    "whole of patches from the context": Rollout(kind="whole", patch=4, begin="context"),
    "steps and a line": Rollout(linear=True),
    "steps and two lines": Rollout(linear=True, lines=2),
}


def number_model(encoder="lstm", decoder="aligned", rollout=None, objective=SQUARED, ahead=0):
    section = recipe.Model(encoder=ENCODERS[encoder], decoder=DECODERS[decoder], rollout=rollout)
    torch.manual_seed(1)
    source, target = Port("frames", 4, steps=6, ahead=ahead), Port("frames", F, steps=STEPS)
    model = build_model(section, source, target, objective).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def batch(ahead=C, lengths=LENGTHS):
    """Three series of different lengths; their padding holds numbers too."""
    torch.manual_seed(2)
    known = frames(3, STEPS, C) if ahead else None
    source = Sequence(frames(3, 6, 4), torch.tensor(lengths), ahead_BTC=known)
    targets_BTF = frames(3, STEPS, F)
    targets_BTF[1, 2, 0] = NAN
    return Batch(source, Sequence(targets_BTF, torch.tensor(lengths)), ("a", "b", "c"))


CASES = [
    pytest.param((encoder, decoder, rollout, ahead), id=f"{encoder} > {decoder}, {name}, {ahead} ahead")
    for encoder, decoder, (name, rollout), ahead in itertools.product(
        ENCODERS, DECODERS, ROLLOUTS.items(), (0, C)
    )
    if decoder != "aligned" or rollout.patch == 1
]


@pytest.fixture(params=CASES)
def case(request):
    encoder, decoder, rollout, ahead = request.param
    lengths = (6, 6, 6) if rollout.linear else LENGTHS
    return number_model(encoder, decoder, rollout, ahead=ahead), batch(ahead, lengths)


def taught(model, given):
    return model.numbers(model(given).outputs_BTD, model.line(given.source))[:, :STEPS]


@torch.no_grad()
def test_rolling_out_with_the_reference_is_teaching(case):
    model, given = case
    targets_BTF, patch = given.target.values, model.frame_inputs.patch

    def tell(said_BPFQ, first):
        return torch.nn.functional.pad(targets_BTF, (0, 0, 0, patch))[:, first : first + said_BPFQ.shape[1]]

    rolled = roll_out(model, given.source, model.encode(given.source), STEPS, tell)
    torch.testing.assert_close(rolled.said_BTFQ, taught(model, given))


@torch.no_grad()
def test_a_series_alone_is_as_in_any_batch_and_padding_means_nothing(case):
    model, given = case
    said_BTFQ = taught(model, given)
    total = objective_loss(model, given, SQUARED).total
    for row, length in enumerate(given.source.lengths_B.tolist()):
        own, ahead_BTC = slice(row, row + 1), given.source.ahead_BTC
        source = Sequence(
            given.source.values[own, :length],
            given.source.lengths_B[own],
            ahead_BTC=None if ahead_BTC is None else ahead_BTC[own],
        )
        target = Sequence(given.target.values[own, :length], given.target.lengths_B[own])
        alone = Batch(source, target, ("a",))
        torch.testing.assert_close(taught(model, alone)[:, :length], said_BTFQ[own, :length])
        total = total - objective_loss(model, alone, SQUARED).total
    torch.testing.assert_close(total, torch.zeros_like(total))


@torch.no_grad()
def test_rows_are_selected_and_sources_kept(case):
    model, given = case
    kept = torch.tensor([2, 0])
    inputs_of = model.frame_inputs
    before_BJX = inputs_of.before(given.target.values)
    ahead_BTC = given.source.ahead_BTC
    memory = model.encode(given.source)
    patch = inputs_of.patch

    def some(first, last, rows):
        ahead = None if ahead_BTC is None else ahead_BTC[rows][:, first * patch : last * patch]
        return before_BJX[rows][:, first:last], ahead

    everyone = rows_of(torch.arange(3), 2)[:, None].flatten() // 2
    before, ahead = some(0, 1, everyone)
    _, state = model.advance_numbers(before, model.start(memory, 2), ahead)
    rest = before_BJX.shape[1]
    before, ahead = some(1, rest, kept.repeat_interleave(2))
    swapped = torch.tensor([1, 0, 3, 2, 5, 4])
    moved, _ = model.advance_numbers(before, state.select(swapped).keep(kept), ahead)
    before, ahead = some(0, rest, kept)
    whole, _ = model.advance_numbers(before, model.start(memory.keep(kept)), ahead)
    torch.testing.assert_close(moved.outputs_BTD[::2], whole.outputs_BTD[:, 1:])
    torch.testing.assert_close(moved.outputs_BTD[1::2], whole.outputs_BTD[:, 1:])


def test_gradients_reach_every_parameter_but_the_fitted_line(case):
    model, given = case
    objective_loss(model.train(), given, SQUARED).total.backward()
    dead = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert dead == [name for name, _ in model.named_parameters() if name.startswith("highway.")]


def test_the_loss_counts_steps():
    loss = objective_loss(number_model(rollout=Rollout(kind="whole")), batch(0), SQUARED)
    assert loss.tokens == sum(LENGTHS)
    torch.testing.assert_close(loss.nll, loss.total.detach())


# --- scheduled sampling


def test_scheduled_sampling_tells_the_model_its_own_values():
    model, given = number_model(decoder="additive"), batch(0)
    always = SQUARED.model_copy(update={"scheduled_sampling": 1.0})

    def tell(said_BPFQ, first):
        return model.number_head.point(said_BPFQ)

    rolled = roll_out(model, given.source, model.encode(given.source), STEPS, tell)
    alone = model.number_head.loss(rolled.said_BTFQ, given.target)
    torch.testing.assert_close(objective_loss(model, given, always).total, alone)
    never = SQUARED.model_copy(update={"scheduled_sampling": 1e-12})
    taught_loss = objective_loss(model, given, SQUARED).total
    torch.testing.assert_close(objective_loss(model, given, never).total, taught_loss)
    assert not torch.allclose(alone, taught_loss)
    torch.manual_seed(3)
    half = objective_loss(model, given, SQUARED.model_copy(update={"scheduled_sampling": 0.5})).total
    torch.manual_seed(3)
    again = objective_loss(model, given, SQUARED.model_copy(update={"scheduled_sampling": 0.5})).total
    assert torch.equal(half, again)
    assert not torch.allclose(half, taught_loss)


# --- refusals


def test_targets_of_another_length_are_refused_where_steps_are_aligned():
    model, given = number_model(rollout=Rollout(kind="whole")), batch(0)
    for share in (0.0, 0.5):
        section = SQUARED.model_copy(update={"scheduled_sampling": share})
        short = Batch(given.source, Sequence(given.target.values, torch.tensor([6, 2, 5])), given.ids)
        with pytest.raises(DataError, match="found 3 source and 2 target steps"):
            objective_loss(model, short, section)


def test_what_does_not_fit_is_refused():
    frames_4, frames_2, tokens = Port("frames", 4), Port("frames", 2), Port("tokens", 9)
    section = recipe.Model(encoder=ENCODERS["lstm"], decoder=DECODERS["aligned"])

    def refused(match, section=section, source=frames_4, target=frames_2, objective=SQUARED):
        with pytest.raises(RecipeError, match=match):
            build_model(section, source, target, objective)

    refused("cross_entropy does not fit a target of frames", objective=CROSS_ENTROPY)
    refused("squared does not fit a target of tokens", target=tokens)
    linear = section.model_copy(update={"rollout": Rollout(linear=True)})
    refused("a horizon of a fixed length", section=linear)
    fixed = Port("frames", 1, steps=6)
    refused("2 variables of the target over, and the source has 1", linear, fixed, Port("frames", 2, steps=6))
    begun = section.model_copy(update={"rollout": Rollout(begin="context")})
    refused("end of the 2 variables of the target, and the source has 1", begun, fixed, frames_2)
    refused("end of the 2 variables of the target, and the source has 0", begun, tokens, frames_2)
    alike = {"rollout": Rollout(kind="whole", patch=2), "decoder": ROTARY}
    refused("rotary: tells no step of", section.model_copy(update=alike))
    refused("rotary: tells no step of", section.model_copy(update=alike), target=Port("frames", 2, steps=3))
    build_model(section.model_copy(update=alike), frames_4, Port("frames", 2, steps=2), SQUARED)
    build_model(section.model_copy(update=alike), Port("frames", 4, ahead=C), frames_2, SQUARED)
    blind = {"rollout": Rollout(kind="whole"), "target_embedding_width": 4}
    refused("target_embedding_width: has no effect", section.model_copy(update=blind))
    silent = recipe.Model(encoder=ENCODERS["lstm"], decoder=recipe.NoDecoder(kind="none"))
    refused("numbers need a decoder", section=silent)


def test_models_of_numbers_do_not_answer_in_int8():
    model = number_model(objective=Likelihood(kind="gaussian"))
    with pytest.raises(UserError, match="this one writes numbers"):
        in_int8(model)


def test_plain_frames_hide_padding():
    values_BSF = frames(2, 3, F)
    hidden_BSF, _ = PlainFrames(F)(values_BSF, torch.tensor([[True, True, False], [True, False, False]]))
    assert torch.equal(hidden_BSF[0, :2], values_BSF[0, :2])
    assert not hidden_BSF[0, 2:].any()
    assert not hidden_BSF[1, 1:].any()
