import os
import stat
import subprocess
import sys
import warnings

import pytest

from dragoman.native import library as loader


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """The loader as on a machine that has never compiled anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(loader.SWITCH, raising=False)
    loader.library.cache_clear()
    yield tmp_path
    loader.library.cache_clear()


def _compiler(folder, body):
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


needs_compiler = pytest.mark.skipif(loader._compiler() is None, reason="this machine has no C compiler")


@needs_compiler
def test_kernels_are_compiled_once(fresh, monkeypatch):
    assert loader.library("choosing") is not None
    (built,) = fresh.rglob("choosing.so")
    before = built.stat().st_mtime_ns
    loader.library.cache_clear()
    monkeypatch.setattr(loader, "_build", lambda *_: pytest.fail("compiled again"))
    assert loader.library("choosing") is not None
    assert built.stat().st_mtime_ns == before
    assert [path.name for path in built.parent.iterdir()] == ["choosing.so"]


def test_a_switch_turns_kernels_off(fresh, monkeypatch):
    monkeypatch.setenv(loader.SWITCH, "0")
    assert loader.library("choosing") is None
    assert not (fresh / "cache").exists()


@needs_compiler
def test_a_compiler_that_fails_is_told_and_not_needed(fresh, monkeypatch):
    monkeypatch.setenv("CC", _compiler(fresh, "echo broken here >&2; exit 1"))
    with pytest.warns(RuntimeWarning, match=r"(?s)could not be compiled, slower ones are used.*broken here"):
        assert loader.library("choosing") is None
    assert not list(fresh.rglob("*.so"))


@needs_compiler
def test_a_cache_that_cannot_be_written_is_told_and_not_needed(fresh, monkeypatch):
    (fresh / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh / "file"))
    with pytest.warns(RuntimeWarning, match="could not be compiled"):
        assert loader.library("choosing") is None


def test_without_a_compiler_nothing_is_said(fresh, monkeypatch):
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CC", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loader.library("choosing") is None


@needs_compiler
def test_two_processes_may_compile_at_the_same_time(fresh):
    program = "from dragoman.native.library import library; assert library('choosing') is not None"
    both = [subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ)) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert len(list(fresh.rglob("choosing.so"))) == 1
