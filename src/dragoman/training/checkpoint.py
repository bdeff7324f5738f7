"""Checkpoints: folders that are whole or not there, of safetensors and JSON, every byte under a hash.

checkpoints/step-00000123/    state.json, *.safetensors, MANIFEST.json (size and SHA-256 of each)
checkpoints/*.partial         what a crash left of a save; removed
checkpoints/*.damaged         what failed its hashes; stays until a later checkpoint is saved
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from
from safetensors.torch import save as bytes_of
from torch import Tensor

from dragoman.errors import CheckpointError

MANIFEST = "MANIFEST.json"
_STATE = "state.json"
_NAME = re.compile(r"step-(\d{8,})")
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: a JSON record, and groups of named tensors."""

    step: int
    record: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]

    def group(self, name: str) -> dict[str, Tensor]:
        """Return a group of tensors; one that was empty was not written."""
        return dict(self.tensors.get(name, {}))


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint, whole or not at all, then remove all but the last `keep`.

    Where a checkpoint of this step stands already nothing is written: a run has one state a step. Raises
    OSError where the disk refuses; then nothing of it stays, and older checkpoints are as they were.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    if final.exists():
        return final
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write_all(partial, checkpoint)
        partial.rename(final)
        flush(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _prune(folder, keep)
    return final


def _write_all(folder: Path, checkpoint: Checkpoint) -> None:
    """Write each file and flush it; the manifest last: where it stands, all that it names is on the disk."""
    state = json.dumps(checkpoint.record, ensure_ascii=False, indent=1).encode()
    files = {_STATE: _write(folder / _STATE, state)}
    for name, tensors in checkpoint.tensors.items():
        if tensors:
            file = f"{name}.safetensors"
            whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
            files[file] = _write(folder / file, bytes_of(whole))
    content = {"format": _FORMAT, "step": checkpoint.step, "files": files}
    _write(folder / MANIFEST, json.dumps(content, indent=1).encode())
    flush(folder)


def _write(path: Path, content: bytes) -> dict[str, object]:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    _write(partial, text.encode())
    partial.replace(path)
    flush(path.parent)


def flush(folder: Path) -> None:
    """Ask the disk to hold the entries of a folder."""
    if os.name == "nt":
        return  # Windows cannot open folders; it keeps renames in its journal
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _prune(folder: Path, keep: int) -> None:
    """Remove older checkpoints and what crashes left; what cannot be removed stays."""
    whole = checkpoints_in(folder)
    for path in whole[:-keep]:
        gone = path.with_name(path.name + ".partial")  # a half-removed folder must not look like a checkpoint
        try:
            path.rename(gone)
        except OSError:
            continue
    for pattern in ("*.partial", "*.damaged"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def make_room(folder: Path) -> int:
    """Remove all checkpoints but the last, if that one is sound, and return how many went."""
    found = checkpoints_in(folder)
    if len(found) < 2:
        return 0
    try:
        load_checkpoint(found[-1])
    except CheckpointError:
        return 0
    _prune(folder, 1)
    return len(found) - len(checkpoints_in(folder))


def is_full(fault: Exception) -> bool:
    """Say whether a disk refused something for want of room, or a user's share of it is used up."""
    if isinstance(fault, OSError):
        return fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"os error {errno.ENOSPC}" in str(fault)  # safetensors tells in words


def checkpoints_in(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest first, whether they are sound or not."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def load_latest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Load the last sound checkpoint, or return None where a run has none yet.

    A damaged one is named loudly, set aside, and the one before is taken. Raises CheckpointError where all
    are damaged: a run never starts anew unasked.
    """
    complaints = []
    for path in reversed(checkpoints_in(folder)):
        try:
            found = load_checkpoint(path)
        except CheckpointError as fault:
            complaints.append(str(fault))
            say(f"DAMAGED CHECKPOINT: {fault}")
            continue
        _set_aside(folder, found.step)
        if complaints:
            say(f"falling back to the checkpoint of step {found.step:,}; what came after it is trained again")
        return found
    set_aside = sorted(folder.glob("step-*.damaged")) if folder.is_dir() else []
    if complaints or set_aside:
        lines = complaints or [f"{path}: set aside as damaged" for path in set_aside]
        raise CheckpointError(
            "\n".join(lines)
            + f"\nno sound checkpoint is left; to start anew, remove {folder}, or give another `run`"
        )
    return None


def _set_aside(folder: Path, sound_step: int) -> None:
    """Rename what is later than the last sound checkpoint, so that its step can be saved again."""
    for path in checkpoints_in(folder):
        if _step_of(path) > sound_step:
            aside = path.with_name(path.name + ".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint, comparing every file with its hash. Raises CheckpointError for any difference."""
    contents = {name: _verified(path / name, entry) for name, entry in _manifest(path).items()}
    if _STATE not in contents:
        raise CheckpointError(f"{path / MANIFEST}: expected an entry for {_STATE}, found none")
    try:
        record = json.loads(contents.pop(_STATE))
        tensors = {name.removesuffix(".safetensors"): tensors_from(data) for name, data in contents.items()}
    except (ValueError, SafetensorError) as fault:
        raise CheckpointError(f"{path}: expected JSON and safetensors, found: {fault}") from fault
    return Checkpoint(_step_of(path), record, tensors)


def _manifest(path: Path) -> dict[str, dict[str, Any]]:
    where = path / MANIFEST
    try:
        content = json.loads(where.read_bytes())
    except (OSError, ValueError) as fault:
        raise CheckpointError(f"{where}: expected the list of files, found: {fault}") from fault
    match content:
        case {"format": 1, "step": int(step), "files": dict(files)} if step == _step_of(path):
            pass
        case _:
            raise CheckpointError(
                f"{where}: expected format {_FORMAT} of step {_step_of(path)}, found another"
            )
    if any(Path(name).name != name or not isinstance(entry, dict) for name, entry in files.items()):
        raise CheckpointError(f"{where}: expected plain names of files with size and sha256")
    return files


def _verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise CheckpointError(f"{path}: expected {entry.get('size')} bytes, found: {fault}") from fault
    if len(content) != entry.get("size"):
        raise CheckpointError(f"{path}: expected {entry.get('size')} bytes, found {len(content)}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.get("sha256"):
        raise CheckpointError(f"{path}: expected SHA-256 {entry.get('sha256')!s:.16}…, found {digest:.16}…")
    return content
