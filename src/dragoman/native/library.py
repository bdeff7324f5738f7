"""Kernels in C: compiled once a machine by its own compiler, kept in the cache, called through ctypes.

Nothing depends on them: where there is no compiler, what they do is done in torch, which is also what tests
hold them to. A wheel stays pure Python, and the code fits the processor it runs on.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray

SWITCH = "DRAGOMAN_NATIVE"
"""Set to 0 in the environment, it turns all of this off."""
_SOURCES = Path(__file__).parent
_FLAGS = (
    "-std=gnu11 -O3 -march=native -fPIC -Wall -fno-math-errno -fno-trapping-math -fno-signed-zeros "
    "-fassociative-math -freciprocal-math"
)
"""Sums may be taken in another order; infinities and what is not a number keep their meaning."""
_LONGEST_BUILD = 120  # seconds


@cache
def library(name: str) -> ctypes.CDLL | None:
    """Return the kernels of `<name>.c`, or None where they cannot be had: no compiler, or not Linux.

    The first call on a machine compiles them, in seconds. A compiler that fails gets a RuntimeWarning.
    """
    compiler = _compiler()
    if compiler is None or os.environ.get(SWITCH, "1") == "0":
        return None
    threads = _openmp(compiler)
    folder = _cache() / _key(name, compiler, threads)
    built = folder / f"{name}.so"
    try:
        if not built.exists():
            _build(name, compiler, threads, built)
        return ctypes.CDLL(str(built))
    except (OSError, subprocess.SubprocessError) as fault:
        said = fault.stderr[-2000:] if isinstance(fault, subprocess.CalledProcessError) else ""
        warnings.warn(
            f"fast kernels could not be compiled, slower ones are used ({SWITCH}=0 says so from the "
            f"start): {fault} {said}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def address(array: NDArray[Any]) -> int:
    """Return where a contiguous, writable array lies, in a fifth of the time that its `ctypes` takes."""
    return ctypes.addressof(ctypes.c_char.from_buffer(cast("Any", array))) if array.size else 0


def _compiler() -> Path | None:
    if not sys.platform.startswith("linux"):
        return None
    for name in (os.environ.get("CC", ""), "gcc", "cc", "clang"):
        found = shutil.which(shlex.split(name)[0]) if name else None
        if found:
            return Path(found).resolve()
    return None


def _openmp(compiler: Path) -> Path | None:
    """Return torch's own runtime of OpenMP: a second one beside it would fight it for the processors.

    It is that of GCC. What clang compiles asks for another one, so its kernels have one thread.
    """
    if "clang" in compiler.name:
        return None
    package = Path(torch.__file__).parent
    found = [
        path
        for folder in (package / "lib", package.parent / "torch.libs")
        for path in folder.glob("libgomp*")
    ]
    return min(found, default=None)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "dragoman" / "native"


def _key(name: str, compiler: Path, threads: Path | None) -> str:
    """Return a name for all that a build depends on."""
    listing = Path("/proc/cpuinfo")
    processor = listing.read_text(errors="replace").split("\n\n")[0] if listing.exists() else ""
    features = [
        line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))
    ]
    status = compiler.stat()
    parts = [
        *(path.read_text("utf-8") for path in (_SOURCES / f"{name}.c", *sorted(_SOURCES.glob("*.h")))),
        f"{compiler} {status.st_size} {status.st_mtime_ns} {threads} {_FLAGS} {platform.machine()}",
        *features,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _build(name: str, compiler: Path, threads: Path | None, built: Path) -> None:
    """Compile beside the place of the result and move it there whole; raises what the compiler says."""
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        compiled, linked = Path(folder) / "part.o", Path(folder) / "whole.so"
        parallel = [] if threads is None else ["-fopenmp"]
        _run([compiler, *_FLAGS.split(), *parallel, "-c", _SOURCES / f"{name}.c", "-o", compiled])
        _run([compiler, "-shared", compiled, *([] if threads is None else [threads]), "-lm", "-o", linked])
        linked.replace(built)


def _run(command: list[str | Path]) -> None:
    subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, timeout=_LONGEST_BUILD
    )
