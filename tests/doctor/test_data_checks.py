"""Each complaint about data, from data that have the fault, and none about data that are sound."""

import random

import numpy as np
import pytest

from dragoman.doctor import text_checks
from dragoman.doctor.data_checks import data_findings
from dragoman.recipe.loading import recipe_from

WORDS = ("the", "old", "house", "stands", "near", "river", "and", "nobody", "sings", "again", "blue", "trees")
ORTE = (
    "das",
    "alte",
    "Haus",
    "steht",
    "nahe",
    "Fluss",
    "und",
    "niemand",
    "singt",
    "wieder",
    "blaue",
    "Bäume",
)


def rows(count, seed):
    """Sentences of one length and their translations, word by word."""
    draw = random.Random(seed)
    chosen = [[draw.randrange(len(WORDS)) for _ in range(draw.randint(3, 20))] for _ in range(count)]
    sources = [f"{' '.join(WORDS[n] for n in row)} {seed} {k}" for k, row in enumerate(chosen)]
    targets = [f"{' '.join(ORTE[n] for n in row)} {seed} {k}" for k, row in enumerate(chosen)]
    return [list(pair) for pair in zip(sources, targets, strict=True)]


def findings(folder, train, dev=None, **sections):
    folder.joinpath("train.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in train), "utf-8")
    dev = rows(60, 2) if dev is None else dev
    folder.joinpath("dev.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in dev), "utf-8")
    recipe = {
        "run": str(folder / "run"),
        "data": {"train": [{"file": "train.tsv"}], "dev": {"file": "dev.tsv"}},
        "source": {"kind": "characters"},
        "target": {"kind": "characters"},
        "training": {"max_steps": 1},
        **sections,
    }
    return list(data_findings(recipe_from(recipe, folder)))


def only(found, text):
    """The one finding that says so; it says what that means and what mends it."""
    (one,) = [one for one in found if text in one.found]
    assert one.means and one.mend
    return one


def test_sound_data_have_no_faults(tmp_path):
    assert findings(tmp_path, rows(300, 1)) == []


@pytest.mark.parametrize(
    ("wrong", "said", "severity"),
    [
        ("cafÃ© au lait", "Latin 1", "warning"),
        ("lost \ufffd letters", "U+FFFD", "warning"),
        ("\ufeffmarked", "byte order mark", "warning"),
        ("no\u00a0break", "no-break", "note"),
        ("bell\x07s", "control", "warning"),
        ("cafe\u0301", "NFC", "note"),
        ("edge ", "spaces", "note"),
    ],
)
def test_characters_that_are_wrong_are_counted_with_their_place(tmp_path, wrong, said, severity):
    train = rows(300, 1)
    train[7][0] = wrong + " " + train[7][0] if wrong != "edge " else train[7][0] + " "
    one = only(findings(tmp_path, train), said)
    assert one.severity == severity
    assert "1 of 300" in one.found and "train.tsv:8" in one.found


def test_rows_that_cannot_be_used_are_counted(tmp_path):
    train = rows(300, 1)
    train[3][1] = ""
    assert "1 of 300" in only(findings(tmp_path, train), "empty target").found


def test_a_header_read_as_data_is_seen(tmp_path):
    only(findings(tmp_path, [["source", "target"], *rows(300, 1)]), "header")


def test_repeats_and_several_targets_are_counted(tmp_path):
    train = rows(300, 1)
    assert only(findings(tmp_path, train + train[:150]), "repeat a pair").severity == "warning"
    again = [[source, target + " ja"] for source, target in train[:30]]
    only(findings(tmp_path, train + again), "another target")


def test_copies_are_seen(tmp_path):
    only(findings(tmp_path, [[s, s] for s, _ in rows(300, 1)]), "equal to the source")


def test_lengths_that_do_not_fit_are_seen(tmp_path):
    train = rows(300, 1)
    train[9][1] = "ja " * 900
    one = only(findings(tmp_path, train), "nine times")
    assert "row 10" in one.found and one.severity == "note"


@pytest.mark.parametrize(("step", "side"), [(1, "later"), (-1, "earlier")])
def test_lines_that_slipped_are_a_fault_and_found_near_where(tmp_path, step, side):
    train = rows(2500, 1)
    sources, targets = [s for s, _ in train], [t for _, t in train]
    moved = targets[:1000] + (["eine Zeile"] + targets[1000:-1] if step == 1 else targets[1001:] + ["Ende"])
    one = only(findings(tmp_path, list(zip(sources, moved, strict=True))), "not their own")
    assert one.severity == "fault"
    assert "row 1,001" in one.found and side in one.found


def test_a_sorted_file_is_only_told(tmp_path):
    train = sorted(rows(400, 1), key=lambda pair: len(pair[0]))
    (one,) = findings(tmp_path, train)
    assert one.severity == "note" and "sorted" in one.found


def test_what_development_shares_with_training_is_counted(tmp_path):
    train, dev = rows(300, 1), rows(60, 2)
    one = only(findings(tmp_path, train, dev[:50] + train[:10]), "pairs stand in")
    assert "10 of 60" in one.found and one.severity == "warning"
    known = [[source, target + " doch"] for source, target in train[:10]]
    assert "10 of 60" in only(findings(tmp_path, train, dev[:50] + known), "sources stand in").found


def test_turned_columns_are_a_fault(tmp_path):
    one = only(findings(tmp_path, rows(300, 1), [[t, s] for s, t in rows(60, 2)]), "look like the targets")
    assert one.severity == "fault"
    assert "dev" in one.found


def test_unknown_units_are_counted(tmp_path):
    dev = [[source, "ЖЯ" + target] for source, target in rows(60, 2)]
    found = findings(tmp_path, rows(300, 1), dev)
    assert "the target's units" in only(found, "unknown").found


def test_a_bound_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("dragoman.doctor.data_checks.MOST_ROWS", 100)
    (one,) = findings(tmp_path, rows(300, 1))
    assert one.severity == "note" and "first 100 rows" in one.found
    assert text_checks.MOST_ROWS > 100


def test_a_file_that_is_not_there_is_a_fault(tmp_path):
    found = findings(
        tmp_path, rows(30, 1), data={"train": [{"file": "none.tsv"}], "dev": {"file": "dev.tsv"}}
    )
    assert only(found, "none.tsv").severity == "fault"


# --- sound


@pytest.fixture
def clips(tmp_path):
    soundfile = pytest.importorskip("soundfile")

    def make(change=None, rate_hz=8000, texts=None):
        draw = np.random.default_rng(1)
        lines = ["file\ttext\n"]
        for number in range(14):
            samples = 0.2 * np.sin(np.arange(8000) * (0.1 + 0.02 * number)) + 0.01 * draw.standard_normal(
                8000
            )
            samples = samples if change is None or number else change(samples)
            soundfile.write(tmp_path / f"{number}.wav", samples, rate_hz)
            lines.append(f"{number}.wav\t{(texts or {}).get(number, f'some words {number}')}\n")
        tmp_path.joinpath("list.tsv").write_text("".join(lines), "utf-8")
        recipe = {
            "run": str(tmp_path / "run"),
            "data": {"train": [{"manifest": "list.tsv"}], "held_out_dev": 0.1},
            "source": {"kind": "speech", "sample_rate_hz": 8000, "mel_bins": 12},
            "target": {"kind": "characters"},
            "training": {"max_steps": 1},
        }
        return [one for one in data_findings(recipe_from(recipe, tmp_path)) if one.severity != "note"]

    return make


def test_sound_recordings_have_no_complaints(clips):
    assert clips() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda samples: np.clip(20 * samples, -1, 1), "clipped"),
        (lambda samples: 0 * samples, "silent"),
        (lambda samples: samples[:400], "cannot be used"),
    ],
)
def test_bad_recordings_are_found(clips, change, said):
    only(clips(change), said)


def test_a_rate_below_the_recipes_is_found(clips):
    assert "sample_rate_hz=4000" in only(clips(rate_hz=4000), "fewer than 8,000 Hz").mend


def test_transcripts_that_do_not_fit_their_clips_are_found(clips):
    only(clips(texts={3: "much more than anybody could ever say in a second of sound " * 3}), "four times")


# --- series


def series(folder, values, part=(None, 60), missing="refuse", lines=None):
    times = np.datetime64("2021-05-01T00") + np.arange(len(values))
    written = lines or [f"{time},{value}\n" for time, value in zip(times, values, strict=True)]
    folder.joinpath("x.csv").write_text("time,load\n" + "".join(written), "utf-8")
    files = {"series": "x.csv", "time": "time"}
    recipe = {
        "run": str(folder / "run"),
        "data": {
            "train": [{**files, "part": list(part)}],
            "dev": {**files, "part": [60, 80]},
            "windows": {"context": 8, "horizon": 4},
        },
        "source": {"kind": "numbers", "missing": missing},
        "target": {"kind": "numbers"},
        "training": {"max_steps": 1},
    }
    return list(data_findings(recipe_from(recipe, folder)))


def test_faults_of_series_are_found(tmp_path):
    values = [str(n % 7) for n in range(100)]
    assert series(tmp_path, values) == []
    gap = [*values[:20], "", *values[21:]]
    assert only(series(tmp_path, gap), "missing").severity == "fault"
    assert only(series(tmp_path, gap, missing="forward"), "missing").severity == "note"
    only(series(tmp_path, ["3"] * 100), "never changes")
    assert only(series(tmp_path, values, part=(None, 70)), "held out begins").severity == "fault"
    twice = [f"2021-05-01T{n // 2:02d}:00,{n}\n" for n in range(40)]
    assert only(series(tmp_path, values, lines=twice), "time").severity == "fault"
