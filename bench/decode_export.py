"""Write what other engines need to answer as a Transformer bundle of ours does.

    python bench/decode_export.py RUN SOURCE REFERENCE WORK SENTENCES

Writes `weights.npz` under the names of the bundle, `model.json` with its sizes, `source` and `reference`: one
sentence a line, of the first so many; `source.ids`: the same in ids between spaces, the end symbol included.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np

import dragoman


def main(run: str, source: str, reference: str, work: Path, sentences: int) -> None:
    """Write the files."""
    work.mkdir(parents=True, exist_ok=True)
    bundle = dragoman.load(run)
    tensors = {name: tensor.numpy() for name, tensor in bundle.model.state_dict().items()}
    np.savez(work / "weights.npz", **tensors)
    encoder, decoder = bundle.recipe.model.encoder, bundle.recipe.model.decoder
    size = {
        "layers": [encoder.layers, decoder.layers],
        "heads": encoder.heads,
        "width": encoder.width,
        "feedforward_width": encoder.feedforward_width,
        "vocabulary": bundle.codecs.target.port.size,
    }
    (work / "model.json").write_text(json.dumps(size))
    for name, path in (("source", source), ("reference", reference)):
        lines = gzip.decompress(Path(path).read_bytes()).decode("utf-8").splitlines()[:sentences]
        (work / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    lines = (work / "source").read_text("utf-8").splitlines()
    ids = "".join(" ".join(map(str, bundle.codecs.source.encode(line))) + "\n" for line in lines)
    (work / "source.ids").write_text(ids)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
