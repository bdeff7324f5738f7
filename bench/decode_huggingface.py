"""Answer with Hugging Face's `generate` and the weights of a bundle, and print how fast that goes.

    python bench/decode_huggingface.py WORK {1,5}

The model is of Hugging Face's Pegasus type, which is the same Transformer: pre-norm, ReLU, sinusoidal
positions. Reads what `decode_export.py` wrote; prints a line of JSON as `decode_ctranslate2.py` does, of
batches of 64 sentences of similar length on all threads, and of one sentence on one.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PegasusConfig, PegasusForConditionalGeneration

PAD, BOS, EOS = 0, 2, 3
ALONE, BATCH, LONGEST = 50, 64, 80


def main(work: Path, beam: int) -> None:
    """Load, time and print."""
    model = _model(work)
    source = [
        [int(number) for number in line.split()] for line in (work / "source.ids").read_text().splitlines()
    ]
    order = sorted(range(len(source)), key=lambda line: len(source[line]))
    answers: list[str] = [""] * len(source)
    _answer(model, source[:BATCH], beam)
    start = time.perf_counter()
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        for line, answer in zip(batch, _answer(model, [source[line] for line in batch], beam), strict=True):
            answers[line] = answer
    seconds = time.perf_counter() - start
    torch.set_num_threads(1)
    times = []
    for sentence in source[:ALONE]:
        begin = time.perf_counter()
        _answer(model, [sentence], beam)
        times.append(time.perf_counter() - begin)
    print(
        json.dumps(
            {
                "sentences_per_second": len(source) / seconds,
                "latency_ms": statistics.median(times) * 1e3,
                "answers": answers,
            }
        )
    )


@torch.inference_mode()
def _answer(model: Any, sources: list[list[int]], beam: int) -> list[str]:
    rows = [torch.tensor(row) for row in sources]
    inputs = torch.nn.utils.rnn.pad_sequence(rows, True, PAD)
    found = model.generate(
        input_ids=inputs,
        attention_mask=(inputs != PAD).long(),
        num_beams=beam,
        do_sample=False,
        max_length=LONGEST,
        length_penalty=1.0,
    )
    return [" ".join(str(token) for token in row if token not in (PAD, BOS, EOS)) for row in found.tolist()]


def _model(work: Path) -> Any:
    weights, size = np.load(work / "weights.npz"), json.loads((work / "model.json").read_text())
    width = size["width"]
    config = PegasusConfig(
        vocab_size=size["vocabulary"],
        d_model=width,
        encoder_layers=size["layers"][0],
        decoder_layers=size["layers"][1],
        encoder_attention_heads=size["heads"],
        decoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["feedforward_width"],
        decoder_ffn_dim=size["feedforward_width"],
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=256,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
    )
    model = PegasusForConditionalGeneration(config).eval()
    state = {name: torch.from_numpy(array) for name, array in _renamed(weights)}
    table = state["model.shared.weight"]
    for side in ("encoder", "decoder"):
        state[f"model.{side}.embed_tokens.weight"] = table
        state[f"model.{side}.embed_positions.weight"] = _positions(256, width)
    state["lm_head.weight"] = table
    state["final_logits_bias"] = torch.zeros(1, size["vocabulary"])
    model.load_state_dict(state)
    return model


def _renamed(weights: Any) -> list[tuple[str, np.ndarray]]:
    """Give arrays the names of Hugging Face's parts; maps that lie side by side in ours are cut apart."""
    parts = {
        "hear.inward": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "hear.outward": ["self_attn.out_proj"],
        "around_hear.norm": ["self_attn_layer_norm"],
        "read.query": ["encoder_attn.q_proj"],
        "read.memory": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
        "read.outward": ["encoder_attn.out_proj"],
        "around_read.norm": ["encoder_attn_layer_norm"],
        "feed.inward": ["fc1"],
        "feed.outward": ["fc2"],
        "around_feed.norm": ["final_layer_norm"],
    }
    found = [("model.shared.weight", weights["source_frontend.weight"])]
    for name in weights.files:
        if ".layers." in name:
            side, _, number, part, inner, kind = name.split(".")
            names = parts[f"{part}.{inner}"]
            pieces = np.split(weights[name], len(names))
            found += [
                (f"model.{side}.layers.{number}.{to}.{kind}", piece)
                for to, piece in zip(names, pieces, strict=True)
            ]
        elif name.startswith(("encoder.norm.", "decoder.norm.")):
            found.append((f"model.{name.replace('.norm.', '.layer_norm.')}", weights[name]))
    return found


def _positions(steps: int, width: int) -> Tensor:
    """Return sines beside cosines, the first step at 1, as Tensor2Tensor has them."""
    half = width // 2
    speeds = torch.exp(torch.arange(half) * (-math.log(10000.0) / (half - 1)))
    angles = torch.arange(1, steps + 1)[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
