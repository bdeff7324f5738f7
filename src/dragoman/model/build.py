"""From what a recipe says about the model, and what codecs say about sequences, to the model."""

from __future__ import annotations

from typing import assert_never

from dragoman.errors import RecipeError
from dragoman.model.conformer import ConformerEncoder
from dragoman.model.contracts import Decoder, Encoder
from dragoman.model.frontends import TokenFrontend
from dragoman.model.heads import VocabularyHead
from dragoman.model.recurrent import RecurrentDecoder, RecurrentEncoder
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.transformer import TransformerDecoder, TransformerEncoder
from dragoman.recipe import model as recipe
from dragoman.records import Port


def build_model(section: recipe.Model, source: Port, target: Port) -> Seq2Seq:
    """Build a model with fresh weights, drawn from torch's global generator."""
    _check_ports(section, source, target)
    shares_input = section.tie in ("encoder_decoder", "all")
    shares_output = section.tie in ("decoder", "all")
    source_frontend = TokenFrontend(source.size, section.source_width)
    target_frontend = TokenFrontend(
        target.size, section.target_width, source_frontend.weight if shares_input else None
    )
    encoder = _encoder(section.encoder, source_frontend.width)
    decoder = _decoder(section.decoder, target_frontend.width, encoder.width)
    head = VocabularyHead(decoder.width, target.size, target_frontend.weight if shares_output else None)
    return Seq2Seq(source, target, source_frontend, target_frontend, encoder, decoder, head)


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


def _decoder(section: recipe.Decoder, input_width: int, memory_width: int) -> Decoder:
    match section:
        case recipe.RecurrentDecoder():
            return RecurrentDecoder(section, input_width, memory_width=memory_width)
        case recipe.TransformerDecoder():
            return TransformerDecoder(section, input_width, memory_width=memory_width)
        case _:
            assert_never(section)


def _check_ports(section: recipe.Model, source: Port, target: Port) -> None:
    """Refuse what these parts cannot take."""
    complaints = [
        f"recipe.{side}: a codec of {port.kind} does not fit this model, which reads and writes tokens"
        for side, port in (("source", source), ("target", target))
        if port.kind != "tokens"
    ]
    if section.tie in ("encoder_decoder", "all") and source.size != target.size:
        complaints.append(
            f"recipe.model.tie: `{section.tie}` needs one vocabulary for both sides, found {source.size} "
            f"source and {target.size} target symbols; say `joint_vocabulary: true`, or tie less"
        )
    if complaints:
        raise RecipeError(complaints)
