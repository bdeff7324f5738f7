"""What training promises besides exact resumption: counts, stops, refusals, and one story in the log."""

import errno
import json
import re
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dragoman.bundle import load_bundle, verify_bundle
from dragoman.data.batching import collate
from dragoman.data.prepare import prepare, read_split
from dragoman.data.rejects import Rejects
from dragoman.decoding.selftest import selftest
from dragoman.errors import CheckpointError, Diverged, Interrupted, MissingExtra, UserError
from dragoman.native.training import kernels_here
from dragoman.recipe.loading import load_recipe
from dragoman.training import batch_size, beginning, step
from dragoman.training import run as running
from dragoman.training import train as page
from dragoman.training.averaging import weights_of
from dragoman.training.checkpoint import checkpoints_in, load_checkpoint
from dragoman.training.progress import read_log
from dragoman.training.train import train
from dragoman.training.validation import validate


def quiet(line):
    """Hear nothing."""


def weights(bundle):
    return {name: tensor.clone() for name, tensor in weights_of(bundle.model).items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def log_of(recipe, *kinds):
    lines = read_log(Path(recipe.run) / "log.jsonl")
    return [line for line in lines if not kinds or line["kind"] in kinds]


def timeless(recipe):
    lines = log_of(recipe, "train", "validation")
    return [{name: value for name, value in line.items() if "second" not in name} for line in lines]


@pytest.fixture
def stop_after(monkeypatch):
    """Make a run believe that it got SIGTERM after some steps."""

    def arm(steps):
        taken = []

        def stopping(run):
            step.take_step(run)
            taken.append(1)
            if len(taken) == steps:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(page, "take_step", stopping)

    yield arm
    monkeypatch.undo()


def test_a_run_leaves_a_sound_bundle_with_facts_scores_and_a_sample(recipe_of):
    recipe = recipe_of(evaluation={"metrics": ["exact_match", "cer"]})
    bundle = train(recipe, say=quiet)
    folder = Path(recipe.run)
    assert verify_bundle(folder) == []
    loaded = load_bundle(folder)
    assert same(weights(loaded), weights(bundle))
    assert selftest(loaded) == []
    found = json.loads((folder / "metrics.json").read_text())["validation"]
    assert found["loss"] == min(line["loss"] for line in log_of(recipe, "validation"))
    assert {"value", "low", "high", "signature"} <= found["cer"].keys()
    assert len((folder / "sample.jsonl").read_text().splitlines()) == 20
    assert "target tokens seen" in (folder / "README.md").read_text()
    assert load_recipe(folder / "recipe.yaml") == recipe
    assert not bundle.model.training
    assert not (folder / "lock.json").exists()


def test_the_log_says_what_a_run_did(recipe_of):
    recipe = recipe_of()
    train(recipe, say=quiet)
    lines = log_of(recipe)
    assert [line["kind"] for line in lines if line["kind"] != "train"] == [
        "start",
        "checkpoint",
        "validation",
        "checkpoint",
        "validation",
        "checkpoint",
        "end",
    ]
    steps = log_of(recipe, "train")
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[-1]["tokens_seen"] > steps[0]["tokens_seen"] > 0
    for line in steps:
        assert line["loss"] > 0 and line["gradient_norm"] > 0 and line["learning_rate"] == 0.001


def test_it_learns(recipe_of):
    recipe = recipe_of(
        max_steps=60, validate_every=60, log_every=1, optimizer={"kind": "adam", "learning_rate": 0.02}
    )
    train(recipe, say=quiet)
    assert log_of(recipe, "validation")[-1]["loss"] < 0.8 * log_of(recipe, "train")[0]["loss"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(recipe_of):
    first = weights(train(recipe_of("a"), say=quiet))
    torch.rand(7)  # whatever was drawn before
    assert same(first, weights(train(recipe_of("b"), say=quiet)))
    assert not same(first, weights(train(recipe_of("c", seed=2), say=quiet)))


def test_validations_do_not_disturb_training(recipe_of):
    sample = {"metrics": ["cer"]}
    often = train(
        recipe_of("often", validate_every=1, watch="loss", evaluation=sample, max_steps=6), say=quiet
    )
    seldom = train(recipe_of("seldom", validate_every=6, max_steps=6), say=quiet)

    def final(bundle):
        return load_checkpoint(bundle.folder / "checkpoints" / "step-00000006").group("weights")

    assert same(final(often), final(seldom))


def test_accumulated_batches_are_one_big_batch(recipe_of, monkeypatch):
    found = {}
    for name, pieces in (("whole", 1), ("pieces", 4)):
        recipe = recipe_of(name, max_steps=3, accumulate=pieces, clip_norm=None)
        dropless = recipe.model.model_copy(
            update={
                "encoder": recipe.model.encoder.model_copy(update={"dropout": 0.0}),
                "decoder": recipe.model.decoder.model_copy(update={"dropout": 0.0}),
            }
        )
        recipe = recipe.model_copy(update={"model": dropless})
        with monkeypatch.context() as patch:
            if pieces == 1:
                patch.setattr(step, "_draw", joined)
            found[name] = weights(train(recipe, say=quiet))
    for name, tensor in found["whole"].items():
        torch.testing.assert_close(tensor, found["pieces"][name], rtol=1e-4, atol=1e-5)


def joined(run, drawn=step._draw):
    """Draw four batches and put them into one."""
    accumulate = run.recipe.training.model_copy(update={"accumulate": 4})
    run.recipe = run.recipe.model_copy(update={"training": accumulate})
    batches = drawn(run)
    run.recipe = run.recipe.model_copy(
        update={"training": run.recipe.training.model_copy(update={"accumulate": 1})}
    )

    def rows(side):
        return [
            values[:length].numpy()
            for batch in batches
            for values, length in zip(side(batch).values, side(batch).lengths_B.tolist(), strict=True)
        ]

    ids = [name for batch in batches for name in batch.ids]
    return [collate(rows(lambda batch: batch.source), rows(lambda batch: batch.target), ids)]


def spoiled(steps):
    """Take steps whose loss is not a number at some of the numbers 1, 2, ..."""
    taken = []
    real = step.objective_loss

    def loss(model, batch, section):
        taken.append(1)
        found = real(model, batch, section)
        return replace(found, total=found.total * float("nan")) if len(taken) in steps else found

    return loss


def test_a_step_that_is_not_finite_is_skipped_counted_and_logged(recipe_of, monkeypatch):
    monkeypatch.setattr(step, "objective_loss", spoiled({2, 4, 5, 6, 7}))
    recipe = recipe_of()
    bundle = train(recipe, say=quiet)
    assert [line["skipped"] for line in log_of(recipe, "skip")] == [1, 2, 3, 4, 5]
    assert log_of(recipe, "end")[0]["skipped"] == 5
    assert [line["step"] for line in log_of(recipe, "train")] == [1, 2, 3, 4, 5, 6]
    assert all(tensor.isfinite().all() for tensor in weights(bundle).values())
    assert "nan" in log_of(recipe, "skip")[0]["gradient_norm"]


def test_five_in_a_row_stop_the_run_and_leave_the_batch(recipe_of, monkeypatch):
    monkeypatch.setattr(step, "objective_loss", spoiled(range(4, 100)))
    recipe = recipe_of()
    with pytest.raises(Diverged, match=r"5 times in a row after step 3.*diverged\.json"):
        train(recipe, say=quiet)
    content = json.loads((Path(recipe.run) / "diverged.json").read_text())
    assert content["after_step"] == 3
    for row in content["examples"]:
        assert row["source"] == row["target"][::-1]
        assert row["id"].startswith("pairs.tsv:")


def test_early_stopping_ends_the_run_with_the_best_weights(recipe_of):
    recipe = recipe_of(
        max_steps=200,
        validate_every=1,
        early_stopping={"patience": 2},
        optimizer={"kind": "sgd", "learning_rate": 50.0},
        clip_norm=None,
    )
    bundle = train(recipe, say=quiet)
    losses = [line["loss"] for line in log_of(recipe, "validation")]
    best = losses.index(min(losses))
    assert len(losses) == best + 3
    assert log_of(recipe, "end")[0]["reason"] == "no better loss in 2 validations"
    assert log_of(recipe, "end")[0]["best_step"] == best + 1
    dev = read_split(recipe, "dev", Rejects(strict=True))
    assert validate(bundle, dev, ())["loss"] == pytest.approx(losses[best], abs=1e-6)


def test_a_watched_metric_that_rises_picks_the_highest(recipe_of):
    recipe = recipe_of(validate_every=1, watch="chrf", evaluation={"metrics": ["chrf"]})
    train(recipe, say=quiet)
    found = [line["metrics"]["chrf"] for line in log_of(recipe, "validation")]
    assert log_of(recipe, "end")[0]["best_step"] == found.index(max(found)) + 1


def test_epochs_end_a_run_where_they_end(recipe_of):
    recipe = recipe_of(max_steps=None, max_epochs=2.0, validate_every=1000, log_every=1)
    train(recipe, say=quiet)
    epochs = [line["epoch"] for line in log_of(recipe, "train")]
    assert epochs[-1] == 2.0
    assert epochs[-2] < 2.0
    assert epochs == sorted(epochs)


def test_stopped_and_continued_it_is_as_if_it_never_stopped(recipe_of, stop_after, monkeypatch):
    straight, stopped = recipe_of("straight", max_steps=9), recipe_of("stopped", max_steps=9)
    expected = weights(train(straight, say=quiet))
    stop_after(5)
    with pytest.raises(
        Interrupted, match=r"after step 5; everything is saved.*dragoman train .*recipe\.yaml"
    ):
        train(stopped, say=quiet)
    assert not (Path(stopped.run) / "lock.json").exists()
    monkeypatch.undo()
    continued = load_recipe(Path(stopped.run) / "recipe.yaml")
    assert same(weights(train(continued, say=quiet)), expected)
    assert timeless(stopped) == timeless(straight)
    assert [line["kind"] for line in log_of(stopped, "stop", "resume", "end")] == ["stop", "resume", "end"]


def test_a_stop_right_before_a_validation_does_not_lose_it(recipe_of, stop_after, monkeypatch):
    straight, stopped = recipe_of("straight"), recipe_of("stopped")
    expected = weights(train(straight, say=quiet))
    stop_after(3)  # validate_every is 3
    with pytest.raises(Interrupted):
        train(stopped, say=quiet)
    assert log_of(stopped, "validation") == []
    monkeypatch.undo()
    assert same(weights(train(stopped, say=quiet)), expected)
    assert [line["step"] for line in log_of(stopped, "validation")] == [3, 6]


def test_a_finished_run_is_only_loaded(recipe_of, monkeypatch):
    recipe = recipe_of()
    expected = weights(train(recipe, say=quiet))
    monkeypatch.setattr(page, "begun", None)
    lines = []
    assert same(weights(train(recipe, say=lines.append)), expected)
    assert "this run is finished (max_steps 6)" in lines[-1]


def test_a_damaged_bundle_of_a_finished_run_is_made_again(recipe_of):
    recipe = recipe_of()
    expected = weights(train(recipe, say=quiet))
    (Path(recipe.run) / "weights.safetensors").write_bytes(b"x")
    assert same(weights(train(recipe, say=quiet)), expected)
    assert verify_bundle(recipe.run) == []


def test_a_finished_run_can_be_told_to_go_on(recipe_of):
    longer = weights(train(recipe_of("longer", max_steps=9), say=quiet))
    train(recipe_of(max_steps=6), say=quiet)
    assert same(weights(train(recipe_of(max_steps=9), say=quiet)), longer)


def test_another_recipe_is_refused_with_the_keys_that_differ(recipe_of, stop_after, monkeypatch):
    stop_after(3)
    with pytest.raises(Interrupted):
        train(recipe_of(), say=quiet)
    monkeypatch.undo()
    changed = recipe_of(seed=5, clip_norm=2.0, log_every=3)
    with pytest.raises(CheckpointError) as caught:
        train(changed, say=quiet)
    message = str(caught.value)
    assert "seed: 1 -> 5" in message
    assert "training.clip_norm: 1.0 -> 2.0" in message
    assert "log_every" not in message
    assert "another `run`" in message


def test_validations_in_int8_see_the_weights_of_their_step(recipe_of):
    decoding = {"evaluation": {"metrics": ["exact_match"]}}  # or validations would not decode
    recipe = recipe_of(**decoding, optimizer={"kind": "adam", "learning_rate": 0.05}).model_dump()
    recipe["decoding"]["precision"] = "int8"
    bundle = train(type(recipe_of()).model_validate(recipe), say=quiet)
    assert selftest(load_bundle(bundle.folder)) == []  # its stored answers are those of the finished model


def test_int8_is_refused_before_a_run_on_a_gpu_begins(recipe_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    recipe = recipe_of(device="auto").model_dump()
    recipe["decoding"]["precision"] = "int8"
    with pytest.raises(UserError, match="would validate on a GPU"):
        train(type(recipe_of()).model_validate(recipe), say=quiet)


def test_a_run_goes_on_under_a_version_with_more_keys(recipe_of, stop_after, monkeypatch):
    real = running.save_checkpoint

    def older(folder, checkpoint, keep):
        record = json.loads(json.dumps(checkpoint.record))
        del record["recipe"]["decoding"]["precision"], record["recipe"]["training"]["clip_norm"]
        return real(folder, replace(checkpoint, record=record), keep)

    monkeypatch.setattr(running, "save_checkpoint", older)
    stop_after(4)
    with pytest.raises(Interrupted):
        train(recipe_of(), say=quiet)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="clip_norm: 1.0 -> 2.0"):
        train(recipe_of(clip_norm=2.0), say=quiet)
    lines = []
    train(recipe_of(), say=lines.append)
    assert any("going on from the checkpoint of step" in line for line in lines)


def test_a_run_that_goes_on_with_other_kernels_says_so(recipe_of, stop_after, monkeypatch):
    if kernels_here() == "torch":
        pytest.skip("this machine has no kernels in C")
    stop_after(4)
    with pytest.raises(Interrupted):
        train(recipe_of(), say=quiet)
    monkeypatch.undo()
    monkeypatch.setattr("dragoman.training.beginning.kernels_here", lambda: "torch")
    lines = []
    train(recipe_of(), say=lines.append)
    assert any(line.startswith("torch alone computes, more slowly: kernels in C need") for line in lines)
    assert any("(kernels C 2 -> torch): the run goes on, but not to the same bits" in line for line in lines)


def test_kernels_are_compiled_while_data_are_prepared(recipe_of, monkeypatch):
    compiling, is_compiled, found = threading.Event(), threading.Event(), []

    def compile_kernels():
        compiling.set()
        is_compiled.wait(60)
        return "torch"

    def prepare_then_compiled(*given):
        found.append(compiling.wait(60))
        is_compiled.set()
        return prepare(*given)

    monkeypatch.setattr(beginning, "kernels_here", compile_kernels)
    monkeypatch.setattr(beginning, "prepare", prepare_then_compiled)
    train(recipe_of(max_steps=1), say=quiet)
    assert found == [True]


def test_changed_data_are_refused(recipe_of, words, stop_after, monkeypatch, tmp_path):
    pairs = (words / "pairs.tsv").read_text()
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "pairs.tsv").write_text(pairs)
    stop_after(3)
    with pytest.raises(Interrupted):
        train(recipe_of(), say=quiet)
    monkeypatch.undo()
    elsewhere = {"folder": str(moved)}
    (moved / "pairs.tsv").write_text(pairs + "abc\tcba\n")
    with pytest.raises(CheckpointError, match="data have changed"):
        train(recipe_of(data=elsewhere), say=quiet)
    (moved / "pairs.tsv").write_text(pairs)
    train(recipe_of(data=elsewhere), say=quiet)  # where it lies is not what it says


def test_a_full_disk_costs_a_checkpoint_not_the_run(recipe_of, monkeypatch):
    recipe = recipe_of()
    real, tries = running.save_checkpoint, []

    def refusing(*given):
        tries.append(1)
        if len(tries) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    monkeypatch.setattr(running, "save_checkpoint", refusing)
    lines = []
    train(recipe, say=lines.append)
    assert any("CHECKPOINT NOT SAVED at step 4" in line and "No space left" in line for line in lines)
    assert log_of(recipe, "checkpoint_failed")[0]["step"] == 4
    assert "checkpoints not saved" in (Path(recipe.run) / "README.md").read_text()


def test_a_folder_that_cannot_be_written_fails_at_the_start(recipe_of, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match="expected a folder to write the run to"):
        train(recipe_of(), say=quiet)


def test_auto_finds_a_batch_and_writes_it_down_before_training(recipe_of, stop_after, monkeypatch):
    monkeypatch.setattr(batch_size, "CANDIDATES", (32, 64, 128))
    monkeypatch.setattr(batch_size, "_BATCHES_AN_EPOCH", 2)
    recipe = recipe_of(batch_tokens="auto")
    stop_after(2)
    with pytest.raises(Interrupted):
        train(recipe, say=quiet)
    monkeypatch.undo()
    written = load_recipe(Path(recipe.run) / "recipe.yaml")
    assert written.training.batch_tokens in (32, 64, 128)
    monkeypatch.setattr("dragoman.training.beginning.find_batch_tokens", None)  # nobody measures again
    bundle = train(recipe, say=quiet)
    assert bundle.recipe == written
    straight = train(written.model_copy(update={"run": recipe.run + "2"}), say=quiet)
    assert same(weights(bundle), weights(straight))


def test_auto_stops_where_memory_does(recipe_of, monkeypatch):
    monkeypatch.setattr(batch_size, "CANDIDATES", (32, 64, 128))
    monkeypatch.setattr(batch_size, "_BATCHES_AN_EPOCH", 2)
    monkeypatch.setattr(batch_size, "_WORTHWHILE", 0.0)
    real = batch_size.objective_loss

    def hungry(model, batch, section):
        if batch.target.values.numel() > 70:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(model, batch, section)

    monkeypatch.setattr(batch_size, "objective_loss", hungry)
    lines = []
    bundle = train(recipe_of(batch_tokens="auto"), say=lines.append)
    assert bundle.recipe.training.batch_tokens == 64
    assert any("128 does not fit in memory" in line for line in lines)


def test_tensorboard_is_written_beside_the_log(recipe_of):
    pytest.importorskip("tensorboardX")
    recipe = recipe_of(tensorboard=True)
    train(recipe, say=quiet)
    events = list((Path(recipe.run) / "tensorboard").iterdir())
    assert b"train/loss" in events[0].read_bytes()


def test_without_tensorboard_the_line_that_installs_it_is_said_before_anything_is_done(
    recipe_of, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    recipe = recipe_of(tensorboard=True)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'dragoman[track]'")):
        train(recipe, say=quiet)
    assert not (Path(recipe.run) / "recipe.yaml").exists()


def test_outside_the_main_thread_it_trains_too(recipe_of):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(recipe_of(), say=quiet)))
    thread.start()
    thread.join()
    assert len(found) == 1


def test_threads_are_as_before_afterwards(recipe_of):
    torch.set_num_threads(2)
    try:
        train(recipe_of(threads=1, max_steps=1), say=quiet)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    "average", [{"kind": "exponential", "decay": 0.5}, {"kind": "checkpoints", "count": 2}]
)
def test_an_average_is_what_is_validated_and_kept(recipe_of, average):
    recipe = recipe_of(average=average, checkpoint_every=1, max_steps=4, validate_every=4)
    bundle = train(recipe, say=quiet)
    third, fourth = (load_checkpoint(path) for path in checkpoints_in(Path(recipe.run) / "checkpoints"))
    before, last = third.group("weights"), fourth.group("weights")
    kept = weights(bundle)
    assert not same(kept, last)
    if average["kind"] == "checkpoints":
        for name, tensor in kept.items():
            torch.testing.assert_close(tensor, (last[name] + before[name]) / 2)
    else:
        assert same(kept, fourth.group("average"))
