"""What changes with the step, as pure functions of it: learning rates and scheduled sampling.

The plateau's factor is state and comes from `watching`.
"""

from __future__ import annotations

import math

from dragoman.recipe.objectives import Objective, Told
from dragoman.recipe.run import Constant, Decay, InverseSqrt, Plateau, Schedule


def rate_factor(section: Schedule, step: int, max_steps: int | None, plateau_factor: float = 1.0) -> float:
    """Return the share of the recipe's learning rate that step 1, 2, ... uses.

    The recipe's learning rate is the highest one. `max_steps` ends a decay that names no end of its own;
    `plateau_factor` is what the plateaus so far have left.
    """
    match section:
        case Constant():
            return _warm(step, section.warmup_steps)
        case InverseSqrt():
            return min(step / section.warmup_steps, math.sqrt(section.warmup_steps / step))
        case Decay():
            return _warm(step, section.warmup_steps) * _fallen(section, step, max_steps)
        case Plateau():
            return _warm(step, section.warmup_steps) * plateau_factor


def objective_at(section: Objective, step: int) -> Objective:
    """Return the objective that step 1, 2, ... uses: scheduled sampling rises in a line."""
    if not isinstance(section, Told) or not section.sampling_warmup_steps:
        return section
    share = section.scheduled_sampling * _warm(step, section.sampling_warmup_steps)
    return section.model_copy(update={"scheduled_sampling": share})


def _warm(step: int, warmup_steps: int) -> float:
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def _fallen(section: Decay, step: int, max_steps: int | None) -> float:
    end = section.steps or max_steps
    assert end is not None, "the recipe refuses a decay without an end"
    length = max(1, end - section.warmup_steps)
    share = min(1.0, max(0.0, (step - section.warmup_steps) / length))
    left = 1 - share if section.kind == "linear" else (1 + math.cos(math.pi * share)) / 2
    return section.final_fraction + (1 - section.final_fraction) * left
