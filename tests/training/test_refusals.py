"""What a run keeps where the disk refuses its files, or its data can no longer be read."""

import errno
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from dragoman.bundle import load_bundle, verify_bundle
from dragoman.errors import CheckpointError, DataError, UserError
from dragoman.training import finishing
from dragoman.training import run as running
from dragoman.training.averaging import weights_of
from dragoman.training.checkpoint import checkpoints_in
from dragoman.training.progress import Log, read_log
from dragoman.training.train import train

FULL = OSError(errno.ENOSPC, "No space left on device")
IN_WORDS = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def quiet(line):
    """Hear nothing."""


def weights(bundle):
    return {name: tensor.clone() for name, tensor in weights_of(bundle.model).items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def steps_in(recipe):
    return [int(path.name[-8:]) for path in checkpoints_in(Path(recipe.run) / "checkpoints")]


def refuse(monkeypatch, place, name, calls, fault=FULL):
    """Let some calls of a function fail, counted from 1."""
    real, tries = getattr(place, name), []

    def refusing(*given, **named):
        tries.append(1)
        if len(tries) in calls:
            raise fault
        return real(*given, **named)

    monkeypatch.setattr(place, name, refusing)


def test_a_full_disk_takes_the_older_checkpoints_and_keeps_the_new_one(recipe_of, monkeypatch):
    refuse(monkeypatch, running, "save_checkpoint", [3])
    recipe, lines = recipe_of(keep_checkpoints=5), []
    train(recipe, say=lines.append)
    assert steps_in(recipe) == [4, 6]
    assert any(
        "No space left" in line and "before the last are removed to make room (1)" in line for line in lines
    )
    assert not any("NOT SAVED" in line for line in lines)


def test_another_refusal_takes_no_checkpoint(recipe_of, monkeypatch):
    refuse(monkeypatch, running, "save_checkpoint", [3], OSError(errno.EIO, "Input/output error"))
    recipe, lines = recipe_of(keep_checkpoints=5), []
    train(recipe, say=lines.append)
    assert steps_in(recipe) == [2, 4]
    assert any("CHECKPOINT NOT SAVED at step 6: [Errno 5]" in line for line in lines)


@pytest.mark.parametrize("fault", [FULL, IN_WORDS], ids=["system", "safetensors"])
def test_a_bundle_takes_the_room_of_older_checkpoints(recipe_of, monkeypatch, fault):
    refuse(monkeypatch, finishing, "save_bundle", [1], fault)
    recipe = recipe_of(keep_checkpoints=5)
    train(recipe, say=quiet)
    assert verify_bundle(recipe.run) == []
    assert steps_in(recipe) == [6]


def test_a_bundle_that_finds_no_room_is_all_that_is_tried_again(recipe_of, monkeypatch):
    refuse(monkeypatch, finishing, "save_bundle", [1, 2])
    recipe = recipe_of()
    with pytest.raises(UserError, match="but the bundle cannot be saved: .*; make room and start again$"):
        train(recipe, say=quiet)
    monkeypatch.undo()
    monkeypatch.setattr("dragoman.training.train.take_step", None)  # no step is taken again
    train(recipe, say=quiet)
    assert verify_bundle(recipe.run) == []


@pytest.mark.parametrize("is_room_elsewhere", [True, False])
def test_what_no_checkpoint_has_is_saved_among_temporary_files(
    recipe_of, monkeypatch, tmp_path, is_room_elsewhere
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    refuse(monkeypatch, running, "save_checkpoint", [2, 3])
    refuse(monkeypatch, finishing, "save_bundle", [1] if is_room_elsewhere else [1, 2])
    recipe = recipe_of()
    with pytest.raises(UserError) as raised:
        train(recipe, say=quiet)
    monkeypatch.undo()
    again = train(recipe, say=quiet)
    if is_room_elsewhere:
        (rescued,) = elsewhere.iterdir()
        assert f"it is in {rescued}: move it to where there is room" in str(raised.value)
        assert same(weights(load_bundle(rescued)), weights(again))
    else:
        assert str(raised.value).endswith("make room and start again: it goes on from step 2 of 6")
        assert list(elsewhere.iterdir()) == []


def test_a_run_that_cannot_begin_says_what_would_do(recipe_of, monkeypatch):
    refuse(monkeypatch, Log, "begin", [1])
    with pytest.raises(CheckpointError, match="the disk refuses its files: .*; make room and start again"):
        train(recipe_of(), say=quiet)


GONE = DataError("dev.tsv:5: /data/3.wav: there is no such file")


def test_what_was_learnt_is_saved_before_a_run_stops_for_want_of_data(recipe_of, monkeypatch):
    refuse(monkeypatch, running, "validate", [1], GONE)
    recipe = recipe_of()
    with pytest.raises(DataError) as raised:
        train(recipe, say=quiet)
    monkeypatch.undo()
    assert steps_in(recipe) == [2, 3]
    first, second = str(raised.value).splitlines()
    assert first == str(GONE)
    assert second.startswith(
        "stopped after step 3; all up to step 3 is saved. Where the data are again as they were"
    )
    assert second.endswith(f"continue with: dragoman train {Path(recipe.run) / 'recipe.yaml'}")
    assert read_log(Path(recipe.run) / "log.jsonl")[-1]["kind"] == "stop"
    assert same(weights(train(recipe, say=quiet)), weights(train(recipe_of("straight"), say=quiet)))


def test_data_that_are_gone_at_the_end_cost_nothing(recipe_of, monkeypatch):
    refuse(monkeypatch, finishing, "final_scores", [1], GONE)
    recipe = recipe_of()
    with pytest.raises(DataError, match="stopped after step 6; all up to step 6 is saved"):
        train(recipe, say=quiet)
    monkeypatch.undo()
    monkeypatch.setattr("dragoman.training.train.take_step", None)
    train(recipe, say=quiet)
    assert verify_bundle(recipe.run) == []
