"""How much each source step counts for each target step, by six methods.

Shapes: T target steps, S source steps (places), H heads, R rows: variants of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from dragoman.errors import UserError
from dragoman.explanation.gradients import contrast, gradient_input
from dragoman.explanation.integrated import integrated_gradients
from dragoman.explanation.occlusion import drops, spans_of
from dragoman.explanation.reads import heads_of, mean_of, rolled_out
from dragoman.explanation.subject import Subject

Method = Literal["attention", "rollout", "gradient_input", "integrated_gradients", "occlusion", "contrastive"]
METHODS: tuple[Method, ...] = (
    "attention",
    "rollout",
    "gradient_input",
    "integrated_gradients",
    "occlusion",
    "contrastive",
)
NAMES: Mapping[Method, str] = {
    "attention": "attention",
    "rollout": "attention rollout",
    "gradient_input": "gradient × input",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
    "contrastive": "contrast",
}
"""What people call them."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each source step counts for each target step, by one method.

    Attention is shares that sum to one a row; other methods are signed (`is_signed`): in nats of the token's
    log-probability, or in scaled units of a forecast. `error_T` is by how much integrated gradients miss what
    they should sum to. `part` says which part it is of: "mean" or "layer 2 head 3" of attention, what is
    contrasted with what.
    """

    method: Method
    weights_TS: NDArray[np.float64]
    is_signed: bool
    error_T: NDArray[np.float64] | None = None
    part: str = ""


def attribute(
    subject: Subject,
    method: Method,
    *,
    points: int | None = None,
    width: int | Literal["words"] | None = None,
    step: int | None = None,
    foil: str | None = None,
) -> Attribution:
    """Attribute an answer to the steps of its source.

    `points` are those of the path of integrated gradients (64 by default, and more where these do not do);
    `width` of occlusion says how many neighbouring steps are hidden at once, or whole words (1 by default);
    `step` and `foil` are of contrast: the target step from 0, of which there is then one row, and the piece
    of text that might have stood there. By default every step is contrasted with the most probable other
    token. UserError for an option of another method, and where a model or source does not have what a method
    looks at.
    """
    _check(method, points=points, width=width, step=step, foil=foil)
    match method:
        case "attention":
            return Attribution(method, mean_of(heads_of(subject)), False, part="mean")
        case "rollout":
            return Attribution(method, rolled_out(subject), False, part="rollout")
        case "gradient_input":
            return Attribution(method, gradient_input(subject), True)
        case "integrated_gradients":
            found = integrated_gradients(subject, points)
            return Attribution(method, found.weights_TP, True, found.error_T)
        case "occlusion":
            spans = spans_of(subject, 1 if width is None else width)
            part = "words" if width == "words" else f"{width} steps" if width not in (None, 1) else ""
            return Attribution(method, drops(subject, spans), True, part=part)
        case "contrastive":
            weights_TS, part = contrast(subject, step, foil)
            return Attribution(method, weights_TS, True, part=part)
        case _:
            assert_never(method)


def attention_parts(subject: Subject) -> list[Attribution]:
    """Return where each head of each layer of the decoder looks; UserError where it attends to nothing."""
    return [
        Attribution("attention", weights_HTS[head], False, part=f"layer {layer} head {head + 1}")
        for layer, weights_HTS in enumerate(heads_of(subject), 1)
        for head in range(len(weights_HTS))
    ]


_OPTIONS: dict[str, Method] = {
    "points": "integrated_gradients",
    "width": "occlusion",
    "step": "contrastive",
    "foil": "contrastive",
}


def _check(method: Method, **options: object) -> None:
    """Refuse options of other methods."""
    complaints = [
        f"`{name}` has no effect on {method}: it is an option of {_OPTIONS[name]}"
        for name, value in options.items()
        if value is not None and _OPTIONS[name] != method
    ]
    if complaints:
        raise UserError("\n".join(complaints))
