"""What a step makes smaller, and what development examples are scored with."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.recipe.objectives import CrossEntropy, Ctc, Objective
from dragoman.records import Batch


def objective_loss(model: Seq2Seq, batch: Batch, section: Objective) -> Loss:
    """Return the loss of a batch as a sum over its target steps, so that batches of a step add up."""
    match section:
        case CrossEntropy(ctc_weight=0):
            return model.loss(batch, section.label_smoothing)
        case CrossEntropy(ctc_weight=weight):
            memory = model.encode(batch.source)
            loss = model.loss_of(memory, batch.target, section.label_smoothing)
            by_ctc = model.ctc_loss_of(memory, batch.target)
            return Loss((1 - weight) * loss.total + weight * by_ctc.total, loss.nll, loss.tokens)
        case Ctc():
            total = model.ctc_loss_of(model.encode(batch.source), batch.target).total
            return Loss(total, total.detach(), target_steps([batch]))


def plain(section: Objective) -> Objective:
    """Return an objective as it is scored: without smoothing, and attention without the help of CTC."""
    if isinstance(section, CrossEntropy):
        return section.model_copy(update={"label_smoothing": 0.0, "ctc_weight": 0.0})
    return section


def target_steps(batches: Sequence[Batch]) -> int:
    """Count the target steps, end symbols included, that the loss of these batches sums over."""
    return sum(int(batch.target.lengths_B.sum()) for batch in batches)
