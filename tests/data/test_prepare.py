import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from dragoman.data import prepare as preparing
from dragoman.data.batching import BatchStream
from dragoman.data.prepare import prepare, read_split
from dragoman.data.rejects import Rejects
from dragoman.errors import DataError
from dragoman.recipe.loading import recipe_from

SOURCES = [f"source {number} {'abc'[number % 3] * (number % 7 + 1)}" for number in range(60)]
TARGETS = [f"target {number}" for number in range(60)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "train.src", SOURCES)
    write(folder / "train.tgt", TARGETS)
    rows = [("source 1", "target 1"), ("source 1", "goal 1"), ("source Ω", "target 2")]
    write(folder / "dev.tsv", ["\t".join(row) for row in rows])
    return folder


def write(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def make(folder, kind="characters", data=None, **changes):
    cache = str(folder.parent / "cache")
    defaults = {
        "folder": str(folder),
        "train": [{"source": "train.src", "target": "train.tgt"}],
        "cache": cache,
    }
    held_out = {"held_out_dev", "dev"} & set(data or {})
    return recipe_from(
        {
            "run": "r",
            "data": defaults | ({} if held_out else {"dev": {"file": "dev.tsv"}}) | (data or {}),
            "source": {"kind": kind},
            "target": {"kind": kind},
            "training": {"max_steps": 1},
            **changes,
        }
    )


def found(said):
    return [line for line in said if line.startswith("prepared data found")]


def test_raw_files_become_codecs_a_store_and_examples(folder):
    said = []
    prepared = prepare(make(folder), None, said.append)
    assert [prepared.train.values(entry) for entry in range(60)] == list(zip(SOURCES, TARGETS, strict=True))
    source, target = prepared.train.encoded(3)
    assert prepared.codecs.source.decode(source) == SOURCES[3]
    assert prepared.codecs.target.decode(target) == TARGETS[3]
    assert [example.targets for example in prepared.dev] == [("target 1",), ("goal 1",), ("target 2",)]
    assert prepared.test == ()
    assert prepared.rejects == {}
    assert any(line.startswith("train: 60 pairs; no rows rejected") for line in said)
    assert any(line.startswith("source: ") for line in said)
    # No source has "Ω", no target the "o" and "l" of "goal".
    assert "dev: 3 examples; unknown: source 3.70% (1 of 27), target 8.00% (2 of 25)" in said


def test_a_second_call_finds_what_the_first_prepared(folder, monkeypatch):
    first = prepare(make(folder), None)
    monkeypatch.setattr(preparing, "write_store", None)
    said = []
    second = prepare(make(folder, seed=5), None, said.append)
    assert found(said)
    assert second.dev == first.dev
    assert [second.train.encoded(7)[0].tolist()] == [first.train.encoded(7)[0].tolist()]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"max_source_length": 50}},
        {"data": {"strict": True}},
        {"data": {"train": [{"source": "train.src", "target": "train.tgt"}] * 2}},
        {"data": {"held_out_dev": 0.2}},
        {"source": {"kind": "bytes"}},
        {"target": {"kind": "characters", "lowercase": True}},
        {"joint_vocabulary": True},
    ],
)
def test_what_changes_the_store_is_prepared_anew(folder, changes):
    prepare(make(folder), None)
    said = []
    prepare(make(folder, **changes), None, said.append)
    assert not found(said)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 9},
        {"model": {"tie": "decoder"}},
        {"data": {"train": [{"source": "train.src", "target": "train.tgt", "weight": 2.0}]}},
    ],
)
def test_what_does_not_change_the_store_is_found(folder, changes):
    prepare(make(folder), None)
    said = []
    prepare(make(folder, **changes), None, said.append)
    assert found(said)


def test_changed_content_is_prepared_anew(folder):
    prepare(make(folder), None)
    write(folder / "train.src", [*SOURCES[:-1], "changed"])
    said = []
    prepared = prepare(make(folder), None, said.append)
    assert not found(said)
    assert prepared.train.values(59)[0] == "changed"


def test_rejected_rows_are_listed_and_counted_with_and_without_the_cache(folder, tmp_path):
    write(folder / "train.src", ["", *SOURCES[1:]])
    write(folder / "dev.tsv", ["source 1\ttarget 1", "no tab"])
    recipe = make(folder, data={"max_source_length": 14})
    run = tmp_path / "run"
    counts, lists = [], []
    for _ in range(2):
        counts.append(dict(prepare(recipe, run).rejects))
        lists.append((run / "rejected.jsonl").read_text(encoding="utf-8"))
    assert counts[0] == counts[1]
    assert lists[0] == lists[1]
    rows = [json.loads(line) for line in lists[0].splitlines()]
    assert len(rows) == sum(counts[0].values())
    assert {row["kind"] for row in rows} == set(counts[0]) >= {"empty source", "source too long"}
    assert rows[-1]["file"] == "dev.tsv"
    assert rows[-1]["line"] == 2


def test_no_rejects_leave_no_list_of_an_earlier_run(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "rejected.jsonl").write_text("old")
    prepare(make(folder), run)
    assert not (run / "rejected.jsonl").exists()


def test_strict_stops_at_the_first_bad_row(folder):
    write(folder / "train.src", ["", *SOURCES[1:]])
    with pytest.raises(DataError, match="train.src:1: empty source"):
        prepare(make(folder, data={"strict": True}), None)


def test_held_out_examples_are_not_trained_on(folder):
    recipe = make(folder, data={"held_out_dev": 0.2, "held_out_test": 0.2})
    prepared = prepare(recipe, None)
    train = {prepared.train.values(entry)[0] for entry in range(len(prepared.train))}
    dev, test = ({example.source for example in side} for side in (prepared.dev, prepared.test))
    assert train | dev | test == set(SOURCES)
    assert not train & dev and not train & test and not dev & test
    assert dev == {example.source for example in read_split(recipe, "dev", Rejects())}
    assert test == {example.source for example in read_split(recipe, "test", Rejects())}


def test_vocabularies_are_learnt_from_the_training_side_only(folder):
    write(folder / "train.src", [*SOURCES[:-1], "Ω"])
    sides = {share: prepare(make(folder, data={"held_out_dev": share}), None) for share in (0.05, 0.95)}
    for prepared in sides.values():
        pieces = prepared.codecs.source.pieces(range(4, prepared.codecs.source.port.size))
        seen = {letter for entry in range(len(prepared.train)) for letter in prepared.train.values(entry)[0]}
        assert set(pieces) == seen


def test_merge_joins_references_of_development_examples(folder):
    prepared = prepare(make(folder, data={"dev": {"file": "dev.tsv", "merge": True}}), None)
    assert [example.targets for example in prepared.dev] == [("target 1", "goal 1"), ("target 2",)]


def test_a_joint_vocabulary_is_one_codec_also_from_the_cache(folder):
    for _ in range(2):
        codecs = prepare(make(folder, joint_vocabulary=True), None).codecs
        assert codecs.source is codecs.target


def test_a_lowered_vocabulary_is_said_each_time(folder):
    subwords = {"kind": "bpe", "size": 4000}
    for _ in range(2):
        said = []
        prepare(make(folder, source=subwords), None, said.append)
        assert any(line.startswith("source.size: lowered from 4,000 to ") for line in said)


def test_compressed_files_are_read(folder):
    (folder / "train.src.gz").write_bytes(gzip.compress("\n".join(SOURCES).encode() + b"\n"))
    recipe = make(folder, data={"train": [{"source": "train.src.gz", "target": "train.tgt"}]})
    assert len(prepare(recipe, None).train) == 60


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_nothing_to_train_on_is_an_error(folder, kind):
    write(folder / "train.src", [""] * 60)
    with pytest.raises(DataError, match=r"data.train: no training example is left \(60 rows rejected"):
        prepare(make(folder, kind), None)
    assert list((folder.parent / "cache").iterdir()) == []


def test_nothing_to_validate_on_is_an_error(folder):
    write(folder / "dev.tsv", ["no tab"])
    with pytest.raises(DataError, match=r"data.dev: no example is left \(1 row rejected"):
        prepare(make(folder), None)


def test_nothing_held_out_is_an_error(folder):
    with pytest.raises(DataError, match="data.held_out_dev: 1e-09 holds out not one example"):
        prepare(make(folder, data={"held_out_dev": 1e-9}), None)


def test_a_missing_file_is_an_error_that_names_it(folder):
    with pytest.raises(DataError, match="train.source"):
        prepare(make(folder, data={"train": [{"source": "train.source", "target": "train.tgt"}]}), None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda prepared: (prepared / "prepared.json").unlink(),
        lambda prepared: (prepared / "store" / "source_steps").write_bytes(b""),
        lambda prepared: (prepared / "codecs" / "target" / "codec.json").write_text("{"),
    ],
)
def test_a_damaged_cache_is_made_again(folder, damage):
    prepare(make(folder), None)
    (prepared,) = (folder.parent / "cache").iterdir()
    damage(prepared)
    said = []
    again = prepare(make(folder), None, said.append)
    assert any("is damaged and made again" in line for line in said)
    assert again.train.values(3) == (SOURCES[3], TARGETS[3])
    said.clear()
    prepare(make(folder), None, said.append)
    assert found(said)


def test_the_second_of_two_processes_uses_what_the_first_made(folder, monkeypatch):
    recipe, write_store = make(folder), preparing.write_store

    def overtaken(*arguments):
        monkeypatch.setattr(preparing, "write_store", write_store)
        prepare(recipe, None)
        return write_store(*arguments)

    monkeypatch.setattr(preparing, "write_store", overtaken)
    prepared = prepare(recipe, None)
    assert len(prepared.train) == 60
    assert len(list((folder.parent / "cache").iterdir())) == 1


def test_many_at_once_all_get_the_same(folder):
    results, faults = [], []

    def work():
        try:
            results.append(prepare(make(folder), None))
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len({tuple(result.train.encoded(9)[0].tolist()) for result in results}) == 1
    assert len(list((folder.parent / "cache").iterdir())) == 1


def test_a_failure_leaves_nothing_half_done(folder, monkeypatch):
    monkeypatch.setattr(preparing, "write_store", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(make(folder), None)
    assert list((folder.parent / "cache").iterdir()) == []


def test_what_killed_processes_left_is_deleted_when_it_is_old(folder):
    cache = folder.parent / "cache"
    for name, age_days in (("old.1.partial", 2), ("new.2.partial", 0)):
        (cache / name).mkdir(parents=True)
        stamp = (cache / name).stat().st_mtime - age_days * 24 * 3600
        os.utime(cache / name, (stamp, stamp))
    prepare(make(folder), None)
    assert not (cache / "old.1.partial").exists()
    assert (cache / "new.2.partial").exists()


def test_a_cache_that_cannot_be_written_names_the_option(folder):
    (folder.parent / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="prepared data cannot be written: .*data.cache"):
        prepare(make(folder), None)


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_cache_is_the_user_s_own_by_default(folder, tmp_path, monkeypatch, variable):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    prepare(make(folder, data={"cache": None}), None)
    home = tmp_path / "mine" if variable == "XDG_CACHE_HOME" else Path(tmp_path / "mine" / ".cache")
    assert len(list((home / "dragoman").iterdir())) == 1


def test_what_is_prepared_can_be_batched(folder):
    recipe = make(folder)
    prepared = prepare(recipe, None)
    stream = BatchStream(prepared.train, prepared.codecs, recipe, 200, sampling=False)
    batch, after = next(stream.iterate())
    assert after.batch == 1
    sources, targets = prepared.train.source_lengths, prepared.train.target_lengths
    assert batch.source.values.shape[1] <= int(sources.max())
    assert batch.target.values.shape[1] <= int(targets.max())
    assert all(name.startswith("train.src:") for name in batch.ids)
