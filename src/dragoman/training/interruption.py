"""What may come between: signals that ask a run to stop, and a second run in the same folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dragoman.errors import CheckpointError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked the run to stop, and how."""

    def __init__(self) -> None:
        """Start unasked."""
        self.signal: signal.Signals | None = None

    @property
    def is_made(self) -> bool:
        """Whether the run should stop after this step."""
        return self.signal is not None


@contextmanager
def listening(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request; a second one ends the process at once.

    Handlers are those of before again afterwards. Outside the main thread signals stay untouched.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.is_made:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        request.signal = signal.Signals(number)
        say(f"{request.signal.name}: finishing this step and saving; once more ends at once")

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep a second training out of a run's folder; makes the folder.

    A lock that a dead process of this machine left is taken over. Raises CheckpointError where another run
    is at work, or where the folder cannot be written.
    """
    path = folder / "lock.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(path, say)
    except OSError as fault:
        raise CheckpointError(
            f"{folder}: expected a folder to write the run to, found: {fault}; give another `run`"
        ) from fault
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path, say: Callable[[str], None]) -> None:
    mine = json.dumps(_identity(os.getpid()))
    for _ in range(2):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            _refuse_if_alive(path)
            say(f"{path}: the run before ended without saying so; taking over")
            path.unlink(missing_ok=True)
            continue
        with os.fdopen(handle, "w") as file:
            file.write(mine)
        return
    raise CheckpointError(f"{path}: another training takes this run's folder just now")


def _refuse_if_alive(path: Path) -> None:
    try:
        owner = _owner(path)
        pid, host = int(str(owner["pid"])), str(owner["host"])
    except (ValueError, KeyError, TypeError):
        return  # the owner died before it had written its name
    if host != socket.gethostname():
        raise CheckpointError(
            f"{path}: process {pid} on {host} trains in this folder; if it is gone, remove this file"
        )
    if _is_alive(pid) and owner == _identity(pid):
        raise CheckpointError(f"{path}: process {pid} trains in this folder already; give another `run`")


def _owner(path: Path) -> dict[str, object]:
    """Read who holds a lock, giving one that has just made the file time to write."""
    text = path.read_text("utf-8")
    if not text:
        time.sleep(0.5)
        text = path.read_text("utf-8")
    found: dict[str, object] = json.loads(text)
    return found


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end a process there; a stale lock is removed by hand
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _identity(pid: int) -> dict[str, object]:
    """Name a process; its start time, where the system tells, keeps a recycled number from passing for it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
        started = int(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5), in clock ticks since boot
    except (OSError, ValueError, IndexError):
        started = 0
    return {"pid": pid, "host": socket.gethostname(), "started": started}
