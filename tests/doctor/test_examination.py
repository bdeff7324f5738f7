"""The doctor's visit: machine, batch by heart, bundles, runs, output."""

import json
import shutil

import pytest
import torch

import dragoman
from dragoman.doctor import environment as machine
from dragoman.doctor.examination import examine
from dragoman.doctor.findings import Finding, as_rows, as_text, faults_of
from dragoman.doctor.overfit import overfit_findings
from dragoman.recipe.loading import recipe_from

WORDS = ["ab", "ba", "aab", "abb", "bab", "bba", "aba", "a", "b", "aa", "bb", "abab"]


@pytest.fixture
def recipe_of(tmp_path):
    tmp_path.joinpath("pairs.tsv").write_text("".join(f"{w}\t{w.upper()}\n" for w in WORDS * 3), "utf-8")

    def make(targets=None, **sections):
        if targets is not None:
            lines = "".join(f"{w}\t{t}\n" for w, t in zip(WORDS, targets, strict=True))
            tmp_path.joinpath("pairs.tsv").write_text(lines, "utf-8")
        data = {"train": [{"file": "pairs.tsv"}], "dev": {"file": "pairs.tsv"}, "cache": str(tmp_path / "c")}
        part = {"kind": "gru", "width": 32, "dropout": 0.5}
        return recipe_from(
            {
                "run": str(tmp_path / "run"),
                "data": data,
                "source": {"kind": "characters"},
                "target": {"kind": "characters"},
                "model": {"encoder": part, "decoder": part},
                "decoding": {"method": "greedy"},
                **sections,
                "training": {
                    "max_steps": 2,
                    "threads": 1,
                    "precision": "fp32",
                    **sections.get("training", {}),
                },
            },
            tmp_path,
        )

    return make


def adam(rate):
    return {"optimizer": {"kind": "adam", "learning_rate": rate}}


def test_a_batch_is_learnt_by_heart_without_dropout(recipe_of):
    (one,) = overfit_findings(recipe_of(training=adam(0.01)))
    assert one.severity == "note" and "by heart" in one.found


def test_a_learning_rate_that_is_too_high_is_to_blame(recipe_of):
    (one,) = overfit_findings(recipe_of(training=adam(30.0)))
    assert one.severity == "fault"
    assert "too high" in one.means and "learning_rate=0.001" in one.mend


def test_a_model_that_cannot_tell_its_inputs_apart_is_a_fault(recipe_of):
    blind = {"kind": "gru", "width": 1, "dropout": 0.0, "attention": {"kind": "none"}}
    narrow = {"encoder": {"kind": "gru", "width": 1, "bidirectional": False}, "decoder": blind}
    targets = ["".join(chr(97 + (n * 7 + k * k) % 26) for k in range(12)) for n in range(12)]
    (one,) = overfit_findings(recipe_of(targets, model=narrow, training=adam(0.003)))
    assert one.severity in ("fault", "warning")
    assert "by heart" in one.means and one.mend


def test_time_is_bounded(recipe_of):
    (one,) = overfit_findings(recipe_of(training=adam(1e-5)), longest_seconds=0.0)
    assert one.severity != "note" or "time was up" in one.found


def test_series_are_learnt_by_heart_too(series_run):
    recipe = dragoman.load_recipe(series_run / "recipe.yaml")
    (one,) = overfit_findings(recipe, longest_seconds=5.0)
    assert one.section == "overfit" and "went from" in one.found


def test_the_machine_is_held_against_the_recipe(recipe_of, monkeypatch):
    found = list(machine.environment(recipe_of(training={"threads": 512})))
    assert any("512 threads" in one.found and one.severity == "warning" for one in found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "kernels_here", lambda: "torch")
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 5))
    monkeypatch.setattr(machine.torch, "__version__", "2.4.1")
    recipe = recipe_of(training={"device": "cuda", "tensorboard": True})
    found = list(machine.environment(recipe))
    for text, severity in (
        ("older than 2.6", "fault"),
        ("sees none", "fault"),
        ("no kernels in C", "warning"),
        ("tensorboardX is not installed", "fault"),
        ("GiB are free", "warning"),
    ):
        chosen = [one for one in found if text in one.found]
        assert chosen and all(one.severity == severity and one.means and one.mend for one in chosen), text


def test_a_gpu_that_lies_idle_is_told(recipe_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a card")
    found = list(machine.environment(recipe_of(training={"device": "cpu"})))
    assert any("a card is there" in one.found for one in found)
    assert any("GPU: a card" in one.found for one in machine.environment(recipe_of()))


def test_a_run_is_examined_whole_damaged_and_unfinished(recipe_of, tmp_path):
    recipe = recipe_of(training={"max_steps": 4, "log_every": 1, "validate_every": 2})
    dragoman.train(recipe)
    run = tmp_path / "run"
    found = examine([run])
    assert not faults_of([one for one in found if one.section == "bundle"])
    assert any("stored sample" in one.found for one in found)
    weights = bytearray((run / "weights.safetensors").read_bytes())
    weights[-3] ^= 1
    (run / "weights.safetensors").write_bytes(bytes(weights))
    assert "weights.safetensors" in faults_of(examine([run], quick=True))[0].found
    lines = (run / "log.jsonl").read_text("utf-8").splitlines(keepends=True)
    (run / "log.jsonl").write_text("".join(lines[:-1]), "utf-8")
    (run / "MANIFEST.json").unlink()
    found = examine([run], quick=True)
    assert any("has not ended" in one.found for one in found)
    (run / "log.jsonl").unlink()
    assert any("no log.jsonl" in one.found for one in examine([run], quick=True))


def test_a_run_that_ignores_its_source_is_found(recipe_of, tmp_path):
    """Targets that do not follow from sources: the best model is that of targets alone."""
    draw = torch.Generator().manual_seed(1)
    pairs = [
        ("".join("ab"[int(b)] for b in torch.randint(2, (6,), generator=draw)), "xy"[n % 2] * 3)
        for n in range(100)
    ]
    recipe = recipe_of(
        training={
            "max_steps": 40,
            "validate_every": 20,
            "log_every": 5,
            "batch_tokens": 256,
            "schedule": {"kind": "constant"},
            **adam(0.01),
        }
    )
    tmp_path.joinpath("pairs.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in pairs), "utf-8")
    dragoman.train(recipe)
    found = examine([tmp_path / "run"])
    assert any("source of another" in one.found and one.severity == "fault" for one in found)


def test_findings_are_grouped_and_counted():
    found = [
        Finding("data", "fault", "a", "b", "c"),
        Finding("recipe", "note", "d"),
        Finding("data", "warning", "e"),
    ]
    text = as_text(found)
    assert text.splitlines()[:4] == ["data", "  fault: a", "      it means: b", "      mend it: c"]
    assert text.endswith("1 fault, 1 warning")
    assert json.loads(json.dumps(as_rows(found)))[0]["mend"] == "c"
    assert faults_of(found) == found[:1]


def test_data_are_examined_with_the_recipe_planned_for_them(recipe_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe_of()
    found = examine(["pairs.tsv"], quick=True)
    assert "dragoman plan" in found[0].found
    assert not any(one.section == "overfit" for one in found)
