"""From what a recipe says about the model, and what codecs say about sequences, to the model."""

from __future__ import annotations

from typing import assert_never

from dragoman.errors import RecipeError
from dragoman.model.conformer import ConformerEncoder
from dragoman.model.contracts import Decoder, Encoder
from dragoman.model.ctc import CtcHead
from dragoman.model.ctc_model import CtcModel
from dragoman.model.frame_frontend import FrameFrontend
from dragoman.model.frontends import TokenFrontend
from dragoman.model.heads import VocabularyHead
from dragoman.model.recurrent import RecurrentDecoder, RecurrentEncoder
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.recipe import model as recipe
from dragoman.recipe.objectives import CROSS_ENTROPY, CrossEntropy, Objective
from dragoman.records import Port


def build_model(
    section: recipe.Model, source: Port, target: Port, objective: Objective = CROSS_ENTROPY
) -> Seq2Seq:
    """Build a model with fresh weights, drawn from torch's global generator; the loss decides its heads."""
    _check_ports(section, source, target)
    source_frontend = _source_frontend(section, source)
    encoder = _encoder(section.encoder, source_frontend.width)
    match section.decoder:
        case recipe.NoDecoder():
            return CtcModel(source, target, source_frontend, encoder, CtcHead(encoder.width, target.size))
        case decoder_section:
            decoder = _decoder(decoder_section, section.target_width, encoder.width)
    shares_input = section.tie in ("encoder_decoder", "all")
    shares_output = section.tie in ("decoder", "all")
    shared = source_frontend.weight if isinstance(source_frontend, TokenFrontend) and shares_input else None
    target_frontend = TokenFrontend(target.size, section.target_width, shared)
    head = VocabularyHead(decoder.width, target.size, target_frontend.weight if shares_output else None)
    has_ctc = isinstance(objective, CrossEntropy) and objective.ctc_weight > 0
    ctc_head = CtcHead(encoder.width, target.size) if has_ctc else None
    return Seq2Seq(source, target, source_frontend, target_frontend, encoder, decoder, head, ctc_head)


def _source_frontend(section: recipe.Model, port: Port) -> TokenFrontend | FrameFrontend:
    if port.kind == "tokens":
        return TokenFrontend(port.size, section.source_width)
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
        case recipe.RecurrentDecoder():
            return RecurrentDecoder(section, input_width, memory_width=memory_width)
        case recipe.TransformerDecoder():
            return TransformerDecoder(section, input_width, memory_width=memory_width)
        case _:
            assert_never(section)


def _check_ports(section: recipe.Model, source: Port, target: Port) -> None:
    """Refuse what these parts cannot take."""
    complaints = []
    if target.kind != "tokens":
        complaints.append("recipe.target: a codec of frames does not fit this model, which writes tokens")
    if section.frontend is not None and source.kind == "tokens":
        complaints.append("recipe.model.frontend: has no effect, convolutions are for sources of frames")
    if section.tie in ("encoder_decoder", "all") and source.size != target.size:
        complaints.append(
            f"recipe.model.tie: `{section.tie}` needs one vocabulary for both sides, found {source.size} "
            f"source and {target.size} target symbols; say `joint_vocabulary: true`, or tie less"
        )
    if complaints:
        raise RecipeError(complaints)
