"""A bundle comes back as it was saved, or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dragoman import bundle as bundles
from dragoman.bundle import Bundle, json_line, load_bundle, save_bundle, verify_bundle
from dragoman.data.codec import learn_codecs
from dragoman.errors import BundleError, UserError
from dragoman.model.build import build_model
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example

EXAMPLES = [Example("abc", ("xyz",)), Example("cab", ("zx",))]
SAMPLE = [{"source": "abc\u2028", "answer": "xyz\x85", "score": -0.5}]
METRICS = {
    "test": {"loss": 1.5, "scores": {"cer": {"value": 12.0, "low": 10.0, "high": 14.0, "signature": "a|b"}}}
}
FACTS = {"license": "cc0-1.0", "steps": 1234, "data": {"train_examples": 2}}


def recipe(folder, tie="none", model=None, codec=None):
    small = {"kind": "gru", "width": 4}
    codec = codec or {"kind": "characters"}
    return recipe_from(
        {
            "run": str(folder),
            "data": {"train": [{"source": "a", "target": "b"}], "held_out_dev": 0.1},
            "source": codec,
            "target": codec,
            "joint_vocabulary": tie == "all",
            "model": {"encoder": small, "decoder": small, "tie": tie, **(model or {})},
            "training": {"max_steps": 1},
            "evaluation": {"metrics": ["cer"]},
        }
    )


def untrained(folder, **options):
    given = recipe(folder, **options)
    codecs = learn_codecs(given, lambda: iter(EXAMPLES))
    return Bundle(given, codecs, build_model(given.model, codecs.source.port, codecs.target.port), folder)


def save(bundle, folder):
    save_bundle(bundle, folder, METRICS, SAMPLE, FACTS)
    return folder


def copy_of(folder, to):
    shutil.copytree(folder, to, dirs_exist_ok=True, symlinks=True)
    return to


def reseal(folder, **changes):
    """Write a manifest that fits the files as they are now, as somebody who means harm would."""
    names = bundles._names_in(folder)
    files = {name: bundles._entry(folder / name) for name in names if name != bundles.MANIFEST}
    content = {"format": 1, "dragoman": "0", "files": {**files, **changes.pop("files", {})}, **changes}
    (folder / bundles.MANIFEST).write_text(bundles._sealed(content))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(1)
    return save(untrained(folder), folder)


@pytest.fixture
def folder(saved, tmp_path):
    return copy_of(saved, tmp_path / "bundle")


# --- what is saved comes back


TIED = {"encoder": {"kind": "transformer", "width": 4, "heads": 1, "layers": 1, "feedforward_width": 4}}


@pytest.mark.parametrize("options", [{}, {"tie": "decoder"}, {"tie": "all", "model": TIED}])
def test_what_is_saved_comes_back_to_the_bit(tmp_path, options):
    bundle = untrained(tmp_path, **options)
    save(bundle, tmp_path)
    loaded = load_bundle(tmp_path, "cpu")
    assert loaded.recipe == bundle.recipe
    assert loaded.folder == tmp_path
    assert loaded.device == torch.device("cpu")
    assert not loaded.model.training
    before, after = bundle.model.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert loaded.codecs.source.encode("cab").tolist() == bundle.codecs.source.encode("cab").tolist()
    assert verify_bundle(tmp_path) == []


def test_tied_tensors_are_saved_once_and_stay_tied(tmp_path):
    bundle = untrained(tmp_path, tie="all", model=TIED)
    save(bundle, tmp_path)
    written = load_file(tmp_path / "weights.safetensors")
    state = bundle.model.state_dict(keep_vars=True)
    assert len(written) == len({id(tensor) for tensor in state.values()}) < len(state)
    loaded = load_bundle(tmp_path, "cpu").model
    assert loaded.source_frontend.weight is loaded.target_frontend.weight is loaded.head.weight


def test_weights_are_float32_whatever_the_model_was(tmp_path):
    bundle = untrained(tmp_path)
    bundle.model.double()
    save(bundle, tmp_path)
    assert {t.dtype for t in load_file(tmp_path / "weights.safetensors").values()} == {torch.float32}
    assert next(load_bundle(tmp_path, "cpu").model.parameters()).dtype == torch.float32


def test_whoever_may_read_the_recipe_may_read_the_weights(saved):
    modes = {(saved / name).stat().st_mode for name in ("recipe.yaml", "weights.safetensors")}
    assert len(modes) == 1


def test_loading_leaves_the_random_numbers_alone(saved):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_bundle(saved, "cpu")
    assert torch.equal(torch.rand(3), wanted)


def test_subword_models_travel_along(tmp_path):
    bundle = untrained(tmp_path, codec={"kind": "unigram", "size": 400})
    save(bundle, tmp_path)
    assert (tmp_path / "codecs/source/subwords.model").is_file()
    tokens = bundle.codecs.target.encode("zxy")
    assert load_bundle(tmp_path, "cpu").codecs.target.decode(tokens) == "zxy"
    save(untrained(tmp_path), tmp_path)  # over it, a bundle without subwords
    assert not (tmp_path / "codecs/source/subwords.model").exists()
    assert verify_bundle(tmp_path) == []


def test_the_files_beside_a_bundle_are_none_of_its_business(folder):
    for name in ("checkpoints/step-1/weights", "log.jsonl", "predictions/x", "a.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("anything")
    save(load_bundle(folder, "cpu"), folder)
    assert verify_bundle(folder) == []
    assert (folder / "checkpoints/step-1/weights").read_text() == "anything"
    assert not list(folder.glob("*partial*"))


def test_the_card_says_what_a_person_needs(saved):
    card = (saved / "README.md").read_text()
    head = card.split("---\n")[1].splitlines()
    assert {'license: "cc0-1.0"', 'library_name: "dragoman"', 'metrics: ["cer"]'} <= set(head)
    for line in (
        "| test.cer | 12.00 | 10.00 to 14.00 (95%) | a\\|b |",
        "| test.loss | 1.50 |  |  |",
        "| steps | 1,234 |",
        "| data.train_examples | 2 |",
        "| encoder | gru, 1 layers of width 4 |",
        "## Limitations",
    ):
        assert line in card


def test_a_line_of_json_is_one_line_for_everybody(saved):
    lines = (saved / "sample.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == SAMPLE
    assert json_line({"a": "ü"}) == '{"a": "ü"}\n'


# --- saving over an older bundle is all or nothing


def test_a_crash_at_any_moment_leaves_the_old_bundle_the_new_one_or_none(saved, tmp_path, monkeypatch):
    """Every call that touches the disk fails in its turn; what then verifies is one bundle, not a mixture."""
    old = {name: (saved / name).read_bytes() for name in bundles._names_in(saved)}
    torch.manual_seed(2)
    new = untrained(tmp_path)
    monkeypatch.setattr(bundles.os, "fsync", lambda handle: None)  # slow, and nothing here cuts the power
    save(new, tmp_path / "whole")
    fresh = {name: (tmp_path / "whole" / name).read_bytes() for name in bundles._names_in(tmp_path / "whole")}
    assert fresh["weights.safetensors"] != old["weights.safetensors"]
    outcomes = []
    for moment in range(1000):
        folder = copy_of(saved, tmp_path / f"crash-{moment}")
        with monkeypatch.context() as patched:
            crashed = _crashes_at(patched, moment)
            with contextlib.suppress(OSError):
                save(new, folder)
            if not crashed():
                break
        if verify_bundle(folder):
            outcomes.append("none")
        else:
            now = {name: (folder / name).read_bytes() for name in old}
            assert now in (old, fresh)
            outcomes.append("old" if now == old else "new")
        save(new, folder)  # what is left can always be saved over
        assert verify_bundle(folder) == []
        shutil.rmtree(folder)
    assert outcomes == sorted(outcomes, key=["old", "none", "new"].index)
    assert {"old", "none"} <= set(outcomes)


def _crashes_at(patched, moment):
    calls = iter(range(10**6))
    reached = []

    def failing(real):
        def call(*arguments, **options):
            if next(calls) >= moment:
                reached.append(True)
                raise OSError("the power is gone")
            return real(*arguments, **options)

        return call

    patched.setattr(bundles, "save_file", failing(save_file))
    patched.setattr(bundles.os, "fsync", failing(os.fsync))
    for name in ("write_text", "write_bytes", "replace", "unlink", "mkdir"):
        patched.setattr(Path, name, failing(getattr(Path, name)))
    return lambda: bool(reached)


# --- what was changed is refused


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_byte_of_a_bundle_can_change(saved, tmp_path_factory, data):
    folder = copy_of(saved, tmp_path_factory.mktemp("flip") / "bundle")
    path = folder / data.draw(st.sampled_from(bundles._names_in(saved)))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    _refused(folder, path.name)


@settings(max_examples=75, deadline=None)
@given(data=st.data())
def test_no_file_of_a_bundle_can_end_early_or_late(saved, tmp_path_factory, data):
    folder = copy_of(saved, tmp_path_factory.mktemp("cut") / "bundle")
    path = folder / data.draw(st.sampled_from(bundles._names_in(saved)))
    content = path.read_bytes()
    end = data.draw(st.integers(-len(content), 3).filter(bool))
    path.write_bytes(content[:end] if end < 0 else content + b"\n" * end)
    _refused(folder, path.name)


def _refused(folder, name):
    complaints = verify_bundle(folder)
    assert len(complaints) == 1
    assert name in complaints[0]
    assert "expected" in complaints[0]
    assert "found" in complaints[0]
    with pytest.raises(BundleError):
        load_bundle(folder, "cpu")
    shutil.rmtree(folder)


def test_every_file_is_needed_and_all_faults_are_told_at_once(folder):
    names = [name for name in bundles._names_in(folder) if name != bundles.MANIFEST]
    for name in names:
        (folder / name).unlink()
    complaints = verify_bundle(folder)
    assert len(complaints) == len(names) >= 7
    assert all(any(name in complaint for complaint in complaints) for name in names)


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "recipe.yaml", "codecs/target/codec.json", "README.md"]
)
def test_a_manifest_that_leaves_a_file_out_is_refused(folder, name):
    (folder / name).rename(folder.parent / "aside")
    reseal(folder)
    with pytest.raises(BundleError, match=f"{name}: expected a file of the bundle, found none in MANIFEST"):
        load_bundle(folder, "cpu")


def test_a_file_that_is_slipped_among_the_codecs_is_refused(folder):
    (folder / "codecs/source/subwords.model").write_text("unknown to the manifest")
    with pytest.raises(
        BundleError, match="source/subwords.model: expected only files that MANIFEST.json lists"
    ):
        load_bundle(folder, "cpu")


# --- folders that are no bundles


def test_a_folder_that_is_no_bundle_says_what_it_is(tmp_path):
    with pytest.raises(BundleError, match="expected the folder of a bundle, found nothing"):
        load_bundle(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="expected the folder of a bundle, found a file"):
        load_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match=r"expected a bundle with MANIFEST.json, found none"):
        load_bundle(tmp_path)
    (tmp_path / ".bundle.partial").mkdir()
    with pytest.raises(BundleError, match="saving the bundle was cut short"):
        load_bundle(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(
        BundleError, match="holds checkpoints but no finished bundle: continue with `dragoman train`"
    ):
        load_bundle(tmp_path)


# --- bundles that mean harm: every hash fits


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "", "a//b", "C:x", "a\x00b", ".x"]
)
def test_names_that_lead_out_are_refused(folder, name):
    reseal(folder, files={name: {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()}})
    with pytest.raises(BundleError, match="expected names of files inside the bundle"):
        load_bundle(folder, "cpu")


@pytest.mark.parametrize("target", ["recipe.yaml", "codecs", "MANIFEST.json"])
def test_links_that_lead_out_are_refused(folder, tmp_path, target):
    (folder / target).rename(tmp_path / "elsewhere")
    (folder / target).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="found a link to"):
        load_bundle(folder, "cpu")


def test_links_inside_are_fine_and_a_linked_bundle_is_too(folder, tmp_path):
    (folder / "recipe.yaml").rename(folder / "real.yaml")
    (folder / "recipe.yaml").symlink_to("real.yaml")
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert load_bundle(tmp_path / "link", "cpu").folder == tmp_path / "link"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_no_file(folder):
    (folder / "metrics.json").unlink()
    os.mkfifo(folder / "metrics.json")
    assert verify_bundle(folder) == [
        f"{folder / 'metrics.json'}: expected a regular file, found something else"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected format 1, found 2; a bundle of a newer dragoman"),
        ({"format": True}, "expected format 1, found True"),
        (
            {"files": {"weights.safetensors": {"size": 1 << 50, "sha256": ""}}},
            "expected at most .* for weights",
        ),
        ({"files": {"recipe.yaml": {"size": 1 << 40, "sha256": ""}}}, "expected at most .* for recipe.yaml"),
        (
            {"files": {"recipe.yaml": {"size": -1, "sha256": ""}}},
            "expected `size` and `sha256` of recipe.yaml",
        ),
        ({"files": {"recipe.yaml": "no"}}, "expected `size` and `sha256` of recipe.yaml"),
        ({"files": {f"f{n}": {"size": 0, "sha256": ""} for n in range(300)}}, "a list of at most 256 files"),
    ],
)
def test_manifests_that_ask_too_much_are_refused(folder, changes, message):
    reseal(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder, "cpu")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", "", "{}", '"' + "x" * (1 << 21) + '"', "\ud800".encode("utf-8", "replace")]
)
def test_manifests_that_are_none_are_refused(folder, text):
    (folder / "MANIFEST.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match="MANIFEST.json: expected"):
        load_bundle(folder, "cpu")


def test_weights_of_another_model_name_the_first_five_differences(folder, tmp_path):
    other = untrained(tmp_path, model={"decoder": {"kind": "gru", "width": 6}})
    save(other, tmp_path / "other")
    shutil.copy(tmp_path / "other/weights.safetensors", folder)
    reseal(folder)
    with pytest.raises(BundleError) as raised:
        load_bundle(folder, "cpu")
    first, *lines = str(raised.value).splitlines()
    assert "the weights do not fit the model of recipe.yaml" in first
    assert "the first 5" in first
    assert len(lines) == 5
    assert all("expected" in line and "found" in line for line in lines)


def test_a_missing_and_a_foreign_tensor_are_named(folder):
    weights = load_file(folder / "weights.safetensors")
    gone = sorted(weights)[0]
    weights["foreign"] = weights.pop(gone)
    save_file(weights, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(BundleError) as raised:
        load_bundle(folder, "cpu")
    assert "foreign: expected no such tensor, found [" in str(raised.value)
    assert f"{gone}: expected [" in str(raised.value)


def test_weights_of_another_type_are_refused(folder):
    weights = {name: t.half() for name, t in load_file(folder / "weights.safetensors").items()}
    save_file(weights, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(BundleError, match="expected float32 weights, found F16"):
        load_bundle(folder, "cpu")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        (1 << 60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (13).to_bytes(8, "little") + b'{"a":{"b":0}}',
    ],
)
def test_weights_that_are_no_safetensors_are_refused(folder, content):
    (folder / "weights.safetensors").write_bytes(content)
    reseal(folder)
    with pytest.raises(BundleError, match="weights.safetensors: expected"):
        load_bundle(folder, "cpu")


def test_offsets_that_lie_are_refused(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])  # the header now speaks of bytes that are not there
    reseal(folder)
    with pytest.raises(BundleError, match="weights.safetensors: expected safetensors, found"):
        load_bundle(folder, "cpu")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("width: 4", "width: 1000000000"),  # petabytes, if anybody built it
        ("layers: 1", "layers: 1000000000"),
        ("version: 1", "version: !!python/object/apply:os.system ['true']"),
        ("version: 1", "version: 99"),
    ],
)
def test_recipes_that_ask_too_much_are_refused_at_once(folder, before, after):
    text = (folder / "recipe.yaml").read_text()
    assert before in text
    (folder / "recipe.yaml").write_text(text.replace(before, after))
    reseal(folder)
    with pytest.raises(BundleError):
        load_bundle(folder, "cpu")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[" * 100_000, '{"format": 1, "codec": {"kind": "bytes"}}']
)
def test_codecs_that_are_none_are_refused(folder, content):
    (folder / "codecs/source/codec.json").write_text(content)
    reseal(folder)
    with pytest.raises(BundleError):
        load_bundle(folder, "cpu")


def test_a_gpu_that_is_not_there_is_refused(saved, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no GPU"):
        load_bundle(saved, "cuda")
    assert load_bundle(saved).device == torch.device("cpu")
