"""Optimizers: parameters in groups, state as named tensors and numbers, gradients clipped."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dragoman.errors import CheckpointError
from dragoman.recipe.run import SGD, Adafactor, Adam, Optimizer


def build_optimizer(model: nn.Module, section: Optimizer) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over a model's parameters; biases and norms (vectors) do not decay."""
    groups = _groups(model, section.weight_decay)
    match section:
        case SGD():
            return torch.optim.SGD(
                groups, lr=section.learning_rate, momentum=section.momentum, nesterov=section.nesterov
            )
        case Adam():
            kind = torch.optim.AdamW if section.kind == "adamw" else torch.optim.Adam
            device = next(model.parameters()).device
            return kind(
                groups,
                lr=section.learning_rate,
                betas=(section.beta1, section.beta2),
                eps=section.epsilon,
                fused=device.type in ("cpu", "cuda"),
            )
        case Adafactor():
            return torch.optim.Adafactor(groups, lr=section.learning_rate)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use a learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def gradient_norm(model: nn.Module, clip_norm: float | None) -> float:
    """Return the norm of the whole gradient, and scale it down to `clip_norm` where it is larger."""
    limit = float("inf") if clip_norm is None else clip_norm
    return float(nn.utils.clip_grad_norm_(model.parameters(), limit))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return all that an optimizer remembers, each tensor named `<parameter>.<key>`."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"{name}.{key}"] = torch.as_tensor(value)
    return tensors


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned, to the bit.

    Raises CheckpointError where a tensor belongs to no parameter.
    """
    is_fused = any(group.get("fused") for group in optimizer.param_groups)
    left = dict(tensors)
    for name, parameter in model.named_parameters():
        keys = [full for full in left if full.rpartition(".")[0] == name]
        state = {full.rpartition(".")[2]: left.pop(full) for full in keys}
        if state:
            optimizer.state[parameter] = {
                key: _placed(key, value, parameter, is_fused) for key, value in state.items()
            }
    if left:
        raise CheckpointError(
            f"the optimizer's state names tensors that this model lacks: {sorted(left)[:5]}"
        )


def _placed(key: str, value: Tensor, parameter: Tensor, is_fused: bool) -> Tensor:
    """Copy into memory of torch's own: a loaded file aligns differently, and sums depend on alignment.

    Counters of steps stay on the processor, where all but fused optimizers keep them.
    """
    device = parameter.device if key != "step" or is_fused else torch.device("cpu")
    return value.detach().clone().to(device)
