"""One recipe with several seeds: runs of their own, scores that spread, and nothing trained twice."""

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest

import dragoman
from dragoman.errors import CheckpointError, Interrupted, UserError
from dragoman.training import seeds as module
from dragoman.training.progress import read_log
from dragoman.training.seeds import Seeds, Spread, format_seeds, train_seeds
from dragoman.training.train import train

METRICS = {"metrics": ["cer", "exact_match"], "bootstrap_samples": 100}
SHORT = {"max_steps": 2, "validate_every": 2}


def quiet(line):
    """Hear nothing."""


@pytest.fixture
def recipe(recipe_of):
    return recipe_of(evaluation=METRICS, seed=7, **SHORT)


def test_every_seed_is_the_run_that_it_would_be_alone(recipe, recipe_of):
    found = train_seeds(recipe, 2, say=quiet)
    assert found.seeds == (7, 8)
    assert [Path(run).name for run in found.runs] == ["seed-1", "seed-2"]
    for number, seed in enumerate(found.seeds):
        alone = train(recipe_of(run=f"alone-{seed}", evaluation=METRICS, seed=seed, **SHORT), say=quiet)
        weights = Path(found.runs[number], "weights.safetensors").read_bytes()
        assert weights == Path(alone.folder, "weights.safetensors").read_bytes()
        report = dragoman.evaluate(alone.folder, split="dev")
        assert [one.values[number] for one in found.metrics] == [
            *(score.value for score in report.scores),
            report.loss,
        ]
        written = json.loads(Path(found.runs[number], "evaluation/dev/scores.json").read_text("utf-8"))
        assert written["scores"]["cer"]["value"] == report.scores[0].value
    assert [(one.label, one.higher_is_better) for one in found.metrics] == [
        ("cer", False),
        ("exact_match", True),
        ("loss", False),
    ]
    for one in found.metrics:
        assert one.mean == fmean(one.values)
        assert one.deviation == stdev(one.values)
    stored = json.loads(Path(recipe.run, "seeds.json").read_text("utf-8"))
    assert stored["seeds"] == [7, 8]
    assert stored["metrics"][0]["values"] == list(found.metrics[0].values)


def test_what_is_finished_is_not_repeated_and_what_was_stopped_goes_on(recipe):
    first = train_seeds(recipe, 2, say=quiet)
    logs = [Path(run, "log.jsonl").read_bytes() for run in first.runs]
    heard = []
    again = train_seeds(recipe, 3, say=heard.append)
    assert [Path(run, "log.jsonl").read_bytes() for run in again.runs[:2]] == logs
    assert sum("this run is finished" in line for line in heard) == 2
    assert "seed 9 (3 of 3)" in heard
    assert [one.values[:2] for one in again.metrics] == [one.values for one in first.metrics]
    assert read_log(Path(again.runs[2], "log.jsonl"))[-1]["kind"] == "end"


def test_a_folder_of_several_seeds_goes_on(recipe):
    first = train_seeds(recipe, 2, say=quiet)
    again = dragoman.train_seeds(recipe.run, seeds=3)
    assert again.seeds == (7, 8, 9)
    assert again.runs[:2] == first.runs
    assert again.metrics[0].values[:2] == first.metrics[0].values
    with pytest.raises(UserError, match=r"runs of several seeds.*: --seeds N goes on with all.*seed-1"):
        dragoman.train(recipe.run)
    with pytest.raises(CheckpointError, match=r"target\.min_count"):
        dragoman.train_seeds(recipe.run, "target.min_count=2", seeds=3)


def test_an_interruption_says_how_to_go_on_with_all(recipe, monkeypatch):
    def stop(*_, **__):
        raise Interrupted("stopped by SIGINT")

    monkeypatch.setattr(module, "train", stop)
    with pytest.raises(Interrupted, match="stopped by SIGINT\nor with all 3 seeds: the same command"):
        train_seeds(recipe, 3, say=quiet)


def test_the_batch_that_the_first_run_finds_holds_for_all(recipe_of):
    recipe = recipe_of(evaluation=METRICS, batch_tokens="auto", **SHORT)
    for _ in range(2):  # the second time it is known
        found = train_seeds(recipe, 2, say=quiet)
        tokens = {dragoman.load_recipe(Path(run, "recipe.yaml")).training.batch_tokens for run in found.runs}
        assert len(tokens) == 1
        assert isinstance(tokens.pop(), int)


def test_folders_that_hold_something_else_are_refused_before_anything_is_trained(recipe, recipe_of):
    train(recipe, say=quiet)
    with pytest.raises(UserError, match=r"run holds a single run already; .* run=.*run-seeds"):
        train_seeds(recipe, 2, say=quiet)
    elsewhere = recipe_of(run="other", evaluation=METRICS, **SHORT)
    train(recipe_of(run="other/seed-2", seed=99, **SHORT), say=quiet)
    with pytest.raises(
        CheckpointError, match=r"seed-2 holds a run of another recipe; .*\n(.*\n)*  seed: 99 -> 2"
    ):
        train_seeds(elsewhere, 2, say=quiet)
    assert not Path(elsewhere.run, "seed-1").exists()


def test_what_makes_no_sense_is_refused(recipe):
    with pytest.raises(UserError, match="1 seeds have no deviation: expected 2 or more"):
        train_seeds(recipe, 1)
    with pytest.raises(UserError, match="the recipe names no test set to score seeds on"):
        train_seeds(recipe, 2, "test")
    assert not Path(recipe.run).exists()


def test_what_is_said_of_it():
    spreads = (
        Spread("bleu", (30.0, 31.0), 30.5, 0.7071, True),
        Spread("loss", (2.0, 2.5), 2.25, 0.3536, False),
    )
    assert format_seeds(Seeds((1, 2), ("a", "b"), "dev", 1014, spreads)).splitlines() == [
        "2 seeds (1, 2) on dev, 1,014 examples: mean, standard deviation of one training, and every value",
        "bleu  30.50 ± 0.71  (30.00  31.00)",
        "loss  2.2500 ± 0.3536  (2.0000  2.5000)",
    ]


def test_the_verb_in_python(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(dragoman.recipe.loading.dump_recipe(recipe), "utf-8")
    found = dragoman.train_seeds(path, "training.max_steps=1", seeds=2)
    assert len(found.metrics[0].values) == 2
