"""What a recipe can say about the model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.section import Section, refuse

Rate = Annotated[float, Field(ge=0, lt=1)]


class RecurrentEncoder(Section):
    """An Elman RNN, GRU or LSTM over the source."""

    kind: Literal["rnn", "gru", "lstm"]
    width: int = Field(256, ge=1)
    """Width of its outputs, both directions together."""
    layers: int = Field(1, ge=1)
    bidirectional: bool = True
    """Read in both directions; each gets half of `width`."""
    dropout: Rate = 0.1
    """On embeddings and between layers."""

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.bidirectional and self.width % 2:
            raise ValueError(f"`width` {self.width} is odd, but a bidirectional encoder halves it")
        return self


class Transformer(Section):
    """What Transformer encoders and decoders have in common."""

    kind: Literal["transformer"]
    width: int = Field(256, ge=2)
    layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    feedforward_width: int = Field(1024, ge=1)
    activation: Literal["relu", "gelu", "swiglu", "geglu"] = "relu"
    """`swiglu` and `geglu` are gated (Shazeer 2020)."""
    norm: Literal["layer", "rms"] = "layer"
    norm_position: Literal["pre", "post"] = "pre"
    positions: Literal["sinusoidal", "learnt", "rotary"] = "sinusoidal"
    max_positions: int | None = Field(None, ge=1)
    """Longest sequence that learnt positions can hold (1,024 by default); other positions have no limit."""
    dropout: Rate = 0.1
    """On embeddings and after each sublayer."""
    attention_dropout: Rate = 0.0
    """On attention weights."""
    feedforward_dropout: Rate = 0.0
    """Inside the feed-forward block."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if self.width % self.heads:
            wrong.append(f"`width` {self.width} is not a multiple of `heads` {self.heads}")
        elif self.positions == "rotary" and (self.width // self.heads) % 2:
            wrong.append(f"rotary `positions` need an even width a head, found {self.width // self.heads}")
        if self.positions == "sinusoidal" and self.width % 2:
            wrong.append(f"sinusoidal `positions` need an even `width`, found {self.width}")
        if self.positions != "learnt" and self.max_positions is not None:
            wrong.append(f"`max_positions` has no effect with {self.positions} positions")
        refuse(wrong)
        return self


class TransformerEncoder(Transformer):
    """A Transformer encoder (Vaswani et al. 2017)."""


class TransformerDecoder(Transformer):
    """A Transformer decoder (Vaswani et al. 2017)."""


class NoAttention(Section):
    """The decoder reads one fixed context vector, at every step (Cho et al. 2014)."""

    kind: Literal["none"]


class SimpleAttention(Section):
    """`dot` and `general` of Luong et al. 2015."""

    kind: Literal["dot", "general"]


class AdditiveAttention(Section):
    """Bahdanau et al. 2015."""

    kind: Literal["additive"]
    width: int | None = Field(None, ge=1)
    """Width of the hidden layer; the decoder's by default."""


class ScaledDotAttention(Section):
    """softmax(QKᵀ/√d)V, queried by the decoder's state at every step (Vaswani et al. 2017)."""

    kind: Literal["scaled_dot"]
    heads: int = Field(1, ge=1)


class LocationAttention(Section):
    """Additive attention that also sees where it looked at the step before (Chorowski et al. 2015)."""

    kind: Literal["location"]
    width: int | None = Field(None, ge=1)
    """Width of the hidden layer; the decoder's by default."""
    filters: int = Field(10, ge=1)
    """Convolution filters over the weights of the step before."""
    kernel_width: int = Field(15, ge=1)
    """Source steps that a filter sees; odd."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.kernel_width % 2 == 0:
            raise ValueError(f"`kernel_width` must be odd, found {self.kernel_width}")
        return self


Attention = Annotated[
    NoAttention | SimpleAttention | AdditiveAttention | ScaledDotAttention | LocationAttention,
    Field(discriminator="kind"),
]


class RecurrentDecoder(Section):
    """An Elman RNN, GRU or LSTM over the target, with or without attention."""

    kind: Literal["rnn", "gru", "lstm"]
    width: int = Field(256, ge=1)
    layers: int = Field(1, ge=1)
    attention: Attention = AdditiveAttention(kind="additive")
    input_feeding: bool = False
    """Give each step what the step before read and wrote (Luong et al. 2015); slower, step by step."""
    dropout: Rate = 0.1
    """On embeddings, between layers and on outputs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.attention, ScaledDotAttention) and self.width % self.attention.heads:
            raise ValueError(
                f"`width` {self.width} is not a multiple of `attention.heads` {self.attention.heads}"
            )
        if isinstance(self.attention, NoAttention) and self.input_feeding:
            raise ValueError("`input_feeding` has no effect with `attention.kind: none`")
        return self


class NoDecoder(Section):
    """None: the encoder's steps write the target (`training.objective.kind: ctc`)."""

    kind: Literal["none"]

    @property
    def layers(self) -> int:
        """No layers."""
        return 0

    @property
    def width(self) -> int:
        """No width."""
        return 0


Encoder = Annotated[RecurrentEncoder | TransformerEncoder, Field(discriminator="kind")]
Decoder = Annotated[RecurrentDecoder | TransformerDecoder | NoDecoder, Field(discriminator="kind")]


class Model(Section):
    """Encoder and decoder, in any pair and of any widths, and how their embeddings are tied."""

    encoder: Encoder = TransformerEncoder(kind="transformer")
    decoder: Decoder = TransformerDecoder(kind="transformer")
    frontend: Frontend | None = None
    """Convolutions between frames (audio, numbers) and the encoder; one linear map by default."""
    source_embedding_width: int | None = Field(None, ge=1)
    """Width of source embeddings, projected where it differs from the encoder's; the encoder's by default."""
    target_embedding_width: int | None = Field(None, ge=1)
    """Width of target embeddings, projected where it differs from the decoder's; the decoder's by default."""
    tie: Literal["none", "decoder", "encoder_decoder", "all"] = "none"
    """Which tables are one: target input and output (`decoder`), both inputs (`encoder_decoder`), or all."""

    @property
    def source_width(self) -> int:
        """The width of source embeddings."""
        return self.source_embedding_width or self.encoder.width

    @property
    def target_width(self) -> int:
        """The width of target embeddings."""
        return self.target_embedding_width or self.decoder.width

    @model_validator(mode="after")
    def _tied_widths(self) -> Self:
        if self.tie in ("encoder_decoder", "all") and self.source_width != self.target_width:
            raise ValueError(
                f"`tie: {self.tie}` needs source and target embeddings of one width, "
                f"found {self.source_width} and {self.target_width}"
            )
        return self
