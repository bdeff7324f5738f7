"""The text that every contender gets: Multi30k in 8,000 joint BPE pieces, and batches of about 4,096 tokens.

    python bench/corpus.py MULTI30K WORK

Writes `train` and `dev` of `en` and `de`, one sentence a line, pieces between spaces; `vocabulary`, a
piece a line, most frequent first; `batches.json`, lists of training lines of similar length that hold at most
4,096 target pieces with the end symbol each, for contenders that have no batching of their own.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
from collections import Counter
from pathlib import Path

import sentencepiece

PIECES = 8000
BATCH_TOKENS = 4096
FILES = {"train": "train", "dev": "val"}


def write_corpus(multi30k: Path, work: Path) -> None:
    """Write all files, unless they are there."""
    if (work / "batches.json").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    texts = {
        (split, side): _lines(multi30k / f"{name}.{side}.gz")
        for split, name in FILES.items()
        for side in ("en", "de")
    }
    processor = _learn(texts["train", "en"] + texts["train", "de"])
    cut = {key: processor.encode(lines, out_type=str) for key, lines in texts.items()}
    for (split, side), sentences in cut.items():
        text = "".join(" ".join(pieces) + "\n" for pieces in sentences)
        (work / f"{split}.{side}").write_text(text, encoding="utf-8")
    counts = Counter(piece for side in ("en", "de") for pieces in cut["train", side] for piece in pieces)
    pieces = "".join(f"{piece}\n" for piece, _ in counts.most_common())
    (work / "vocabulary").write_text(pieces, encoding="utf-8")
    batches = _batches(cut["train", "en"], cut["train", "de"])
    (work / "batches.json").write_text(json.dumps(batches), encoding="utf-8")


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()


def _learn(lines: list[str]) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=PIECES,
        model_type="bpe",
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def _batches(sources: list[list[str]], targets: list[list[str]]) -> list[list[int]]:
    order = sorted(range(len(targets)), key=lambda line: (len(targets[line]), len(sources[line])))
    batches: list[list[int]] = [[]]
    tokens = 0
    for line in order:
        if tokens + len(targets[line]) + 1 > BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(line)
        tokens += len(targets[line]) + 1
    random.Random(1).shuffle(batches)
    return batches


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]), Path(sys.argv[2]))
