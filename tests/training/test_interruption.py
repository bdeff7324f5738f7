"""Signals that ask a run to stop, and the lock of its folder."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from dragoman.errors import CheckpointError
from dragoman.training import interruption
from dragoman.training.interruption import listening, locked


def quiet(line):
    """Hear nothing."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number):
    before = signal.getsignal(number)
    with listening(quiet) as stop:
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.signal == number
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_the_process_at_once():
    code = (
        "import signal\n"
        "from dragoman.training.interruption import listening\n"
        "with listening(print):\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('still here', flush=True)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('never said', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGTERM
    assert "still here" in done.stdout
    assert "never said" not in done.stdout


def test_a_second_run_is_refused_and_the_first_keeps_its_lock(tmp_path):
    with locked(tmp_path, quiet):
        refused = pytest.raises(CheckpointError, match=f"process {os.getpid()} trains in this folder")
        with refused, locked(tmp_path, quiet):
            pass
        assert (tmp_path / "lock.json").exists()
    assert not (tmp_path / "lock.json").exists()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = {"pid": dead.pid, "host": socket.gethostname(), "started": 1}
    (tmp_path / "lock.json").write_text(json.dumps(owner))
    lines = []
    with locked(tmp_path, lines.append):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()
    assert "taking over" in lines[0]


def test_a_number_that_another_process_got_since_is_a_dead_process(tmp_path):
    owner = interruption._identity(os.getpid())
    if not owner["started"]:
        pytest.skip("this system does not tell when a process began")
    (tmp_path / "lock.json").write_text(json.dumps({**owner, "started": owner["started"] - 1}))
    with locked(tmp_path, quiet):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_that_was_never_written_is_taken_over(tmp_path, text, monkeypatch):
    monkeypatch.setattr(interruption.time, "sleep", quiet)
    (tmp_path / "lock.json").write_text(text)
    with locked(tmp_path, quiet):
        pass


def test_a_lock_of_another_machine_is_for_people_to_judge(tmp_path):
    (tmp_path / "lock.json").write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": 1}))
    refused = pytest.raises(CheckpointError, match="process 1 on elsewhere.*remove this file")
    with refused, locked(tmp_path, quiet):
        pass
