"""Print how short a training step of the benchmark's Transformer can be on this machine, as JSON.

    python bench/floor.py

A step of 4,096 target tokens multiplies matrices of a few shapes. Each product is measured alone, on all
threads, its factors ready in the type it is computed in: by torch, and by the kernels of training where they
can be had; what counts is the shortest of many times of the faster of the two. Their sum is the time that no
program stays below that multiplies with these libraries, were all else free. Of what else a step must do
three parts are measured alone in the same way: attention and the softmax of the loss with its gradient, by
our kernels, and the optimizer, torch's fused AdamW. Left out are norms, dropout, residual sums, embeddings,
casts, sums of gradients over the uses of one weight, and reading the batch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from timing import shortest

from dragoman.model.kernels import hold_memory
from dragoman.model.passes import softmax_pull
from dragoman.model.products import add_weight_gradients, multiply, pack_inputs, pack_outputs
from dragoman.model.short_attention import attend_joined
from dragoman.native.training import bf16_kernels, fp32_kernels

TOKENS = 4096
SOURCES = 0.969
"""Source tokens to a target token in Multi30k's training set, each side with its end symbol."""
LENGTH = 16
"""Tokens of a sentence, nearly."""
WIDTH, INNER, LAYERS, VOCABULARY = 256, 1024, 3, 7792
ROUNDS = 30
Shape = tuple[int, int, int]
"""Rows, inputs and outputs of a map."""


def main() -> None:
    """Measure and print seconds of a step."""
    hold_memory()
    shapes = Counter(_shapes())
    found = {"threads": torch.get_num_threads(), "tokens": TOKENS}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found[f"products_{name}"] = sum(times * _least(shape, dtype) for shape, times in shapes.items())
    print(json.dumps({**found, **_others()}))


def _shapes() -> Iterator[Shape]:
    """Yield the maps of a step; attention itself multiplies little and is left out."""
    sources = round(TOKENS * SOURCES)
    for rows in (sources, TOKENS):
        for _ in range(LAYERS):
            yield rows, WIDTH, 3 * WIDTH
            yield rows, WIDTH, WIDTH
            yield rows, WIDTH, INNER
            yield rows, INNER, WIDTH
    for _ in range(LAYERS):  # attention to the source
        yield TOKENS, WIDTH, WIDTH
        yield sources, WIDTH, 2 * WIDTH
        yield TOKENS, WIDTH, WIDTH
    yield TOKENS, WIDTH, VOCABULARY


def _least(shape: Shape, dtype: torch.dtype) -> float:
    """Return seconds of a map's three products: forwards, to its inputs and to its weight."""
    rows, inputs, outputs = shape
    x, pull = torch.randn(rows, inputs).to(dtype), torch.randn(rows, outputs).to(dtype)
    weight = torch.randn(outputs, inputs)
    low = weight.to(dtype)
    y, of_x = torch.empty(rows, outputs, dtype=dtype), torch.empty(rows, inputs, dtype=dtype)
    of_weight = torch.empty(outputs, inputs, dtype=dtype)
    products: list[list[Callable[[], object]]] = [
        [lambda: torch.mm(x, low.t(), out=y)],
        [lambda: torch.mm(pull, low, out=of_x)],
        [lambda: torch.mm(pull.t(), x, out=of_weight)],
    ]
    if (bf16_kernels() if dtype is torch.bfloat16 else fp32_kernels()) is not None:
        forwards, backwards = pack_outputs(weight, dtype), pack_inputs(weight, dtype)
        sums = torch.empty(outputs, inputs)
        products[0].append(lambda: multiply(x, forwards, y))
        products[1].append(lambda: multiply(pull, backwards, of_x))
        products[2].append(lambda: add_weight_gradients(pull, x, sums, adds=0))
    return sum(min(map(_best, ways)) for ways in products)


def _others() -> dict[str, float]:
    """Return seconds of what is measured beside products; what has no kernel here is left out."""
    found = {"optimizer": _optimizer()}
    if bf16_kernels() is not None:
        found["attention"] = 3 * LAYERS * _attention()
        found["softmax"] = _softmax()
    return found


def _attention() -> float:
    sentences, heads = TOKENS // LENGTH, WIDTH // 64
    joined = torch.randn(sentences, LENGTH, 3, heads, 64).bfloat16().requires_grad_()
    mask = torch.ones(sentences, 1, 1, LENGTH, dtype=torch.bool)
    pull = torch.randn(sentences, heads, LENGTH, 64).bfloat16()
    return _best(lambda: attend_joined(joined, mask, False, 0.1).backward(pull))


def _softmax() -> float:
    """Return seconds for all tokens, of which so many are looked at together as the loss takes at a time."""
    rows = 256
    logits = torch.randn(rows, VOCABULARY).bfloat16()
    gold = torch.randint(VOCABULARY, (rows,))
    return TOKENS / rows * _best(lambda: softmax_pull(logits, None, gold, 0.1, True))


def _optimizer() -> float:
    weights = VOCABULARY * WIDTH + LAYERS * (12 * WIDTH**2 + 4 * WIDTH * INNER)
    weight = torch.nn.Parameter(torch.randn(weights))
    weight.grad = torch.randn(weights)
    return _best(torch.optim.AdamW([weight], fused=True).step)


def _best(call: Callable[[], object]) -> float:
    return shortest(call, ROUNDS)


if __name__ == "__main__":
    main()
