"""The loss of tokens by the cross-entropy, with all that a recipe may put beside it.

Shapes: B rows, T target steps, D width, X real positions.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dragoman.model.contracts import Decoded, Memory
from dragoman.model.distributions import divergence, likeliest
from dragoman.model.frontends import tokens_before
from dragoman.model.guided_alignment import alignment_loss
from dragoman.model.heads import VocabularyHead
from dragoman.model.minimum_risk import risks
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.recipe.objectives import CrossEntropy
from dragoman.records import BOS, EOS, PAD, UNKNOWN, Batch, Sequence


def has_options(section: CrossEntropy) -> bool:
    """Whether anything stands beside the cross-entropy: ensembles have a loss only where nothing does."""
    shares = section.ctc_weight, section.guided_alignment, section.r_drop, section.scheduled_sampling
    return any(shares) or section.minimum_risk is not None


def token_loss(model: Seq2Seq, batch: Batch, section: CrossEntropy) -> Loss:
    """Return the loss of a batch, summed over its target tokens.

    Beside the cross-entropy stand R-Drop, the risk of candidates where the batch has some, what attention
    should read, and what CTC makes of the same source. With R-Drop the model sees each row twice, and the
    loss is half of the paper's: the scale of one pass.
    """
    passes = 2 if section.r_drop else 1
    given = _twice(batch) if section.r_drop else batch
    memory = model.encode(given.source)
    decoded = _decoded(model, memory, batch, section, passes)
    loss = model.loss_after(decoded, given.target, section.label_smoothing)
    total = loss.total
    if section.r_drop:
        total = total + section.r_drop / 2 * _divergence_of_passes(model, decoded, batch.target)
    if section.guided_alignment and given.links_L3 is not None:
        assert decoded.reads_BTS is not None, "the recipe sees to it that the decoder attends"
        total = total + section.guided_alignment * alignment_loss(decoded.reads_BTS, given.links_L3)
    if section.minimum_risk is not None and batch.candidates is not None:
        risk = passes * _risk(model, _first(memory, batch), batch, section.minimum_risk.sharpness)
        total = (1 - section.minimum_risk.weight) * total + section.minimum_risk.weight * risk
    if section.ctc_weight:
        ctc = model.ctc_loss_of(memory, given.target).total
        total = (1 - section.ctc_weight) * total + section.ctc_weight * ctc
    return Loss(total / passes, loss.nll / passes, loss.tokens // passes)


def _first(memory: Memory, batch: Batch) -> Memory:
    """Return what was read of each row for the first time."""
    rows = len(batch.target.lengths_B)
    is_once = rows == len(memory.mask_NS)
    return memory if is_once else memory.keep(torch.arange(rows, device=memory.mask_NS.device))


def _risk(model: Seq2Seq, memory: Memory, batch: Batch, sharpness: float) -> Tensor:
    """Return the summed risk of sources, each as often as its target has tokens, as corpora weigh it."""
    assert batch.candidates is not None, "the caller has looked"
    return (risks(model, memory, batch.candidates, sharpness) * batch.target.lengths_B).sum()


# --- scheduled sampling


def _decoded(model: Seq2Seq, memory: Memory, batch: Batch, section: CrossEntropy, passes: int) -> Decoded:
    """Return outputs for each target step, given the reference before it, or in part the model's own."""
    first, told_BT = _first(memory, batch), batch.target.values
    model.check_lengths(first, batch.target)
    if section.scheduled_sampling:
        told_BT = _with_own(model, first, batch.target, section.scheduled_sampling)
    inputs_BT = tokens_before(told_BT.repeat(passes, 1))
    return model.advance(inputs_BT, model.start(memory), reads=section.guided_alignment > 0)[0]


@torch.no_grad()
def _with_own(model: Seq2Seq, memory: Memory, target: Sequence, share: float) -> Tensor:
    """Return the target with a share of its tokens replaced by the likeliest ones of a first pass.

    A coin for each token decides, from torch's global generator. The first pass is told the reference
    (Mihaylova and Martins 2019). What no answer goes on after stays out: where the model would end the
    reference stands, and so does the reference's own end.
    """
    assert isinstance(model.head, VocabularyHead), "numbers are sampled step by step"
    gold_BT, mask_BT = target.values, target.mask_BS
    outputs_BTD = model.follow(memory, target).outputs_BTD
    own_BT = gold_BT.clone()
    own_BT[mask_BT] = likeliest(model.head, outputs_BTD[mask_BT], (PAD, UNKNOWN, BOS))
    is_own_BT = torch.rand(gold_BT.shape, device=gold_BT.device) < share
    is_end_BT = (own_BT == EOS) | (gold_BT == EOS)
    return torch.where(is_own_BT & ~is_end_BT, own_BT, gold_BT)


# --- R-Drop


def _twice(batch: Batch) -> Batch:
    """Put a batch below itself: row b again as row B + b."""
    rows, links_L3 = len(batch.target.lengths_B), batch.links_L3
    if links_L3 is not None:
        links_L3 = torch.cat([links_L3, links_L3 + links_L3.new_tensor([rows, 0, 0])])
    return Batch(_repeated(batch.source), _repeated(batch.target), batch.ids * 2, links_L3)


def _repeated(sequence: Sequence) -> Sequence:
    return replace(
        sequence,
        values=torch.cat([sequence.values, sequence.values]),
        lengths_B=torch.cat([sequence.lengths_B, sequence.lengths_B]),
    )


def _divergence_of_passes(model: Seq2Seq, decoded: Decoded, target: Sequence) -> Tensor:
    """Return KL(p‖q) + KL(q‖p) of both passes, summed over real tokens (Liang et al. 2021)."""
    assert isinstance(model.head, VocabularyHead), "numbers have no distribution over symbols"
    one_BTD, other_BTD = decoded.outputs_BTD.chunk(2)
    return divergence(model.head, one_BTD[target.mask_BS], other_BTD[target.mask_BS])
