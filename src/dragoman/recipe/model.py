"""What a recipe can say about the model."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dragoman.recipe.rollout import Rollout
from dragoman.recipe.section import Section, refuse

Rate = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[int, Field(ge=1)]


class Frontend(Section):
    """Convolutions over frames, which shorten time, and then a linear map to the encoder's width.

    For speech they make a step of several frames; one convolution without an activation cuts a series into
    patches (kernel 16 and stride 8).
    """

    kernels: tuple[Size, ...] = Field((5, 5), min_length=1)
    """Steps that each convolution sees at once, from the first to the last."""
    strides: tuple[Size, ...] = Field((2, 2), min_length=1)
    """Of how many steps each convolution makes one; as many as `kernels`."""
    width: int | None = Field(None, ge=1)
    """Channels of what convolutions write; the encoder's width by default."""
    activation: Literal["none", "relu", "gelu", "glu"] = "glu"
    """After each convolution; `glu` is gated (Dauphin et al. 2017)."""

    @property
    def shortening(self) -> int:
        """Of how many frames all convolutions together make one step."""
        return math.prod(self.strides)

    def steps(self, length: int) -> int:
        """Count the steps that are left of so many frames: one for each window of strides that has begun."""
        return -(-length // self.shortening)

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        wrong = [
            f"a kernel of {kernel} with a stride of {stride} skips steps; kernels are at least as long"
            for kernel, stride in zip(self.kernels, self.strides, strict=False)
            if kernel < stride
        ]
        if len(self.kernels) != len(self.strides):
            found = f"{len(self.kernels)} and {len(self.strides)}"
            wrong.append(f"`kernels` and `strides` go in pairs, found {found}")
        refuse(wrong)
        return self


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
        wrong = _misfits(self.width, self.heads, self.positions)
        if self.positions != "learnt" and self.max_positions is not None:
            wrong.append(f"`max_positions` has no effect with {self.positions} positions")
        refuse(wrong)
        return self


def _misfits(width: int, heads: int, positions: str) -> list[str]:
    """Say which of these do not go together."""
    wrong = []
    if width % heads:
        wrong.append(f"`width` {width} is not a multiple of `heads` {heads}")
    elif positions == "rotary" and (width // heads) % 2:
        wrong.append(f"rotary `positions` need an even width a head, found {width // heads}")
    if positions == "sinusoidal" and width % 2:
        wrong.append(f"sinusoidal `positions` need an even `width`, found {width}")
    return wrong


class TransformerEncoder(Transformer):
    """A Transformer encoder (Vaswani et al. 2017)."""


class TransformerDecoder(Transformer):
    """A Transformer decoder (Vaswani et al. 2017)."""


class ConformerEncoder(Section):
    """Self-attention for what is far, convolutions for what is near (Gulati et al. 2020)."""

    kind: Literal["conformer"]
    width: int = Field(256, ge=2)
    layers: int = Field(6, ge=1)
    heads: int = Field(4, ge=1)
    feedforward_width: int = Field(1024, ge=1)
    """Inside each of the two feed-forward blocks of a layer."""
    kernel_width: int = Field(31, ge=1)
    """Steps that a convolution sees; odd."""
    positions: Literal["sinusoidal", "rotary"] = "rotary"
    """`rotary` makes attention see distances, as in the paper."""
    dropout: Rate = 0.1
    """On inputs and after each sublayer."""
    attention_dropout: Rate = 0.0
    """On attention weights."""
    feedforward_dropout: Rate = 0.0
    """Inside the feed-forward blocks."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = _misfits(self.width, self.heads, self.positions)
        if self.kernel_width % 2 == 0:
            wrong.append(f"`kernel_width` must be odd, found {self.kernel_width}")
        refuse(wrong)
        return self


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


class AlignedAttention(Section):
    """None: step t of the decoder reads step t of the encoder; targets are as long as sources."""

    kind: Literal["aligned"]


Attention = Annotated[
    NoAttention
    | SimpleAttention
    | AdditiveAttention
    | ScaledDotAttention
    | LocationAttention
    | AlignedAttention,
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
        if isinstance(self.attention, NoAttention | AlignedAttention) and self.input_feeding:
            raise ValueError(f"`input_feeding` has no effect with `attention.kind: {self.attention.kind}`")
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


Encoder = Annotated[RecurrentEncoder | TransformerEncoder | ConformerEncoder, Field(discriminator="kind")]
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
    rollout: Rollout | None = None
    """How a decoder writes numbers; step by step by default."""
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
