"""What a run tells: `log.jsonl` (the truth), TensorBoard events, and a line for the person who watches."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dragoman.errors import MissingExtra
from dragoman.training.checkpoint import write_whole
from dragoman.training.state import Progress

Fields = Mapping[str, object]


class Teller(Protocol):
    """Who tells a person how a run goes."""

    def say(self, line: str) -> None:
        """Say something that stays."""
        ...

    def show(self, line: str) -> None:
        """Show how far the run is, in place of what was shown before."""
        ...


class _Plain:
    """Says every line, and shows nothing between."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def say(self, line: str) -> None:
        self._say(line)

    def show(self, line: str) -> None:
        pass


class _Living:
    """Keeps one line at the foot of a terminal up to date."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def show(self, line: str) -> None:
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))


@contextmanager
def telling(say: Callable[[str], None] | None) -> Iterator[Teller]:
    """Tell through `say`; by default on standard error, with a living line where that is a terminal."""
    if say is not None:
        yield _Plain(say)
    elif not sys.stderr.isatty():
        yield _Plain(lambda line: print(line, file=sys.stderr, flush=True))
    else:
        with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
            yield _Living(live)


class Log:
    """Appends a JSON object a line; every line has `kind`, `step` and `skipped`. Never stops a run."""

    def __init__(self, folder: Path, say: Callable[[str], None], events: Events | None) -> None:
        self._path = folder / "log.jsonl"
        self._say = say
        self._events = events
        self.lost = 0
        """Lines that the disk refused."""

    def begin(self) -> None:
        """Start a new log; one that an earlier attempt left without a checkpoint goes."""
        if read_log(self._path):
            self._say(f"{self._path}: an earlier attempt left no checkpoint; starting anew")
        self._path.unlink(missing_ok=True)

    def write(self, kind: str, state: Progress, fields: Fields) -> None:
        """Append a line; where the disk refuses, say so once and count."""
        line = {"kind": kind, "step": state.step, "skipped": state.skipped, **_finite(fields)}
        try:
            _append(self._path, json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as fault:
            self.lost += 1
            if self.lost == 1:
                self._say(
                    f"{self._path}: cannot be written ({fault}); training goes on, lost lines are counted"
                )
        if self._events is not None:
            self._events.write(kind, state.step, fields)

    def flush(self) -> None:
        """Ask the disk to hold all lines, so that a checkpoint never knows more than the log."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                os.fsync(file.fileno())
        except OSError as fault:
            self._say(f"{self._path}: cannot be flushed ({fault})")

    def rewind(self, state: Progress) -> None:
        """Drop what is later than the checkpoint that a run goes on from, so that the log tells one story."""
        kept = [line for line in read_log(self._path) if not _is_later(line, state)]
        write_whole(self._path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))


def _append(path: Path, line: str) -> None:
    """Append a line, whole or not at all: on half a line the next one would be lost too."""
    content = line.encode()
    with path.open("ab", buffering=0) as file:
        begin = file.seek(0, os.SEEK_END)
        try:
            if file.write(content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(begin)
            raise


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; half a line at its end, left by a crash, is no line."""
    lines = path.read_text("utf-8", errors="replace").split("\n") if path.is_file() else []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"kind", "step", "skipped"} <= entry.keys():
            found.append(entry)
    return found


def _is_later(line: Mapping[str, Any], state: Progress) -> bool:
    if line["kind"] == "validation":
        return bool(line["step"] > state.validated)
    return bool(line["step"] > state.step or line["skipped"] > state.skipped)


def _finite(fields: Fields) -> dict[str, object]:
    """JSON has no word for infinity and not-a-number: write them as text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }


class Events:
    """TensorBoard events beside the log."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open the events of a run; what they hold after `step` is hidden. Raises MissingExtra."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as fault:
            raise MissingExtra("tensorboardX", "track", "`training.tensorboard: true`") from fault
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, kind: str, step: int, fields: Fields) -> None:
        """Write every number of a line as a curve; a validation's metrics each as one."""
        for name, value in fields.items():
            if isinstance(value, Mapping):
                self.write(kind, step, value)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


def duration(seconds: float) -> str:
    """Write a time as people say it: 42s, 3m 20s, 2h 05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
