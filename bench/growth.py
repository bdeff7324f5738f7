"""Curves of speed: training against batch, length, vocabulary, width; decoding against batch, beam, length.

    python bench/growth.py {training,decoding} [--quick]

Models of 3 + 3 Transformer layers, and of one bidirectional LSTM layer before one LSTM layer with `general`
attention, both of width 256 (feed-forward 1,024) and 8,000 symbols unless that is what changes; built by
dragoman's own builder, fed with made-up tokens of one length, so that nothing is padding. Training: a step is
the loss with label smoothing, its gradient, clipping and fused Adam, in the precision that `auto` finds here;
2,048 target tokens of 32 each unless that changes. Decoding: float32, 16 sources of 20 tokens, greedy,
answers held to 32 tokens. Each point: one call that does not count, then the median, lowest and highest
seconds of at least three calls. Prints a line of JSON: for each curve what changes and its points. `--quick`
measures small ends only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from dragoman.decoding.search import search
from dragoman.model.build import build_model
from dragoman.model.kernels import compute, hold_memory, resolve_precision
from dragoman.model.objectives import objective_loss
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.decoding import Beam, Greedy
from dragoman.recipe.model import Model
from dragoman.recipe.objectives import CrossEntropy
from dragoman.recipe.run import Adam
from dragoman.records import Batch, Port, Sequence
from dragoman.training.optimization import build_optimizer, gradient_norm

KINDS = ("transformer", "lstm")
WIDTH, VOCABULARY = 256, 8000
TOKENS, LENGTH = 2048, 32
SOURCES, SOURCE_LENGTH, ANSWER_LENGTH = 16, 20, 32
LEAST_CALLS, MOST_CALLS, ENOUGH_SECONDS = 3, 9, 1.5
FIRST_WORD = 4
BATCHES = [128, 256, 512, 1024, 2048, 4096, 8192]
LENGTHS = [16, 32, 64, 128, 256, 512, 1024]
VOCABULARIES = [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000]
WIDTHS = [64, 128, 256, 512, 1024]
DECODED_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
BEAMS = [1, 2, 4, 8, 16, 32]
ANSWER_LENGTHS = [16, 32, 64, 128, 256, 512]
QUICK_POINTS, QUICK_TOKENS = 2, 128
Curves = dict[str, dict[str, list[dict[str, float]]]]


def training_curves(points: int | None, tokens: int) -> Curves:
    """Return for each kind of model four curves: x, target tokens of a step, seconds of a step."""
    curves: Curves = {}
    for kind in KINDS:
        curves[kind] = {
            "batch": [_train(kind, n, n) for n in BATCHES[:points]],
            "length": [_train(kind, n, tokens, length=n) for n in LENGTHS[:points]],
            "vocabulary": [_train(kind, n, tokens, vocabulary=n) for n in VOCABULARIES[:points]],
            "width": [_train(kind, n, tokens, width=n) for n in WIDTHS[:points]],
        }
    return curves


def decoding_curves(points: int | None) -> Curves:
    """Return for each kind of model three curves: x, tokens of a call in its answers, seconds of a call."""
    curves: Curves = {}
    for kind in KINDS:
        model = _model(kind, WIDTH, VOCABULARY).eval()
        curves[kind] = {
            "batch": [_decode(model, n, sources=n) for n in DECODED_BATCHES[:points]],
            "beam": [_decode(model, n, beam=n) for n in BEAMS[:points]],
            "length": [_decode(model, n, length=n) for n in ANSWER_LENGTHS[:points]],
        }
    return curves


def _train(
    kind: str,
    x: int,
    tokens: int,
    *,
    length: int = LENGTH,
    vocabulary: int = VOCABULARY,
    width: int = WIDTH,
) -> dict[str, float]:
    device = torch.device("cpu")
    precision, _ = resolve_precision("auto", device)
    model = _model(kind, width, vocabulary).train()
    optimizer = build_optimizer(model, Adam(kind="adam"))
    rows = max(1, tokens // length)
    batch = Batch(_made_up(rows, length, vocabulary), _made_up(rows, length, vocabulary), ("",) * rows)
    section = CrossEntropy(kind="cross_entropy")

    def step() -> None:
        with compute(precision, device):
            loss = objective_loss(model, batch, section)
        torch.autograd.backward(loss.total / loss.tokens)
        gradient_norm(model, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return _timed(x, rows * length, step)


def _decode(
    model: Seq2Seq, x: int, *, sources: int = SOURCES, beam: int = 1, length: int = ANSWER_LENGTH
) -> dict[str, float]:
    source = _made_up(sources, SOURCE_LENGTH, VOCABULARY)
    limits: dict[str, Any] = {"min_length": length - 1, "max_length": length, "max_extra": length}
    section = Greedy(method="greedy", **limits) if beam == 1 else Beam(method="beam", beam=beam, **limits)
    return _timed(x, sources * length, lambda: search(model, source, section))


def _model(kind: str, width: int, vocabulary: int) -> Seq2Seq:
    """Build a model with fresh weights, the same in every process."""
    torch.manual_seed(1)
    if kind == "transformer":
        part = {"kind": kind, "width": width, "heads": width // 64, "feedforward_width": 4 * width}
        given: dict[str, Any] = {"encoder": part, "decoder": part}
    else:
        part = {"kind": kind, "width": width, "layers": 1}
        given = {"encoder": part, "decoder": {**part, "attention": {"kind": "general"}}}
    port = Port("tokens", vocabulary)
    return build_model(Model.model_validate(given), port, port)


def _made_up(rows: int, length: int, vocabulary: int) -> Sequence:
    generator = torch.Generator().manual_seed(rows * length)
    tokens_BS = torch.randint(FIRST_WORD, vocabulary, (rows, length), generator=generator)
    return Sequence(tokens_BS, torch.full((rows,), length))


def _timed(x: int, tokens: int, call: Callable[[], object]) -> dict[str, float]:
    call()
    seconds: list[float] = []
    while len(seconds) < LEAST_CALLS or (len(seconds) < MOST_CALLS and sum(seconds) < ENOUGH_SECONDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return {
        "x": x,
        "tokens": tokens,
        "seconds": statistics.median(seconds),
        "lowest": min(seconds),
        "highest": max(seconds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["training", "decoding"])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    hold_memory()
    points, tokens = (QUICK_POINTS, QUICK_TOKENS) if given.quick else (None, TOKENS)
    curves = training_curves(points, tokens) if given.what == "training" else decoding_curves(points)
    print(json.dumps(curves))


if __name__ == "__main__":
    main()
