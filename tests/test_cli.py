"""The command line as people use it: pipes, files, faults, exit codes. Each call is a real process."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = """
data: {train: [{file: pairs.tsv}], dev: {file: dev.tsv}, test: {file: dev.tsv}, cache: cache}
source: {kind: characters}
target: {kind: characters}
model:
  encoder: {kind: gru, width: 32, dropout: 0.0}
  decoder: {kind: gru, width: 32, dropout: 0.0}
training: {max_steps: 150, batch_tokens: 256, validate_every: 150, checkpoint_every: 50, threads: 1,
  log_every: 50,
  optimizer: {kind: adam, learning_rate: 0.01}, schedule: {kind: constant}}
decoding: {method: beam, beam: 3}
evaluation: {metrics: [exact_match, cer], bootstrap_samples: 100}
"""
WORDS = ["ab", "ba", "aab", "abb", "bab", "bba", "aba", "a", "b", "aa", "bb", "abab"]


def dragoman(*arguments, given=b"", folder=None):
    """Run the program and return (exit code, output, messages)."""
    command = [sys.executable, "-m", "dragoman", *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, cwd=folder, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cli")
    rows = "".join(f"{word}\t{word.upper()}\n" for word in WORDS)
    place.joinpath("pairs.tsv").write_text(rows * 20, "utf-8")
    place.joinpath("dev.tsv").write_text(rows, "utf-8")
    place.joinpath("tiny.yaml").write_text(RECIPE, "utf-8")
    code, _, said = dragoman("train", "tiny.yaml", folder=place)
    assert code == 0, said
    return place


@pytest.fixture(scope="module")
def run(folder):
    return folder / "runs" / "tiny"


def seconds_of_children():
    """Return the processor time of all processes that have ended; a busy machine does not lengthen it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_teaches_and_answers_at_once():
    before = seconds_of_children()
    code, out, _ = dragoman("--help")
    seconds = seconds_of_children() - before
    assert code == 0
    verbs = "demo plan train predict score align explain evaluate compare report check schema"
    for verb in verbs.split():
        assert verb in out
        assert dragoman(verb, "--help")[0] == 0
    assert seconds < 5, "no torch may be imported; test_house holds that exactly"


def test_no_color_and_pipes_have_no_escapes(run):
    assert "\x1b" not in dragoman("--help")[1]
    assert "\x1b" not in dragoman("predict", run, given=b"ab\n")[2]


def test_predict_answers_in_order_from_a_pipe(run):
    code, out, _ = dragoman("predict", run, given="\n".join(WORDS).encode())
    assert code == 0
    assert out.split("\n")[:-1] == [word.upper() for word in WORDS]


def test_predict_keeps_empty_lines_and_odd_separators(run):
    code, out, _ = dragoman("predict", run, given="ab\n\nb\u2028a\nba".encode())
    assert code == 0
    lines = out.split("\n")[:-1]
    assert len(lines) == 4
    assert (lines[0], lines[1], lines[3]) == ("AB", "", "BA")


def test_predict_reads_files_of_several_kinds(run, tmp_path):
    plain, packed, listed = tmp_path / "x.txt", tmp_path / "x.txt.gz", tmp_path / "x.jsonl"
    plain.write_bytes(b"ab\r\nba\n")
    packed.write_bytes(gzip.compress(b"ab\nba\n"))
    listed.write_text('{"source": "ab"}\n{"source": "ba"}\n', "utf-8")
    for path in (plain, packed, listed):
        assert dragoman("predict", run, path)[:2] == (0, "AB\nBA\n"), path


def test_predict_gives_n_best_and_json(run):
    code, out, _ = dragoman("predict", run, "--nbest", 2, given=b"ab\n")
    rows = [line.split("\t") for line in out.split("\n")[:-1]]
    assert code == 0
    assert len(rows) == 2
    assert rows[0][1] == "AB"
    assert float(rows[0][0]) >= float(rows[1][0])
    code, out, _ = dragoman("predict", run, "--json", "--beam", 1, given=b"ab\n")
    answer = json.loads(out)["answers"][0]
    assert answer["answer"] == "AB"
    assert len(answer["log_probs"]) == 3


def test_predict_takes_overrides_and_a_prefix(run):
    assert dragoman("predict", run, "decoding.method=greedy", given=b"ab\n")[1] == "AB\n"
    assert dragoman("predict", run, "--prefix", "BB", given=b"ab\n")[1].startswith("BB")
    code, _, said = dragoman("predict", run, "decoding.bean=3", given=b"ab\n")
    assert code == 2
    assert "beam" in said
    assert "Traceback" not in said


def test_predict_and_evaluate_keep_to_a_terminology(run, folder):
    folder.joinpath("terms.tsv").write_text("ab\tBBA\nba\tA\tnever\n", "utf-8")
    options = ("--terminology", "terms.tsv", "decoding.phrases.whole_words=false", "decoding.beam=3")
    code, out, said = dragoman("predict", run, *options, given=b"ab\nba\n", folder=folder)
    assert code == 0, said
    lines = out.split("\n")
    assert "BBA" in lines[0] and "A" not in lines[1]
    code, _, said = dragoman("predict", run, "--terminology", "none.tsv", given=b"ab\n", folder=folder)
    assert code == 2 and "none.tsv" in said
    code, _, said = dragoman("evaluate", run, *options, "--split", "dev", "--out", "terms", folder=folder)
    assert code == 0, said
    scores = json.loads(folder.joinpath("terms", "scores.json").read_text("utf-8"))
    terms = scores["decoding"]["phrases"]["terms"]
    assert terms[0] == {"source": "ab", "must": "BBA", "never": None}


def test_a_reader_that_leaves_is_no_fault(run):
    command = f"yes ab | head -n 3000 | {sys.executable} -m dragoman predict {run} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout == "AB\n"
    assert done.stderr == ""


def test_a_bad_line_is_named_after_the_answers_before_it(run):
    code, out, said = dragoman("predict", run, given=b"ab\n\xff\xfe\n")
    assert code == 2
    assert "standard input:2" in said
    assert "Traceback" not in said
    assert out in ("", "AB\n")


def test_score_prints_log_probabilities(run, folder):
    code, out, _ = dragoman("score", run, folder / "dev.tsv")
    assert code == 0
    rows = [line.split("\t") for line in out.split("\n")[:-1]]
    assert [row[1] for row in rows] == [word.upper() for word in WORDS]
    assert all(-5 < float(row[0]) <= 0 for row in rows)
    code, _, said = dragoman("score", run)
    assert code == 2
    assert "--source" in said


def test_evaluate_draws_pictures(run, tmp_path):
    options = ("--picture-format", "svg", "--picture-count", 2)
    code, out, said = dragoman("evaluate", run, "--out", tmp_path, "--pictures", tmp_path / "p", *options)
    assert code == 0, said
    assert "exact_match" in out
    names = ["example-01.svg", "example-02.svg", "learning_curve.svg"]
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == names
    assert all(str(tmp_path / "p" / name) in said for name in names)


def test_evaluate_writes_scores_with_intervals_and_predictions(run, folder):
    code, out, _ = dragoman("evaluate", run)
    assert code == 0
    assert "exact_match" in out
    scores = json.loads((run / "evaluation" / "test" / "scores.json").read_text("utf-8"))
    assert scores
    predictions = (run / "evaluation" / "test" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(predictions) == len(WORDS)
    source, target = folder / "s.txt", folder / "t.txt"
    source.write_text("ab\nba\n", "utf-8")
    target.write_text("AB\nXX\n", "utf-8")
    code, out, _ = dragoman("evaluate", run, "--source", source, "--target", target, "--json")
    assert code == 0
    assert "50.0" in out


def test_evaluate_says_what_was_trained_on_and_can_leave_it_out(run, tmp_path):
    code, out, _ = dragoman("evaluate", run, "--out", tmp_path)
    assert code == 0
    assert "OVERLAP: of the 12 sources 12 (100.0%) are among the 240 training examples; 12 with" in out
    code, out, _ = dragoman("evaluate", run, "--out", tmp_path, "--no-overlap")
    assert code == 0
    assert "overlap" not in out.lower()
    assert "overlap" not in json.loads((tmp_path / "scores.json").read_text("utf-8"))


def test_compare_takes_runs_predictions_and_data(run, folder, tmp_path):
    for name, beam in (("wide", 3), ("greedy", 1)):
        assert dragoman("evaluate", run, "--out", tmp_path / name, f"decoding.beam={beam}")[0] == 0
    written = (tmp_path / "wide", tmp_path / "greedy" / "predictions.jsonl")
    code, out, said = dragoman("compare", *written, "--worst", 1)
    assert code == 0, said
    lines = out.splitlines()
    assert lines[1:3] == [f"A  {written[0]}", f"B  {written[1]}"]
    assert [line.split()[0] for line in lines[4:6]] == ["exact_match", "cer"]
    code, out, said = dragoman("compare", run, run, folder / "dev.tsv", "decoding.method=greedy", "--json")
    assert code == 0, said
    found = json.loads(out)
    assert found["examples"] == 12
    assert [one["verdict"] for one in found["pairs"][0]["metrics"]] == ["same", "same"]


def test_train_with_seeds_says_how_far_scores_spread(folder):
    changes = ("run=runs/seeds", "training.max_steps=2")
    code, out, said = dragoman("train", "tiny.yaml", *changes, "--seeds", 2, "--split", "test", folder=folder)
    assert code == 0, said
    assert out.startswith("2 seeds (1, 2) on test, 12 examples: mean")
    assert "±" in out
    assert "seed 2 (2 of 2)" in said
    assert json.loads((folder / "runs/seeds/seeds.json").read_text("utf-8"))["split"] == "test"


def test_runs_of_one_vocabulary_answer_together(run, folder):
    other = folder / "runs" / "other"
    changes = [f"run={other}", "seed=2", "model.encoder.kind=lstm", "training.max_steps=40"]
    code, _, said = dragoman("train", "tiny.yaml", *changes, folder=folder)
    assert code == 0, said
    scores = []
    for others in ((), ("--with", other), ("--with", run)):
        code, out, said = dragoman("score", run, folder / "dev.tsv", *others)
        assert code == 0, said
        scores.append([float(line.split("\t")[0]) for line in out.splitlines()])
    alone, together, twice = scores
    assert twice == pytest.approx(alone, abs=1e-3)
    assert together != pytest.approx(alone, abs=1e-3)
    code, out, _ = dragoman("predict", run, "--with", other, given=b"ab\n\n")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert dragoman("predict", run, "--with", other, "--workers", "2", given=b"ab\n\n")[:2] == (0, out)
    dragoman("evaluate", run)
    before = (run / "evaluation" / "test" / "scores.json").read_bytes()
    code, out, said = dragoman("evaluate", run, "--with", other, "--json")
    assert code == 0, said
    assert out == (run / "evaluation" / "test-with-other" / "scores.json").read_text("utf-8")
    assert (run / "evaluation" / "test" / "scores.json").read_bytes() == before


def test_runs_of_other_vocabularies_do_not_answer_together(run, folder):
    changes = [f"run={folder / 'runs' / 'bytes'}", "target.kind=bytes", "training.max_steps=1"]
    code, _, said = dragoman("train", "tiny.yaml", *changes, folder=folder)
    assert code == 0, said
    code, _, said = dragoman("predict", run, "--with", folder / "runs" / "bytes", given=b"ab\n")
    assert code == 2
    assert "target vocabulary" in said
    assert "Traceback" not in said


def test_check_finds_a_whole_bundle_right_and_a_damaged_one_wrong(run, tmp_path):
    assert dragoman("check", run)[0] == 0
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", run, copy], check=True)
    weights = copy / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(bytes(content))
    for verb in ("check", "predict"):
        code, _, said = dragoman(verb, copy, given=b"ab\n")
        assert code == 2
        assert "weights.safetensors" in said
        assert "Traceback" not in said


def test_check_prints_a_recipe_with_every_default_and_what_it_found(folder):
    code, out, said = dragoman("check", "tiny.yaml", "training.max_steps=7", folder=folder)
    assert code == 0, said
    assert "max_steps: 7" in out
    assert "label_smoothing" in out
    assert "learnt by heart" in said
    assert "0 faults" in said


def test_check_exits_with_2_where_data_have_faults(folder):
    changes = ["data.dev.file=none.tsv", "--quick", "--json"]
    code, out, said = dragoman("check", "tiny.yaml", *changes, folder=folder)
    assert code == 2
    assert "none.tsv" in said
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["severity"] for row in rows if "none.tsv" in row["found"]] == ["fault"]


@pytest.mark.parametrize(
    ("arguments", "hints"),
    [
        (["train", "missing.yaml"], ["missing.yaml"]),
        (["train", "tiny.yaml", "training.maxsteps=3"], ["maxsteps", "max_steps"]),
        (["train", "tiny.yaml", "pairs.tsv"], ["pairs.tsv", "key=value"]),
        (["predict", "nowhere"], ["nowhere"]),
        (["predict", "runs/tiny", "missing.txt"], ["missing.txt"]),
        (["predict", "runs/tiny", "--device", "gpu"], ["--device", "gpu"]),
        (["evaluate", "runs/tiny", "--split", "tset"], ["tset"]),
        (["evaluate", "runs/tiny", "--source", "pairs.tsv"], ["--target"]),
        (["evaluate", "runs/tiny", "--picture-count", "2"], ["--picture-count", "--pictures FOLDER"]),
        (["evaluate", "runs/tiny", "--pictures", "p", "--picture-format", "gif"], ["png or svg", "gif"]),
        (["compare", "runs/tiny"], ["two systems or more"]),
        (["compare", "runs/tiny", "runs/tinny"], ["runs/tinny", "found neither"]),
        (["compare", "runs/tiny", "runs/tiny", "dev.tsv", "pairs.tsv"], ["expected one file", "pairs.tsv"]),
        (["train", "tiny.yaml", "--split", "dev"], ["--split", "--seeds"]),
        (["train", "tiny.yaml", "--seeds", "2", "--split", "tset"], ["--split", "tset"]),
        (["train", "runs/tiny", "--seeds", "2"], ["holds a single run already", "run="]),
        (["evaluate", "runs/tiny", "--out", "dev.tsv"], ["--out: expected a folder to write", "dev.tsv"]),
        (["evaluate", "runs/tiny", "--out", "dev.tsv/x"], ["--out", "dev.tsv is a file, so dev.tsv/x"]),
        (["evaluate", "runs/tiny", "--pictures", "dev.tsv"], ["--pictures: expected a folder", "dev.tsv"]),
        (["report", "runs/tiny", "--out", "runs"], ["--out: expected the name of a file", "a folder: runs"]),
        (["explain", "runs/tiny", "ab", "--html", "runs"], ["--html: expected the name of a file", "runs"]),
        (["tarin", "tiny.yaml"], ["tarin"]),
    ],
)
def test_a_persons_fault_is_one_message_and_exit_code_2(folder, arguments, hints):
    code, _, said = dragoman(*arguments, folder=folder)
    assert code == 2
    assert "Traceback" not in said
    for hint in hints:
        assert hint in said


def test_plan_prints_a_recipe_that_train_trains(folder):
    code, out, said = dragoman("plan", "pairs.tsv", "training.max_steps=2", folder=folder)
    assert code == 0, said
    folder.joinpath("planned.yaml").write_text(out, "utf-8")
    code, checked, said = dragoman("check", "planned.yaml", "--quick", folder=folder)
    assert code == 0, said
    assert "max_steps: 2" in checked
    changes = ["training.max_steps=2", "model.encoder.layers=1", "data.cache=cache"]
    code, _, said = dragoman("train", "pairs.tsv", *changes, folder=folder)
    assert code == 0, said
    assert "# Sources are words or forms" in said
    assert (folder / "runs" / "pairs" / "MANIFEST.json").exists()
    code, _, said = dragoman("plan", "training.max_steps=2", folder=folder)
    assert code == 2
    assert "nothing to look at" in said


def test_a_full_disk_is_one_message(run):
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "dragoman", "score", run, run.parent.parent / "dev.tsv"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 2
    assert "the system refused: No space left on device" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_debug_shows_the_traceback(folder):
    code, _, said = dragoman("train", "missing.yaml", "--debug", folder=folder)
    assert code != 0
    assert "Traceback" in said


def test_sigterm_saves_says_how_to_continue_and_leaves_with_4(folder):
    arguments = ["train", "tiny.yaml", "run=runs/stopped", "training.max_steps=100000"]
    command = [sys.executable, "-m", "dragoman", *arguments]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    log = folder / "runs" / "stopped" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and '"train"' in log.read_text("utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 4
    assert "dragoman train" in said
    assert any((folder / "runs" / "stopped" / "checkpoints").iterdir())


def test_schema_is_json():
    code, out, _ = dragoman("schema")
    assert code == 0
    assert json.loads(out)["title"]


def test_version():
    import dragoman as package

    assert dragoman("--version")[1].strip() == f"dragoman {package.__version__}"


def test_completion_is_offered():
    environment = {
        **os.environ,
        "_DRAGOMAN_COMPLETE": "complete_bash",
        "COMP_WORDS": "dragoman pre",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([sys.executable, "-m", "dragoman"], env=environment, capture_output=True, text=True)
    assert "predict" in done.stdout


def test_explain_says_where_an_answer_comes_from(run):
    code, out, _ = dragoman("explain", run, "ab")
    assert code == 0
    assert out.startswith("source  ab\nanswer  AB\n")
    for part in ("probability", "attention (mean)", "occlusion", "search: beam of 3"):
        assert part in out


def test_align_prints_which_words_belong_together(run, folder):
    folder.joinpath("words.tsv").write_text("ab ba\tAB BA\nbab\tBAB\n", "utf-8")
    folder.joinpath("gold.talp").write_text("0-0 1-1\n0-0\n", "utf-8")
    code, out, said = dragoman("align", run, "words.tsv", "--gold", "gold.talp", folder=folder)
    assert code == 0
    lines = [[tuple(map(int, link.split("-"))) for link in line.split()] for line in out.splitlines()]
    assert [sorted(target for _, target in links) for links in lines] == [[0, 1], [0]]
    assert said.startswith("alignment error rate ") and "precision" in said
    code, out, _ = dragoman("align", run, "words.tsv", "--json", "--method", "occlusion", folder=folder)
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[1]["links"] == [[0, 0]] and rows[0]["target_words"] == ["AB", "BA"]
    for wrong, complaint in (
        (["words.tsv", "--method", "magic"], "--method: expected one of attention, rollout, "),
        ([], "nothing to align: give PAIRS, or --source and --target"),
    ):
        code, _, said = dragoman("align", run, *wrong, folder=folder)
        assert code == 2 and complaint in said


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "17"}, "17"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["ours", "asked for", "a policy"],
)
def test_threads_that_wait_soon_sleep_unless_somebody_asks_for_something_else(given, kept):
    said = (
        "import os, sys\nfrom dragoman.__main__ import main\nsys.argv = ['dragoman', '--help']\n"
        "try:\n    main()\nfinally:\n"
        "    assert 'torch' not in sys.modules\n    print('looks', os.environ.get('GOMP_SPINCOUNT'))"
    )
    around = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP", "OMP"))}
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, env=around | given, timeout=60)
    assert done.stdout.decode().endswith(f"looks {kept}\n")
