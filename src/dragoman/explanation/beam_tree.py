"""The answers that a search considered, as a tree, and why each but one of them lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from dragoman.bundle import Bundle
from dragoman.data.batching import padded
from dragoman.data.text import TextCodec
from dragoman.decoding.batches import answering
from dragoman.decoding.decode import searching
from dragoman.decoding.rules import length_divisor
from dragoman.decoding.search import search
from dragoman.decoding.tracing import Continuation, Tokens, Trace
from dragoman.errors import UserError
from dragoman.explanation.subject import END_LABEL
from dragoman.recipe.decoding import Beam, Sample, TokenDecoding
from dragoman.records import EOS, Example, Hypothesis

Fate = Literal["answer", "finished", "cut", "went_on", "fell_out", "passed_over", "left_behind"]
"""What became of an answer so far:

    answer       it ended and has the best score
    finished     it ended, with a score that is beaten
    cut          it came to the length limit without an end, and finished answers go before it
    went_on      the search went on from it
    fell_out     the search had kept it, and at the next step all its continuations were beaten
    passed_over  it was never kept: better continuations filled the beam, or another token was drawn
    left_behind  the search kept it until it was done: it could not have come to a better score
"""


@dataclass(frozen=True)
class Node:
    """One more token behind a parent, the number of another node; None begins an answer.

    `log_prob` is the token's, `total` the sum from the beginning, in nats; `step` counts tokens from 1. What
    ended has the `score` that ranks answers. `lacked` is by how much it lost: of what fell out or was passed
    over, nats between its best continuation, or itself, and the last that was kept at that step; else the
    difference of its score (of what was left behind: if it had ended there at no cost) to that of the answer.
    `text` is the answer so far, where it went no further.
    """

    piece: str
    step: int
    parent: int | None
    log_prob: float
    total: float
    fate: Fate
    score: float | None = None
    lacked: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class BeamTree:
    """What a search considered: `nodes` parents first, those of a step by their totals; `width` rows wide.

    `answer` is the node that ends the answer, None where the search found none.
    """

    method: str
    width: int
    nodes: tuple[Node, ...]
    answer: int | None

    def line(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the nodes from the first token to this one."""
        found: list[int] = []
        at: int | None = number
        while at is not None:
            found.append(at)
            at = self.nodes[at].parent
        return tuple(reversed(found))

    @property
    def steps(self) -> int:
        """Tokens of the longest line."""
        return max((node.step for node in self.nodes), default=0)


def beam_tree(
    bundle: Bundle, example: Example, section: TokenDecoding | None = None, others: int = 3
) -> BeamTree:
    """Answer an example again, and return what was considered; `others` of each step that were not kept.

    It is the search of `decode`, in the recipe's way or another. Raises UserError where answers are not
    searched for by one beam: by CTC alone, in numbers, by risk, in groups or with phrases.
    """
    chosen = section or bundle.recipe.decoding
    if not isinstance(chosen, TokenDecoding):
        raise UserError(f"`{chosen.method}` has no one search to tell of; greedy or beam would")
    if isinstance(chosen, Beam) and (chosen.groups > 1 or chosen.phrases is not None):
        raise UserError(
            "the search of `decoding.groups` or `decoding.phrases` is not one beam to tell of; "
            "decoding.groups=1 and decoding.phrases=null would do"
        )
    source = padded([bundle.codecs.source.encode(example.source)]).to(bundle.device)
    model, within = searching(bundle, chosen)
    assert isinstance(within, TokenDecoding), "as it was asked"
    trace = Trace(others)
    with answering(model), torch.inference_mode():
        answers = search(model, source, within, trace=trace)[0]
    return tree_of(trace, answers[0], within, bundle.codecs.text)


def tree_of(trace: Trace, answer: Hypothesis, section: TokenDecoding, codec: TextCodec) -> BeamTree:
    """Put together what a trace says of the search that gave this answer."""
    ended = {one.tokens: one for one in trace.ended}
    kept = [{one.tokens for one in step if one.is_chosen} for step in trace.steps]
    continued = {tokens[:-1] for step in kept for tokens in step}
    lacks = _lacks(trace, section)
    numbers: dict[Tokens, int] = {}
    nodes: list[Node] = []
    for number, step in enumerate(trace.steps, 1):
        for one in sorted(step, key=lambda one: (not one.is_chosen, -one.total)):
            numbers[one.tokens] = len(nodes)
            fate = _fate(one, answer, ended, continued, number == len(trace.steps))
            hypothesis = ended.get(one.tokens)
            score = None if hypothesis is None else hypothesis.score
            nodes.append(
                Node(
                    END_LABEL if one.tokens[-1] == EOS else codec.pieces(one.tokens[-1:])[0],
                    number,
                    numbers.get(one.tokens[:-1]),
                    one.log_prob,
                    one.total,
                    fate,
                    score,
                    _lacked(one, fate, score, answer, lacks, section),
                    None if fate == "went_on" else codec.decode(one.tokens),
                )
            )
    return BeamTree(section.method, _width(section), tuple(nodes), numbers.get(answer.tokens))


def _width(section: TokenDecoding) -> int:
    match section:
        case Beam():
            return section.beam
        case Sample():
            return section.samples
        case _:
            return 1


def _fate(
    one: Continuation,
    answer: Hypothesis,
    ended: dict[Tokens, Hypothesis],
    continued: set[Tokens],
    is_last: bool,
) -> Fate:
    if not one.is_chosen:
        return "passed_over"
    if one.tokens == answer.tokens:
        return "answer"
    if one.tokens in ended:
        return "finished" if ended[one.tokens].is_finished else "cut"
    if one.tokens in continued:
        return "went_on"
    return "left_behind" if is_last else "fell_out"


def _lacks(trace: Trace, section: TokenDecoding) -> dict[Tokens, float]:
    """Return how far what was not kept stayed behind the last that was, and the least of each parent's.

    A draw beats nothing, so samples have none.
    """
    found: dict[Tokens, float] = {}
    for step in [] if isinstance(section, Sample) else trace.steps:
        last = min((one.total for one in step if one.is_chosen), default=None)
        if last is None:
            continue
        for one in step:
            if not one.is_chosen:
                lack, before = last - one.total, one.tokens[:-1]
                found[one.tokens] = lack
                found[before] = min(lack, found.get(before, lack))
    return found


def _lacked(
    one: Continuation,
    fate: Fate,
    score: float | None,
    answer: Hypothesis,
    lacks: dict[Tokens, float],
    section: TokenDecoding,
) -> float | None:
    match fate:
        case "passed_over" | "fell_out":
            return lacks.get(one.tokens)
        case "left_behind":
            power = section.length_penalty if isinstance(section, Beam) else 0.0
            return answer.score - one.total / float(length_divisor(len(one.tokens) + 1, power))
        case "finished":
            return None if score is None else answer.score - score
        case "answer" | "cut" | "went_on":
            return None
