"""The program that makes digit strings, run as people run it, on made-up recordings."""

import subprocess
import sys
import wave
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "recipes" / "prepare" / "fsdd_strings.py"


def write_wav(path, samples, rate_hz=8000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples)


def samples_of(path):
    with wave.open(str(path), "rb") as file:
        assert file.getparams()[:3] == (1, 2, 8000)
        return file.readframes(file.getnframes())


ONE, TWO = b"\x01\x00" * 800, b"\x02\x00" * 400


@pytest.fixture
def lists(tmp_path):
    folder = tmp_path / "lists"
    write_wav(folder / "wav" / "1.wav", ONE)
    write_wav(folder / "wav" / "2.wav", TWO)
    for split in ("train", "dev", "test"):
        rows = [
            f"{split}-0\tx\tone two one\twav/1.wav wav/2.wav wav/1.wav\t50 10",
            f"{split}-1\tx\ttwo\twav/2.wav\t",
        ]
        text = "\n".join(["id\tspeaker\ttext\tfiles\tgaps_ms", *rows]) + "\n"
        (folder / f"strings_{split}.tsv").write_text(text, "utf-8")
    return folder


def run(*arguments):
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_strings_with_silences_between_and_nothing_made_twice(lists, tmp_path):
    output = tmp_path / "made"
    done = run(lists, output)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{split}: 2 strings, 0 of them were there" for split in ("train", "dev", "test")
    ]
    assert samples_of(output / "wav" / "dev-0.wav") == ONE + bytes(800) + TWO + bytes(160) + ONE
    assert (output / "dev.tsv").read_text("utf-8").splitlines() == [
        "file\ttext\tseconds",
        "wav/dev-0.wav\tone two one\t0.310",
        "wav/dev-1.wav\ttwo\t0.050",
    ]
    assert not list(output.rglob("*.partial"))
    (output / "wav" / "dev-1.wav").unlink()
    (output / "dev.tsv").unlink()
    before = (output / "wav" / "dev-0.wav").stat().st_mtime_ns
    assert run(lists, output).stdout.splitlines()[1] == "dev: 2 strings, 1 of them were there"
    assert (output / "wav" / "dev-0.wav").stat().st_mtime_ns == before
    assert len((output / "dev.tsv").read_text("utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\tx\tone\twav/1.wav wav/2.wav\t", "strings_train.tsv:2: needs an id, files, and one gap fewer"),
        ("a\tx\tone\twav/1.wav wav/2.wav\t-5", "strings_train.tsv:2: needs an id"),
        ("../a\tx\tone\twav/1.wav\t", "strings_train.tsv:2: needs an id"),
        ("a\tx\tone\twav/3.wav\t", "wav/3.wav"),
        ("a\tx\tone\twav/wide.wav\t", "wide.wav: expected 16 bit and one channel"),
        ("a\tx\tone\twav/1.wav wav/fast.wav\t50", "fast.wav: 16000 Hz after recordings of 8000 Hz"),
    ],
)
def test_rows_that_cannot_be_made(lists, tmp_path, row, message):
    write_wav(lists / "wav" / "wide.wav", ONE, channels=2)
    write_wav(lists / "wav" / "fast.wav", ONE, rate_hz=16000)
    (lists / "strings_train.tsv").write_text(f"id\tspeaker\ttext\tfiles\tgaps_ms\n{row}\n", "utf-8")
    done = run(lists, tmp_path / "made")
    assert done.returncode == 1
    assert done.stderr.startswith("train: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_lists_that_are_not_there(lists, tmp_path):
    assert "strings_train.tsv" in run(tmp_path, tmp_path / "made").stderr
    (lists / "strings_train.tsv").write_text("id\ttext\n", "utf-8")
    assert "there is no column files, gaps_ms" in run(lists, tmp_path / "made").stderr
