"""Checkpoints are whole or not there, and one that changed is never loaded."""

import contextlib
import errno
import json
import os
from pathlib import Path

import pytest
import torch

from dragoman.errors import CheckpointError
from dragoman.training import checkpoint as subject
from dragoman.training.checkpoint import (
    Checkpoint,
    checkpoints_in,
    load_checkpoint,
    load_latest,
    make_room,
    save_checkpoint,
)


def checkpoint_of(step):
    torch.manual_seed(step)
    return Checkpoint(
        step,
        {"step": step, "text": "é"},
        {
            "weights": {"a": torch.randn(3, 2), "n": torch.tensor(step)},
            "best": {},
            "random": {"cpu": torch.get_rng_state()},
        },
    )


def heard():
    lines = []
    return lines, lines.append


def test_what_was_saved_comes_back(tmp_path):
    saved = checkpoint_of(12)
    path = save_checkpoint(tmp_path, saved, keep=2)
    assert path.name == "step-00000012"
    found = load_checkpoint(path)
    assert (found.step, found.record) == (12, {"step": 12, "text": "é"})
    for group in ("weights", "random"):
        for name, tensor in saved.tensors[group].items():
            assert torch.equal(found.group(group)[name], tensor)
    assert found.group("best") == {}


def test_the_last_ones_stay_by_number_not_by_text(tmp_path):
    for step in (1, 99_999_999, 100_000_000):
        save_checkpoint(tmp_path, checkpoint_of(step), keep=2)
    assert [load_checkpoint(path).step for path in checkpoints_in(tmp_path)] == [99_999_999, 100_000_000]


class Cut(BaseException):
    """Stands for a killed process: nothing may handle it."""


def cut_at(monkeypatch, number, fault):
    """Let the number-th call that touches the disk fail; returns a list with one entry a call."""
    calls = []

    def counted(real):
        def call(*args, **kwargs):
            calls.append(real)
            if len(calls) == number:
                raise fault
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(Path, "mkdir", counted(Path.mkdir))
    monkeypatch.setattr(Path, "open", counted(Path.open))
    monkeypatch.setattr(subject.shutil, "rmtree", counted(subject.shutil.rmtree))
    return calls


@pytest.mark.parametrize(
    "fault", [Cut(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "full"]
)
def test_wherever_a_save_is_cut_short_the_last_whole_checkpoint_loads(tmp_path, monkeypatch, fault):
    number, finished = 0, False
    while not finished:
        number += 1
        folder = tmp_path / str(number)
        save_checkpoint(folder, checkpoint_of(1), keep=1)
        with monkeypatch.context() as patch:
            calls = cut_at(patch, number, fault)
            with contextlib.suppress(Cut, OSError):
                save_checkpoint(folder, checkpoint_of(2), keep=1)
            finished = len(calls) < number
        lines, say = heard()
        found = load_latest(folder, say)
        assert found is not None
        assert found.step in (1, 2)
        assert lines == []
        for step in (2, 3):  # and the run goes on
            save_checkpoint(folder, checkpoint_of(step), keep=1)
            assert load_latest(folder, say).step == step
        assert sorted(path.name for path in folder.iterdir()) == ["step-00000003"]
    assert number > 12


def test_a_full_disk_leaves_nothing_of_the_new_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, checkpoint_of(1), keep=1)
    with monkeypatch.context() as patch:
        cut_at(patch, 6, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(tmp_path, checkpoint_of(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_room_is_made_of_all_but_the_last_where_that_is_sound(tmp_path):
    assert make_room(tmp_path) == 0
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, checkpoint_of(step), keep=5)
    (tmp_path / "step-00000003" / "state.json").write_text("{}")
    assert make_room(tmp_path) == 0
    assert len(checkpoints_in(tmp_path)) == 3
    save_checkpoint(tmp_path, checkpoint_of(4), keep=5)
    assert make_room(tmp_path) == 3
    assert [load_checkpoint(path).step for path in checkpoints_in(tmp_path)] == [4]
    assert make_room(tmp_path) == 0


FILES = ["MANIFEST.json", "state.json", "weights.safetensors", "random.safetensors"]


@pytest.mark.parametrize("name", FILES)
def test_no_byte_may_change(tmp_path, name):
    save_checkpoint(tmp_path, checkpoint_of(1), keep=2)
    path = save_checkpoint(tmp_path, checkpoint_of(2), keep=2) / name
    whole = path.read_bytes()
    places = range(0, len(whole), max(1, len(whole) // 40))
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match="step-00000002"):
            load_checkpoint(path.parent)


@pytest.mark.parametrize("name", FILES)
def test_what_is_damaged_is_named_and_the_one_before_is_taken(tmp_path, name):
    for step in (1, 2):
        save_checkpoint(tmp_path, checkpoint_of(step), keep=2)
    path = tmp_path / "step-00000002" / name
    path.write_bytes(path.read_bytes()[:-1])
    lines, say = heard()
    assert load_latest(tmp_path, say).step == 1
    assert "DAMAGED" in lines[0]
    assert str(path) in lines[0]
    assert "falling back to the checkpoint of step 1" in lines[1]
    save_checkpoint(tmp_path, checkpoint_of(2), keep=2)  # its step can be saved again
    assert load_latest(tmp_path, say).step == 2
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-00000001", "step-00000002"]


def test_a_missing_file_is_damage(tmp_path):
    path = save_checkpoint(tmp_path, checkpoint_of(1), keep=1)
    (path / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match="weights.safetensors"):
        load_checkpoint(path)


def test_where_all_are_damaged_the_run_does_not_start_anew(tmp_path):
    for step in (1, 2):
        path = save_checkpoint(tmp_path, checkpoint_of(step), keep=2)
        (path / "MANIFEST.json").write_text("{}")
    for _ in range(2):  # asking again does not help
        with pytest.raises(CheckpointError, match="no sound checkpoint is left"):
            load_latest(tmp_path, heard()[1])


def test_none_at_all_is_a_new_run(tmp_path):
    assert load_latest(tmp_path / "none", heard()[1]) is None
    (tmp_path / "step-00000001.partial").mkdir()
    assert load_latest(tmp_path, heard()[1]) is None


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path):
    path = save_checkpoint(tmp_path, checkpoint_of(1), keep=1)
    content = json.loads((path / "MANIFEST.json").read_text())
    content["files"]["../secret"] = {"size": 0, "sha256": ""}
    (path / "MANIFEST.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="plain names"):
        load_checkpoint(path)
