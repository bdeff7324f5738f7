"""Answer with dragoman, and print how fast that goes.

    python bench/decode_ours.py RUN WORK {fp32,int8} {1,5}

Takes the sentences that `decode_export.py` wrote. Prints a line of JSON as `decode_ctranslate2.py` does; of
two workers the start does not count, as in a server, and all sentences come four times after some to warm up.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import torch

import dragoman

ALONE, TIMES = 50, 4
WARM_UP = 64 + 256 + 1024
"""The first three windows; the next takes up to 4,096 at once."""


def main(run: str, work: Path, precision: str, beam: int) -> None:
    """Time and print."""
    method = "{method: greedy" if beam == 1 else f"{{method: beam, beam: {beam}"
    change = f"decoding={method}, length_penalty: 1.0, precision: {precision}}}"
    if beam == 1:
        change = change.replace(" length_penalty: 1.0,", "")
    lines = (work / "source").read_text("utf-8").splitlines()
    bundle = dragoman.load(run)
    given = islice(cycle(lines), WARM_UP + TIMES * len(lines))
    stream = bundle.predictions(given, change, workers=2)
    answers = [prediction.hypotheses[0].tokens for prediction in islice(stream, WARM_UP)]
    start = time.perf_counter()
    counted = [prediction.hypotheses[0].tokens for prediction in stream]
    seconds = time.perf_counter() - start
    torch.set_num_threads(1)
    times = []
    for line in lines[:ALONE]:
        begin = time.perf_counter()
        bundle.predict([line], change)
        times.append(time.perf_counter() - begin)
    answers = answers[: len(lines)]
    print(
        json.dumps(
            {
                "sentences_per_second": len(counted) / seconds,
                "latency_ms": statistics.median(times) * 1e3,
                "answers": [" ".join(map(str, tokens[:-1])) for tokens in answers],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
