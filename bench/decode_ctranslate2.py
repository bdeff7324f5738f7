"""Answer with CTranslate2 and the weights of a bundle, and print how fast that goes.

    python bench/decode_ctranslate2.py WORK {float32,int8} {1,5}

Reads what `decode_export.py` wrote. Prints a line of JSON: sentences a second of all sentences, four times,
in one call after one to warm up (two workers of one thread), milliseconds of one sentence alone (median of
50, one worker of one thread), and the ids of all answers.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec

CONTROL = ["<pad>", "<unk>", "<s>", "</s>"]
MAX_BATCH = 32
ALONE, TIMES = 50, 4


def main(work: Path, kind: str, beam: int) -> None:
    """Convert, time and print."""
    folder = work / f"ctranslate2-{kind}"
    spec = _spec(work)
    spec.validate()
    spec.optimize(quantization=kind)
    folder.mkdir(exist_ok=True)
    spec.save(str(folder))
    source = [_names(line.split()[:-1]) for line in (work / "source.ids").read_text().splitlines()]
    options = {"beam_size": beam, "max_decoding_length": 80}
    many = ctranslate2.Translator(str(folder), compute_type=kind, inter_threads=2, intra_threads=1)
    many.translate_batch(source, max_batch_size=MAX_BATCH, **options)
    start = time.perf_counter()
    found = many.translate_batch(source * TIMES, max_batch_size=MAX_BATCH, **options)
    seconds = time.perf_counter() - start
    alone = ctranslate2.Translator(str(folder), compute_type=kind, inter_threads=1, intra_threads=1)
    times = []
    for sentence in source[:ALONE]:
        start = time.perf_counter()
        alone.translate_batch([sentence], **options)
        times.append(time.perf_counter() - start)
    answers = [[token.removeprefix("t") for token in answer.hypotheses[0]] for answer in found[: len(source)]]
    print(
        json.dumps(
            {
                "sentences_per_second": TIMES * len(source) / seconds,
                "latency_ms": statistics.median(times) * 1e3,
                "answers": [" ".join(answer) for answer in answers],
            }
        )
    )


def _names(ids: list[str]) -> list[str]:
    return [f"t{number}" for number in ids]


def _spec(work: Path) -> transformer_spec.TransformerSpec:
    weights, size = np.load(work / "weights.npz"), json.loads((work / "model.json").read_text())
    spec = transformer_spec.TransformerSpec.from_config(
        tuple(size["layers"]), size["heads"], pre_norm=True, activation=common_spec.Activation.RELU
    )
    table = weights["source_frontend.weight"]
    for part, name in ((spec.encoder, "encoder"), (spec.decoder, "decoder")):
        embedding = part.embeddings[0] if isinstance(part.embeddings, list) else part.embeddings
        embedding.weight = table
        part.scale_embeddings = True
        _norm(part.layer_norm, weights, f"{name}.norm")
        for number, layer in enumerate(part.layer):
            _layer(layer, weights, f"{name}.layers.{number}", is_decoder=name == "decoder")
    spec.decoder.start_from_zero_embedding = False
    spec.decoder.projection.weight = table
    names = CONTROL + _names([str(number) for number in range(4, size["vocabulary"])])
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    spec.config.add_source_eos = True
    return spec


def _layer(layer: Any, weights: Any, name: str, is_decoder: bool) -> None:
    _norm(layer.self_attention.layer_norm, weights, f"{name}.around_hear.norm")
    _linear(layer.self_attention.linear[0], weights, f"{name}.hear.inward")
    _linear(layer.self_attention.linear[1], weights, f"{name}.hear.outward")
    if is_decoder:
        _norm(layer.attention.layer_norm, weights, f"{name}.around_read.norm")
        _linear(layer.attention.linear[0], weights, f"{name}.read.query")
        _linear(layer.attention.linear[1], weights, f"{name}.read.memory")
        _linear(layer.attention.linear[2], weights, f"{name}.read.outward")
    _norm(layer.ffn.layer_norm, weights, f"{name}.around_feed.norm")
    _linear(layer.ffn.linear_0, weights, f"{name}.feed.inward")
    _linear(layer.ffn.linear_1, weights, f"{name}.feed.outward")


def _norm(norm: Any, weights: Any, name: str) -> None:
    norm.gamma, norm.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


def _linear(linear: Any, weights: Any, name: str) -> None:
    linear.weight, linear.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
