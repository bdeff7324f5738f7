"""The loss of tokens by the cross-entropy, with all that a recipe may put beside it.

Shapes: B rows, T target steps, D width, X real positions.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dragoman.model.contracts import Decoded
from dragoman.model.distributions import divergence
from dragoman.model.guided_alignment import alignment_loss
from dragoman.model.heads import VocabularyHead
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.recipe.objectives import CrossEntropy
from dragoman.records import Batch, Sequence


def token_loss(model: Seq2Seq, batch: Batch, section: CrossEntropy) -> Loss:
    """Return the loss of a batch, summed over its target tokens.

    Beside the cross-entropy stand R-Drop, what attention should read, and what CTC makes of the same source.
    With R-Drop the model sees each row twice, and the loss is half of the paper's: the scale of one pass.
    """
    passes = 2 if section.r_drop else 1
    given = _twice(batch) if section.r_drop else batch
    guide, weight = section.guided_alignment, section.ctc_weight
    memory = model.encode(given.source)
    decoded = model.teach(memory, given.target, reads=guide > 0)
    loss = model.loss_after(decoded, given.target, section.label_smoothing)
    total = loss.total
    if section.r_drop:
        total = total + section.r_drop / 2 * _divergence_of_passes(model, decoded, batch.target)
    if guide and given.links_L3 is not None:
        assert decoded.reads_BTS is not None, "the recipe sees to it that the decoder attends"
        total = total + guide * alignment_loss(decoded.reads_BTS, given.links_L3)
    if weight:
        total = (1 - weight) * total + weight * model.ctc_loss_of(memory, given.target).total
    return Loss(total / passes, loss.nll / passes, loss.tokens // passes)


# --- R-Drop


def _twice(batch: Batch) -> Batch:
    """Put a batch below itself: row b again as row B + b."""
    rows, links_L3 = len(batch.ids), batch.links_L3
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
