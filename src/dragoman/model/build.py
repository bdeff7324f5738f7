"""From what a recipe says about the model, and what codecs say about sequences, to the model."""

from __future__ import annotations

from typing import assert_never

from dragoman.errors import RecipeError
from dragoman.model.aligned import AlignedDecoder
from dragoman.model.conformer import ConformerEncoder
from dragoman.model.contracts import Decoder, Encoder
from dragoman.model.ctc import CtcHead
from dragoman.model.ctc_model import CtcModel
from dragoman.model.frame_frontend import FrameFrontend
from dragoman.model.frame_inputs import FrameInputs, PlainFrames
from dragoman.model.frontends import TokenFrontend
from dragoman.model.heads import VocabularyHead
from dragoman.model.highway import Highway
from dragoman.model.number_head import NumberHead
from dragoman.model.recurrent import RecurrentDecoder, RecurrentEncoder
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.recipe import model as recipe
from dragoman.recipe.objectives import CROSS_ENTROPY, CrossEntropy, Ctc, NumericObjective, Objective
from dragoman.recipe.rollout import DEFAULT_ROLLOUT
from dragoman.records import Port


def build_model(
    section: recipe.Model, source: Port, target: Port, objective: Objective = CROSS_ENTROPY
) -> Seq2Seq:
    """Build a model with fresh weights, drawn from torch's global generator; the loss decides its heads."""
    _check_ports(section, source, target, objective)
    source_frontend = _source_frontend(section, source)
    encoder = _encoder(section.encoder, source_frontend.width)
    if isinstance(section.decoder, recipe.NoDecoder):
        return CtcModel(source, target, source_frontend, encoder, CtcHead(encoder.width, target.size))
    if not isinstance(objective, CrossEntropy | Ctc):
        return _number_model(section, source, target, source_frontend, encoder, objective)
    decoder = _decoder(section.decoder, section.target_width, encoder.width)
    shares_input = section.tie in ("encoder_decoder", "all")
    shares_output = section.tie in ("decoder", "all")
    shared = source_frontend.weight if isinstance(source_frontend, TokenFrontend) and shares_input else None
    target_frontend = TokenFrontend(target.size, section.target_width, shared)
    head = VocabularyHead(decoder.width, target.size, target_frontend.weight if shares_output else None)
    has_ctc = isinstance(objective, CrossEntropy) and objective.ctc_weight > 0
    ctc_head = CtcHead(encoder.width, target.size) if has_ctc else None
    return Seq2Seq(source, target, source_frontend, target_frontend, encoder, decoder, head, ctc_head)


def _number_model(
    section: recipe.Model,
    source: Port,
    target: Port,
    source_frontend: TokenFrontend | FrameFrontend | PlainFrames,
    encoder: Encoder,
    objective: NumericObjective,
) -> Seq2Seq:
    assert not isinstance(section.decoder, recipe.NoDecoder), "`_check_ports` sees to it"
    rollout = section.rollout or DEFAULT_ROLLOUT
    # Where a step has its own input in the encoder's, and nothing more to be told, it is told no more.
    width = 0 if _is_told_nothing(section, source) else section.target_width
    decoder = _decoder(section.decoder, width, encoder.width)
    highway = None
    if rollout.linear:
        assert source.steps is not None and target.steps is not None, "`_check_ports` sees to it"
        highway = Highway(source.steps, target.steps, target.size, rollout.lines)
    return Seq2Seq(
        source,
        target,
        source_frontend,
        FrameInputs(target.size, source.ahead, width, rollout),
        encoder,
        decoder,
        NumberHead(decoder.width, target.size, rollout.patch, objective),
        highway=highway,
    )


def _is_told_nothing(section: recipe.Model, source: Port) -> bool:
    rollout = section.rollout or DEFAULT_ROLLOUT
    is_told_no_values = rollout.kind == "whole" and rollout.begin == "nothing"
    return is_told_no_values and not source.ahead and _is_aligned(section.decoder)


def _is_aligned(section: recipe.Decoder) -> bool:
    return isinstance(section, recipe.RecurrentDecoder) and isinstance(
        section.attention, recipe.AlignedAttention
    )


def _is_rotary(section: recipe.Decoder) -> bool:
    return isinstance(section, recipe.TransformerDecoder) and section.positions == "rotary"


def _source_frontend(section: recipe.Model, port: Port) -> TokenFrontend | FrameFrontend | PlainFrames:
    if port.kind == "tokens":
        return TokenFrontend(port.size, section.source_width)
    is_plain = section.frontend is None and section.source_embedding_width is None
    if is_plain and isinstance(section.encoder, recipe.RecurrentEncoder):
        # Its own map of inputs is linear: another before it would add nothing.
        return PlainFrames(port.size)
    return FrameFrontend(section.frontend, port.size, section.source_width)


def _encoder(section: recipe.Encoder, input_width: int) -> Encoder:
    match section:
        case recipe.RecurrentEncoder():
            return RecurrentEncoder(section, input_width)
        case recipe.TransformerEncoder():
            return TransformerEncoder(section, input_width)
        case recipe.ConformerEncoder():
            return ConformerEncoder(section, input_width)
        case _:
            assert_never(section)


def _decoder(
    section: recipe.RecurrentDecoder | recipe.TransformerDecoder, input_width: int, memory_width: int
) -> Decoder:
    match section:
        case recipe.RecurrentDecoder(attention=recipe.AlignedAttention()):
            return AlignedDecoder(section, input_width, memory_width=memory_width)
        case recipe.RecurrentDecoder():
            return RecurrentDecoder(section, input_width, memory_width=memory_width)
        case recipe.TransformerDecoder():
            return TransformerDecoder(section, input_width, memory_width=memory_width)
        case _:
            assert_never(section)


def _check_ports(section: recipe.Model, source: Port, target: Port, objective: Objective) -> None:
    """Refuse what these parts cannot take."""
    complaints = []
    is_numeric = not isinstance(objective, CrossEntropy | Ctc)
    if is_numeric != (target.kind == "frames"):
        complaints.append(
            f"recipe.training.objective: {objective.kind} does not fit a target of {target.kind}"
        )
    if is_numeric and isinstance(section.decoder, recipe.NoDecoder):
        complaints.append("recipe.model.decoder: none is for CTC; numbers need a decoder")
    complaints += _check_numbers(section, source, target) if is_numeric else []
    if section.frontend is not None and source.kind == "tokens":
        complaints.append("recipe.model.frontend: has no effect, convolutions are for sources of frames")
    if section.tie in ("encoder_decoder", "all") and source.size != target.size:
        complaints.append(
            f"recipe.model.tie: `{section.tie}` needs one vocabulary for both sides, found {source.size} "
            f"source and {target.size} target symbols; say `joint_vocabulary: true`, or tie less"
        )
    if complaints:
        raise RecipeError(complaints)


def _check_numbers(section: recipe.Model, source: Port, target: Port) -> list[str]:
    complaints = []
    rollout = section.rollout or DEFAULT_ROLLOUT
    if rollout.linear and (source.kind == "tokens" or source.steps is None or target.steps is None):
        complaints.append(
            "recipe.model.rollout.linear: maps a context of a fixed length to a horizon of a fixed length; "
            "`data.windows` would fix them"
        )
    if rollout.linear and source.size < target.size:
        complaints.append(
            f"recipe.model.rollout.linear: carries the {target.size:,} variables of the target over, and the "
            f"source has {source.size:,}"
        )
    if rollout.begin == "context" and (source.kind == "tokens" or source.size < target.size):
        complaints.append(
            f"recipe.model.rollout.begin: context tells steps the end of the {target.size:,} variables of "
            f"the target, and the source has {0 if source.kind == 'tokens' else source.size:,}"
        )
    is_one_step = target.steps is not None and target.steps <= rollout.patch
    if rollout.kind == "whole" and _is_rotary(section.decoder) and not source.ahead and not is_one_step:
        complaints.append(
            "recipe.model.decoder.positions: rotary: tells no step of `rollout.kind: whole` from another, "
            "and all are told the same; sinusoidal or learnt would do"
        )
    if section.target_embedding_width is not None and _is_told_nothing(section, source):
        complaints.append(
            "recipe.model.target_embedding_width: has no effect, steps are told nothing but the encoder's "
            "outputs"
        )
    return complaints
