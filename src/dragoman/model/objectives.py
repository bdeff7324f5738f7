"""What a step makes smaller, and what development examples are scored with.

Shapes: B rows, T target steps, P steps of a patch, F variables, Q what is said of one number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.model.roll_out import roll_out
from dragoman.model.seq2seq import Loss, Seq2Seq
from dragoman.model.token_losses import has_options, token_loss
from dragoman.recipe.objectives import CROSS_ENTROPY, CrossEntropy, Ctc, NumericObjective, Objective
from dragoman.records import Batch


def objective_loss(model: Seq2Seq, batch: Batch, section: Objective) -> Loss:
    """Return the loss of a batch as a sum over its target steps, so that batches of a step add up."""
    match section:
        case CrossEntropy() if not has_options(section):
            return model.loss(batch, section.label_smoothing)
        case CrossEntropy():
            return token_loss(model, batch, section)
        case Ctc():
            total = model.ctc_loss_of(model.encode(batch.source), batch.target).total
            return Loss(total, total.detach(), target_steps([batch]))
        case _:
            return _number_loss(model, batch, section)


def plain(section: Objective) -> Objective:
    """Return an objective as it is scored: by itself, and given the reference before each step."""
    match section:
        case CrossEntropy():
            return CROSS_ENTROPY.model_copy(update={"label_smoothing": 0.0})
        case Ctc():
            return section
        case _:
            return section.model_copy(update={"scheduled_sampling": 0.0})


def target_steps(batches: Sequence[Batch]) -> int:
    """Count the target steps, end symbols included, that the loss of these batches sums over."""
    return sum(int(batch.target.lengths_B.sum()) for batch in batches)


def _number_loss(model: Seq2Seq, batch: Batch, section: NumericObjective) -> Loss:
    if section.scheduled_sampling:
        said_BTFQ = _said_by_itself(model, batch, section.scheduled_sampling)
    else:
        said_BTFQ = model.numbers(model(batch).outputs_BTD, model.line(batch.source))
    total = model.number_head.loss(said_BTFQ, batch.target)
    return Loss(total, total.detach(), target_steps([batch]))


def _said_by_itself(model: Seq2Seq, batch: Batch, share: float) -> Tensor:
    """Return what is said of numbers where a share of the steps is told the model's own point forecasts.

    A coin for each step of each row decides (Bengio et al. 2015), from torch's global generator. Gradients do
    not flow through what steps are told.
    """
    targets_BTF, patch = batch.target.values, model.frame_inputs.patch
    steps = targets_BTF.shape[1]
    whole_BTF = F.pad(targets_BTF, (0, 0, 0, -steps % patch), value=torch.nan)

    def tell(said_BPFQ: Tensor, first: int) -> Tensor:
        own_BPF = model.number_head.point(said_BPFQ).detach()
        is_own_B11 = torch.rand(len(own_BPF), 1, 1, device=own_BPF.device) < share
        return torch.where(is_own_B11, own_BPF, whole_BTF[:, first : first + patch].to(own_BPF.dtype))

    memory = model.encode(batch.source)
    model.check_lengths(memory, batch.target)
    return roll_out(model, batch.source, memory, steps, tell).said_BTFQ
