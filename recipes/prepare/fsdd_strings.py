"""Digit strings out of single digits: a small speech corpus from the Free Spoken Digit Dataset.

    python recipes/prepare/fsdd_strings.py LISTS OUTPUT

LISTS is a folder with `strings_train.tsv`, `strings_dev.tsv` and `strings_test.tsv` (columns `id`, `text`,
`files`, `gaps_ms`) and, where `files` says, the recordings of the dataset, 16 bit and mono
(https://github.com/Jakobovski/free-spoken-digit-dataset). Each row becomes `OUTPUT/wav/ID.wav`: its
recordings one after another, with `gaps_ms` milliseconds of silence in between. `train.tsv`, `dev.tsv` and
`test.tsv` in OUTPUT list them, with columns `file`, `text`, `seconds`, as a recipe reads them with
`manifest: OUTPUT/train.tsv`. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SPLITS = ("train", "dev", "test")
COLUMNS = ("id", "text", "files", "gaps_ms")
SAMPLE_BYTES = 2


class Digits(NamedTuple):
    """A row of a list: recordings in order, and the silences between them."""

    id: str
    text: str
    files: tuple[Path, ...]
    gaps_ms: tuple[int, ...]


def main() -> None:
    """Make all splits; stop with a message at the first file that is not as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lists", type=Path, metavar="LISTS", help="folder of the lists and the recordings")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder to make")
    arguments = parser.parse_args()
    for split in SPLITS:
        try:
            made, kept = build(split, arguments.lists, arguments.output)
        except (OSError, ValueError, wave.Error) as error:
            sys.exit(f"{split}: {error}")
        print(f"{split}: {made + kept:,} strings, {kept:,} of them were there")


def build(split: str, lists: Path, output: Path) -> tuple[int, int]:
    """Make the recordings of a split, then its list; returns how many were made and how many were there."""
    (output / "wav").mkdir(parents=True, exist_ok=True)
    made = kept = 0
    lines = ["file\ttext\tseconds"]
    for row in rows(lists / f"strings_{split}.tsv", lists):
        name = f"wav/{row.id}.wav"
        if (output / name).is_file():
            kept += 1
        else:
            join(row, output / name)
            made += 1
        lines.append(f"{name}\t{row.text}\t{seconds(output / name):.3f}")
    replace(output / f"{split}.tsv", "\n".join(lines).encode() + b"\n")
    return made, kept


def rows(path: Path, folder: Path) -> Iterator[Digits]:
    """Read a list; ValueError with its line for a row that says something that cannot be."""
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: there is no column {', '.join(missing)}")
        for row in table:
            files = tuple(folder / name for name in (row["files"] or "").split())
            gaps_ms = (row["gaps_ms"] or "").split()
            has_gaps = len(gaps_ms) == len(files) - 1 and all(gap.isdecimal() for gap in gaps_ms)
            if not has_gaps or Path(row["id"]).name != row["id"]:
                raise ValueError(f"{path}:{table.line_num}: needs an id, files, and one gap fewer than files")
            yield Digits(row["id"], row["text"], files, tuple(map(int, gaps_ms)))


def join(row: Digits, path: Path) -> None:
    """Write the recordings of a row one after another, with zeros between; ValueError if they do not fit."""
    parts: list[bytes] = []
    rate_hz = 0
    for number, file in enumerate(row.files):
        with wave.open(str(file), "rb") as recording:
            if (recording.getnchannels(), recording.getsampwidth()) != (1, SAMPLE_BYTES):
                raise ValueError(f"{file}: expected 16 bit and one channel")
            if rate_hz not in (0, recording.getframerate()):
                raise ValueError(f"{file}: {recording.getframerate()} Hz after recordings of {rate_hz} Hz")
            rate_hz = recording.getframerate()
            if number:
                parts.append(bytes(SAMPLE_BYTES * (row.gaps_ms[number - 1] * rate_hz // 1000)))
            parts.append(recording.readframes(recording.getnframes()))
    partial = path.with_suffix(".partial")
    with wave.open(str(partial), "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(SAMPLE_BYTES)
        output.setframerate(rate_hz)
        output.writeframes(b"".join(parts))
    partial.replace(path)


def seconds(path: Path) -> float:
    """Return the length of a recording."""
    with wave.open(str(path), "rb") as recording:
        return recording.getnframes() / recording.getframerate()


def replace(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)


if __name__ == "__main__":
    main()
