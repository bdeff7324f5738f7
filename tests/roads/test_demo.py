"""What a newcomer runs first: it learns its task, scores it honestly, and leaves what it promises."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_demo_reads_dates_it_never_saw(tmp_path):
    run = tmp_path / "demo"
    command = [sys.executable, "-m", "dragoman", "demo", "--run", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    scores = json.loads((run / "evaluation" / "test" / "scores.json").read_text("utf-8"))
    assert scores["scores"]["exact_match"]["value"] >= 98
    for picture in ("learning_curve.png", "attention.png"):
        assert (run / "pictures" / picture).read_bytes().startswith(b"\x89PNG")
    for said in ("exact match by language", "2021-03-03", "dragoman predict"):
        assert said in done.stdout
    given = "3 mars 2021\n"
    command = [sys.executable, "-m", "dragoman", "predict", str(run)]
    assert subprocess.run(command, input=given, capture_output=True, text=True).stdout == "2021-03-03\n"
