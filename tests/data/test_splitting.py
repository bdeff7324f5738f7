import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from dragoman.data.splitting import side_of

SOURCES = ["hund", "Straße", "über", "猫", "a\tV;PST"]


def test_sides_are_what_they_have_always_been():
    sides = [side_of(f"source {number}", 0.3, 0.3) for number in range(20)]
    assert "".join({"train": ".", "dev": "d", "test": "t"}[side] for side in sides) == "ddtt.dddtddtddtt.d.."


def test_same_in_another_process_with_another_hash_seed():
    code = f"from dragoman.data.splitting import side_of; print([side_of(s, 0.3, 0.3) for s in {SOURCES!r}])"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == str([side_of(source, 0.3, 0.3) for source in SOURCES])


def test_shares_are_honoured():
    rows = 20_000
    sides = [side_of(str(number), 0.05, 0.10) for number in range(rows)]
    # Five standard deviations of a binomial.
    assert abs(sides.count("dev") / rows - 0.05) < 5 * (0.05 * 0.95 / rows) ** 0.5
    assert abs(sides.count("test") / rows - 0.10) < 5 * (0.10 * 0.90 / rows) ** 0.5


@given(st.text(st.characters()))
def test_nothing_held_out_leaves_everything_to_train_on(source):
    assert side_of(source, 0.0, 0.0) == "train"


def test_forms_of_one_text_are_on_one_side():
    words = [f"\u00fc{number}" for number in range(200)]
    decomposed = [f"u\u0308{number}" for number in range(200)]
    assert [side_of(word, 0.5, 0) for word in words] == [side_of(word, 0.5, 0) for word in decomposed]


def test_changing_one_share_never_moves_the_other_side():
    sources = [str(number) for number in range(2000)]
    test = {source for source in sources if side_of(source, 0.1, 0.2) == "test"}
    assert test == {source for source in sources if side_of(source, 0.4, 0.2) == "test"}
    dev = {source for source in sources if side_of(source, 0.1, 0.2) == "dev"}
    assert dev == {source for source in sources if side_of(source, 0.1, 0.5) == "dev"}
