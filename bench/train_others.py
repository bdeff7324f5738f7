"""Train the benchmark's model with plain PyTorch or Hugging Face, and print how fast that went.

    python bench/train_others.py {torch,huggingface} WORK {fp32,bf16} SECONDS

3 + 3 layers, width 256, feed-forward 1,024, 4 heads, tied joint vocabulary, dropout 0.1, label smoothing 0.1,
AdamW, the batches of `corpus.py`. Loads are left to torch's defaults; bf16 is torch's autocast. Prints a line
of JSON: real target tokens a second with the end symbol, updates, loss, peak of resident memory in MiB. The
first updates do not count.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

WIDTH, LAYERS, HEADS, FEEDFORWARD, DROPOUT, SMOOTHING = 256, 3, 4, 1024, 0.1, 0.1
PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
UNCOUNTED_UPDATES = 5


class PlainTransformer(nn.Module):
    """The model as PyTorch's tutorial builds it: `nn.Transformer` between tied embeddings."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, WIDTH, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=WIDTH**-0.5)
        self.body = nn.Transformer(
            WIDTH, HEADS, LAYERS, LAYERS, FEEDFORWARD, DROPOUT, batch_first=True, norm_first=True
        )
        steps, halves = torch.arange(1024)[:, None], torch.arange(0, WIDTH, 2)
        angles = steps * torch.exp(halves * (-math.log(10000.0) / WIDTH))
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], 2).flatten(1))

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        future = nn.Transformer.generate_square_subsequent_mask(target_BT.shape[1])
        written = self.body(
            self._embed(source_BS),
            self._embed(target_BT),
            tgt_mask=future,
            tgt_is_causal=True,
            src_key_padding_mask=source_BS == PAD,
            memory_key_padding_mask=source_BS == PAD,
        )
        return F.linear(written, self.embedding.weight)

    def _embed(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) * math.sqrt(WIDTH) + self.positions[: tokens.shape[1]]
        return F.dropout(x, DROPOUT, self.training)


class HuggingFace(nn.Module):
    """The Marian type of Hugging Face's transformers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        from transformers import MarianConfig, MarianMTModel

        config = MarianConfig(
            vocab_size=size,
            d_model=WIDTH,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=FEEDFORWARD,
            decoder_ffn_dim=FEEDFORWARD,
            dropout=DROPOUT,
            activation_function="relu",
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            decoder_start_token_id=BOS,
            forced_eos_token_id=None,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            tie_word_embeddings=True,
        )
        self.model = MarianMTModel(config)

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        return self.model(
            input_ids=source_BS,
            attention_mask=source_BS != PAD,
            decoder_input_ids=target_BT,
            use_cache=False,
        ).logits


def main(kind: str, work: Path, precision: str, seconds: float) -> None:
    """Train for some seconds and print the figures."""
    torch.manual_seed(1)
    batches = load_batches(work)
    size = 4 + len((work / "vocabulary").read_text("utf-8").splitlines())
    model = PlainTransformer(size) if kind == "torch" else HuggingFace(size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    tokens = updates = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or updates <= UNCOUNTED_UPDATES:
        source_BS, target_BT = batches[updates % len(batches)]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(source_BS, target_BT[:, :-1])
            loss = F.cross_entropy(
                logits.flatten(0, 1),
                target_BT[:, 1:].flatten(),
                ignore_index=PAD,
                label_smoothing=SMOOTHING,
            )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        updates += 1
        tokens += int((target_BT[:, 1:] != PAD).sum())
        if updates == UNCOUNTED_UPDATES:
            start, tokens = time.perf_counter(), 0
    taken = time.perf_counter() - start
    print(
        json.dumps(
            {
                "tokens_per_second": tokens / taken,
                "updates": updates,
                "loss": float(loss.detach()),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def load_batches(work: Path) -> list[tuple[Tensor, Tensor]]:
    """Return padded batches: sources with the end symbol, targets between begin and end."""
    pieces = (work / "vocabulary").read_text("utf-8").splitlines()
    ids = {piece: number for number, piece in enumerate(pieces, start=4)}
    sides = [
        [[ids.get(piece, UNKNOWN) for piece in line.split()] for line in (work / name).open(encoding="utf-8")]
        for name in ("train.en", "train.de")
    ]
    return [
        (
            _padded([[*sides[0][line], EOS] for line in batch]),
            _padded([[BOS, *sides[1][line], EOS] for line in batch]),
        )
        for batch in json.loads((work / "batches.json").read_text("utf-8"))
    ]


def _padded(rows: list[list[int]]) -> Tensor:
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, PAD)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
