"""The machine: torch, threads, compiler, libraries that a recipe needs, room on the disk, a GPU."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from dragoman.data.prepare import cache_of
from dragoman.doctor.findings import Finding, Severity
from dragoman.native.library import SWITCH
from dragoman.native.training import kernels_here
from dragoman.recipe.data import Parallel, Table
from dragoman.recipe.metrics import Bleu
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import SeriesFiles, files_of
from dragoman.recipe.speech import Manifest, Speech

_OLDEST_TORCH = (2, 6)
_LEAST_FREE = 2 << 30
"""Bytes: prepared data, two checkpoints and a bundle of an ordinary run."""


def environment(recipe: Recipe) -> Iterator[Finding]:
    """Say what of this machine stands in the way of a recipe, or slows it down."""
    yield from _torch()
    yield from _threads(recipe)
    yield from _device(recipe)
    yield from _libraries(recipe)
    yield from _room(recipe)


def _finding(severity: Severity, found: str, means: str = "", mend: str = "") -> Finding:
    return Finding("environment", severity, found, means, mend)


def _torch() -> Iterator[Finding]:
    version = str(torch.__version__)
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_TORCH:
        yield _finding(
            "fault",
            f"torch {version} is older than 2.6",
            "parts of dragoman will fail in the middle of a run",
            "pip install --upgrade torch",
        )
    else:
        yield _finding("note", f"torch {version}")


def _threads(recipe: Recipe) -> Iterator[Finding]:
    cores = cores_here()
    wanted = recipe.training.threads or torch.get_num_threads()
    if wanted > cores:
        yield _finding(
            "warning",
            f"{wanted} threads on {cores} cores",
            "threads wait for one another: a step takes longer, not less",
            f"training.threads={cores}",
        )
    elif wanted < cores:
        yield _finding(
            "note",
            f"{wanted} of {cores} cores are used",
            "the others are free for other work",
        )


def cores_here() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(recipe: Recipe) -> Iterator[Finding]:
    wanted = recipe.training.device
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        if wanted == "cpu":
            yield _finding(
                "warning",
                f"{name} is there, but the recipe computes on the processor",
                "training takes many times as long as it has to",
                "training.device=auto",
            )
        else:
            yield _finding("note", f"GPU: {name}")
        return
    if wanted == "cuda":
        yield _finding(
            "fault",
            "the recipe asks for a GPU, and torch sees none",
            "the run stops before its first step",
            "training.device=auto, or a build of torch for your GPU",
        )
    if kernels_here() == "torch":
        yield _finding(
            "warning",
            f"no kernels in C: there is no compiler, or {SWITCH}=0",
            "torch alone computes: the same results, more slowly and in more memory",
            "install gcc (Linux), or unset the switch",
        )


def _libraries(recipe: Recipe) -> Iterator[Finding]:
    needs = {
        "soundfile": ("audio", isinstance(recipe.source, Speech)),
        "soxr": ("audio", isinstance(recipe.source, Speech)),
        "pyarrow": ("data", any(".parquet" in name for name in named_files(recipe))),
        "tensorboardX": ("track", recipe.training.tensorboard),
        "sacremoses": (
            "moses",
            any(isinstance(one, Bleu) and one.tokenize == "moses" for one in recipe.evaluation.metrics),
        ),
    }
    for library, (extra, is_needed) in needs.items():
        if is_needed and importlib.util.find_spec(library) is None:
            yield _finding(
                "fault",
                f"{library} is not installed, and this recipe needs it",
                "the run stops where it would be used",
                f"pip install 'dragoman[{extra}]'",
            )


def named_files(recipe: Recipe) -> Iterator[str]:
    """Name every file of data that a recipe names."""
    for corpus in (*recipe.data.train, recipe.data.dev, recipe.data.test):
        match corpus:
            case Table():
                yield corpus.file
            case Parallel():
                yield corpus.source
                yield from files_of(corpus.target)
            case Manifest():
                yield corpus.manifest
            case SeriesFiles():
                yield from files_of(corpus.series)


def _room(recipe: Recipe) -> Iterator[Finding]:
    data = sum(
        path.stat().st_size
        for name in named_files(recipe)
        if (path := Path(recipe.data.folder, name)).is_file()
    )
    for what, folder in (("the run", Path(recipe.run)), ("prepared data", cache_of(recipe))):
        free = shutil.disk_usage(_existing(folder)).free
        needed = _LEAST_FREE + 4 * data
        if free < needed:
            yield _finding(
                "warning",
                f"{free / 2**30:.1f} GiB are free for {what} in {folder}, {needed / 2**30:.1f} would be safe",
                "a full disk costs checkpoints; the run goes on without them",
                "free some room, or name another folder with `run` and `data.cache`",
            )


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.is_dir())
