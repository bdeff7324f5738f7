"""What a step makes smaller."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.recipe.run import CrossEntropy, Objective
from dragoman.records import Batch


def objective_loss(model: Seq2Seq, batch: Batch, section: Objective) -> Loss:
    """Return the loss of a batch as a sum over its target tokens, so that batches of a step add up."""
    match section:
        case CrossEntropy():
            return model.loss(batch, section.label_smoothing)


def target_tokens(batches: Sequence[Batch]) -> int:
    """Count the target tokens, end symbols included, that the loss of these batches sums over."""
    return sum(int(batch.target.lengths_B.sum()) for batch in batches)
