"""Facts measured of files: kinds, columns, roles, lengths, seasons."""

import gzip
import json
import random

import numpy as np
import pytest

import dragoman
from dragoman.data import pair_facts as pairs_module
from dragoman.data.facts import measure
from dragoman.data.planned import plan, recipe_of
from dragoman.errors import DataError, UserError
from dragoman.recipe.facts import PairFacts, SeriesFacts, SpeechFacts


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def sentences(count, seed=1):
    draw = random.Random(seed)
    words = ["house", "tree", "river", "walks", "sings", "the", "a", "old", "blue", "again"]
    return [" ".join(draw.choices(words, k=draw.randint(4, 12))) + f" {n}" for n in range(count)]


def test_a_table_without_a_header_is_read_by_its_columns(tmp_path):
    rows = sentences(40)
    facts = measure([write(tmp_path, "pairs.tsv", "".join(f"{r}\t{r.upper()}\tx\n" for r in rows))])
    assert isinstance(facts, PairFacts)
    assert facts.rows == 40 and facts.is_whole
    assert facts.files.train == {"file": "pairs.tsv"}
    assert facts.source.mean_words == pytest.approx(np.mean([len(r.split()) for r in rows]))
    assert "not read: 2" in facts.files.notes[-1]


@pytest.mark.parametrize(
    ("header", "source", "target"),
    [("id\ttarget\tsource", "source", "target"), ("n\tde\ten", None, None), ("id\ttgt\tsrc", "src", "tgt")],
)
def test_a_header_names_columns(tmp_path, header, source, target):
    body = "".join(f"{n}\tdas {r}\tthe {r}\n" for n, r in enumerate(sentences(30)))
    facts = measure([write(tmp_path, "x.tsv", f"{header}\n{body}")])
    if source is None:
        assert facts.files.train == {"file": "x.tsv", "source": "de", "target": "en"}
    else:
        assert (facts.files.train["source"], facts.files.train["target"]) == (source, target)
    assert facts.rows == 30


def test_features_are_found_wherever_they_stand(tmp_path):
    draw = random.Random(2)
    forms = ["".join(draw.choices("abcdefgh", k=6)) for _ in range(60)]
    tags = ["V;PST", "V;PRS;SG", "N;PL;GEN"]
    first = "".join(f"{w}\t{w}ed\t{tags[n % 3]}\n" for n, w in enumerate(forms))
    second = "".join(f"{w}\t{tags[n % 3]}\t{w}ed\n" for n, w in enumerate(forms))
    facts = measure([write(tmp_path, "got.train", first)])
    assert facts.files.train == {"file": "got.train", "format": "tsv", "source": [0, 2], "target": 1}
    assert facts.features == ";"
    assert facts.source.mean_characters == pytest.approx(6 + (2 + 3 + 3) / 3)
    facts = measure([write(tmp_path, "other.tsv", second)])
    assert (facts.files.train["source"], facts.files.train["target"]) == ([0, 1], 2)


def test_json_lines_have_keys_also_of_two_languages(tmp_path):
    rows = [{"id": n, "translation": {"de": f"das {r}", "en": r}} for n, r in enumerate(sentences(20))]
    facts = measure([write(tmp_path, "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))])
    assert facts.files.train == {"file": "x.jsonl", "source": "translation.de", "target": "translation.en"}
    rows = [{"article": r, "summary": [r[:9]]} for r in sentences(20)]
    facts = measure([write(tmp_path, "y.jsonl.gz", "".join(json.dumps(row) + "\n" for row in rows))])
    assert (facts.files.train["source"], facts.files.train["target"]) == ("article", "summary")


def test_parquet_has_columns_too(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = sentences(20)
    table = arrow.table({"target": [row.upper() for row in rows], "source": rows})
    parquet.write_table(table, tmp_path / "x.parquet")
    facts = measure([str(tmp_path / "x.parquet")])
    assert (facts.files.train["source"], facts.files.train["target"]) == ("source", "target")
    assert facts.rows == 20


def test_parallel_files_find_their_neighbours(tmp_path):
    for name in ("train.en.gz", "val.en", "test.en", "train.de", "val.de.gz", "test.de", "notes.txt"):
        write(tmp_path, name, "".join(f"{row}\n" for row in sentences(12)))
    names = [str(tmp_path / "train.en.gz"), str(tmp_path / "train.de")]
    files = measure(names).files
    assert files.train == {"source": "train.en.gz", "target": "train.de"}
    assert files.dev == {"source": "val.en", "target": "val.de.gz"}
    assert files.test == {"source": "test.en", "target": "test.de"}
    assert measure(names[::-1]).files.train["source"] == "train.de"
    assert measure([str(tmp_path / "train.en.gz"), str(tmp_path / "train.de")]).copied == 1.0


def test_a_folder_has_roles_by_names(tmp_path):
    rows = "".join(f"{row}\t{row}\n" for row in sentences(12))
    for name in ("a_train.tsv", "a_dev.tsv", "a_test.tsv.gz", "README.md"):
        write(tmp_path, name, rows)
    files = measure([str(tmp_path)]).files
    assert (files.train["file"], files.dev["file"], files.test["file"]) == (
        "a_train.tsv",
        "a_dev.tsv",
        "a_test.tsv.gz",
    )
    write(tmp_path, "b_train.tsv", rows)
    write(tmp_path, "c_train.tsv", rows)
    with pytest.raises(UserError, match="several files for train"):
        measure([str(tmp_path)])


def test_named_files_have_roles_too(tmp_path):
    rows = "".join(f"{row}\t{row}\n" for row in sentences(12))
    names = [write(tmp_path, name, rows) for name in ("got_large.train", "got.gold", "got.dev")]
    files = measure(names).files
    assert files.dev["file"] == "got.dev" and files.test["file"] == "got.gold"
    with pytest.raises(UserError, match="nothing to learn from"):
        measure(names[1:])
    other = write(tmp_path / "elsewhere", "x.dev", rows)
    with pytest.raises(UserError, match="one folder"):
        measure([names[0], other])


def test_what_is_not_understood_is_said(tmp_path):
    with pytest.raises(DataError, match="name both"):
        measure([write(tmp_path, "lines.txt", "one line\nanother line\n")])
    with pytest.raises(UserError, match="no two columns"):
        measure([write(tmp_path, "one.jsonl", '{"text": "a"}\n{"text": "b"}\n')])
    with pytest.raises(DataError, match="not found"):
        measure([str(tmp_path / "nowhere.tsv")])
    with pytest.raises(DataError, match="JSON object"):
        measure([write(tmp_path, "bad.jsonl", "[]\n[]\n")])


def test_a_sample_is_drawn_from_all_rows_of_a_sorted_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs_module, "SAMPLE", 200)
    rows = "".join(f"{'a' * n}\tb\n" for n in range(1, 1001))
    side = measure([write(tmp_path, "sorted.tsv", rows)]).source
    assert 440 < side.mean_characters < 560
    monkeypatch.setattr(pairs_module, "MOST_ROWS", 300)
    facts = measure([str(tmp_path / "sorted.tsv")])
    assert facts.rows == 300 and not facts.is_whole


def test_repeated_sources_of_a_scored_file_are_counted(tmp_path):
    rows = sentences(20)
    write(tmp_path, "dev.tsv", "".join(f"{row}\tx y\n{row}\tz\n" for row in rows))
    facts = measure([write(tmp_path, "train.tsv", "".join(f"{row}\tx y\n" for row in rows))])
    assert facts.repeated == {"dev": 0.5}


def hours(folder, name="load.csv", count=600, header="date,north,south"):
    times = np.datetime64("2021-01-01T00:00") + np.arange(count) * np.timedelta64(60, "m")
    day = np.sin(np.arange(count) * 2 * np.pi / 24) + 0.1 * np.random.default_rng(4).standard_normal(count)
    rows = "".join(f"{t},{a + 3:.3f},{2 * a + 9:.3f}\n" for t, a in zip(times, day, strict=True))
    return write(folder, name, f"{header}\n{rows}")


def test_series_are_known_by_numbers_and_times(tmp_path):
    facts = measure([hours(tmp_path)])
    assert isinstance(facts, SeriesFacts)
    assert facts.files.train == {"series": "load.csv", "time": "date", "apart": True}
    assert (facts.variables, facts.steps, facts.season, facts.step_seconds) == (2, 600, 24, 3600.0)
    assert facts.missing == 0 and facts.is_positive


def test_a_season_without_times_shows_in_the_values(tmp_path):
    values = np.sin(np.arange(300) * 2 * np.pi / 12) + 0.01 * np.random.default_rng(0).standard_normal(300)
    np.save(tmp_path / "x.npy", values)
    assert measure([str(tmp_path / "x.npy")]).season == 12
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).standard_normal(400))
    assert measure([str(tmp_path / "noise.npy")]).season is None


def test_long_tables_and_rows_of_series_are_told_apart(tmp_path):
    times = np.datetime64("2021-01-01") + np.arange(80)
    long = "".join(f"{name},{time},{n}\n" for name in "ab" for n, time in enumerate(times))
    facts = measure([write(tmp_path, "long.csv", "unique_id,ds,y\n" + long)])
    assert facts.files.train == {"series": "long.csv", "id": "unique_id", "time": "ds"}
    assert (facts.series, facts.season) == (2, 7)
    rows = "".join(f"H{n}," + ",".join(str(10 + n + k % 24) for k in range(90 + n)) + "\n" for n in range(5))
    write(tmp_path, "h-test.csv", "".join(f"H{n},1,2,3,4\n" for n in range(5)))
    facts = measure([write(tmp_path, "h-train.csv", rows)])
    assert facts.files.train["format"] == "rows"
    assert (facts.series, facts.shortest, facts.test_steps) == (5, 90, 4)


def test_lists_of_recordings_are_known_by_their_sound_files(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(4000 + number), 8000)
    rows = "".join(f"{n}.wav\tann\tword number {n}\n" for n in range(6))
    facts = measure([write(tmp_path, "list.tsv", "file\tspeaker\tmboshi\n" + rows)])
    assert isinstance(facts, SpeechFacts)
    assert facts.files.train == {"manifest": "list.tsv", "target": "mboshi"}
    assert (facts.rows, facts.sample_rate_hz) == (6, 8000)
    assert facts.hours == pytest.approx(6 * 0.5 / 3600, rel=0.01)


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl", "list"])
@pytest.mark.parametrize("audio", ["path", "audio_filepath", "file"])
def test_a_list_of_recordings_is_read_as_it_is_planned(tmp_path, audio, ending):
    soundfile = pytest.importorskip("soundfile")
    rows = [{audio: f"{number}.wav", "sentence": f"word number {number}"} for number in range(4)]
    for row in rows:
        soundfile.write(tmp_path / row[audio], np.zeros(4000), 8000)
    path = tmp_path / f"clips.{ending}"
    match ending:
        case "parquet":
            arrow = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
        case "jsonl":
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        case _:
            mark = "," if ending == "csv" else "\t"
            lines = [rows[0], *(row.values() for row in rows)]
            path.write_text("".join(f"{mark.join(line)}\n" for line in lines), "utf-8")
    facts = measure([str(path)])
    assert isinstance(facts, SpeechFacts)
    assert facts.rows == 4
    assert facts.files.train.get("format") == ("tsv" if ending == "list" else None)


def test_planned_data_train_and_leave_their_reasons(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdef", k=draw.randint(1, 7))) for _ in range(200)]
    write(tmp_path, "pairs.tsv", "".join(f"{word}\t{word[::-1]}\n" for word in words))
    small = ["model.encoder.width=8", "model.decoder.width=8", "training.max_steps=2", "training.threads=1"]
    small += [f"data.cache={tmp_path / 'cache'}", "model.encoder.heads=2", "model.decoder.heads=2"]
    bundle = dragoman.train("pairs.tsv", *small)
    assert bundle.folder == tmp_path / "runs" / "pairs"
    assert "training.max_steps=2" in (bundle.folder / "plan.yaml").read_text("utf-8")
    assert dragoman.load_recipe(bundle.folder / "plan.yaml", [f"run={bundle.folder}"]) == bundle.recipe
    assert dragoman.train(["pairs.tsv"], *small).folder == bundle.folder


def test_series_train_as_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hours(tmp_path, "train.csv")
    recipe = recipe_of(plan(tmp_path / "train.csv"), [tmp_path / "train.csv"])
    assert recipe.run == str(tmp_path / "runs" / tmp_path.name)
    bundle = dragoman.train(
        "train.csv", "training.max_steps=1", "training.threads=1", "evaluation.bootstrap_samples=100"
    )
    assert bundle.recipe.data.windows is not None
