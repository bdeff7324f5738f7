"""What might have stood instead of a token of the answer. Shapes: T target steps, V vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from dragoman.data.frames import Frames
from dragoman.data.text import TextCodec
from dragoman.errors import UserError
from dragoman.explanation.steps import log_probs_of, others_of
from dragoman.explanation.subject import END_LABEL, Subject
from dragoman.records import EOS, UNKNOWN


@dataclass(frozen=True)
class Foil:
    """A target step, its token, and the one that might have stood there, with its piece."""

    step: int
    token: int
    other: int
    piece: str


def foils_of(subject: Subject, step: int | None, foil: str | None) -> list[Foil]:
    """Return the foil of each step, or of one: `foil`, or the most probable other token.

    UserError for a step that the answer does not have, for a foil that is not one token, or the same one.
    """
    assert not isinstance(subject.target, Frames), "callers ask of tokens"
    if foil is not None and step is None:
        raise UserError("contrastive: a foil stands at one step; say which `step` of the answer it is for")
    steps = len(subject.target)
    if step is not None and not 0 <= step < steps:
        raise UserError(f"contrastive: expected a step from 0 to {steps - 1}, found {step}")
    log_probs_TV = log_probs_of(subject)
    codec, found = subject.bundle.codecs.text, []
    for place in range(steps) if step is None else [step]:
        token = subject.target[place]
        if foil is None:
            other = int(others_of(log_probs_TV[place], token).argmax())
        else:
            other = _token_of(codec, foil)
        if other == token:
            raise UserError(
                f"contrastive: {foil!r} is what the answer has at step {place}; name another piece of text"
            )
        found.append(Foil(place, token, other, END_LABEL if other == EOS else codec.pieces([other])[0]))
    return found


def _token_of(codec: TextCodec, foil: str) -> int:
    """Return the one token of a piece of text, as it is listed or as it is written."""
    # A unit that is spelt like a control symbol comes later, and is the one that is meant.
    listed = {piece: token for token, piece in enumerate(codec.pieces(range(codec.port.size)))}
    if foil in listed:
        return listed[foil]
    if foil == END_LABEL:
        return EOS
    tokens = codec.encode_prefix(foil).tolist()
    if len(tokens) == 1 and tokens[0] != UNKNOWN:
        return int(tokens[0])
    if UNKNOWN in tokens or not tokens:
        raise UserError(f"contrastive: {foil!r} is not in the model's vocabulary; another foil would do")
    shown = ", ".join(map(repr, codec.pieces(tokens)))
    raise UserError(
        f"contrastive: {foil!r} is {len(tokens)} tokens here ({shown}) and a step has one; that one of them "
        "which would stand at this step would do"
    )
