import math
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.recipe.yaml_reader import MAX_BYTES, Unreadable, decode_text, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E6", 1e6),
        (".5", 0.5),
        ("-2.", -2.0),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0b11", "0b11"),
        ("=", "="),
        ("<<", "<<"),
        ("e4", "e4"),
        (".", "."),
        ('"3"', "3"),
        ("'true'", "true"),
        ("|\n  1e-4", "1e-4"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = read_yaml(f"key: {text}").value["key"]
    assert (found, type(found)) == (value, type(value))


def test_nan_is_a_number():
    assert math.isnan(read_yaml("key: .NaN").value["key"])


def test_keys_are_always_text():
    assert read_yaml("{1: a, true: b, null: c, 1.5: d}").value == {
        "1": "a",
        "true": "b",
        "null": "c",
        "1.5": "d",
    }


def test_every_key_and_item_has_its_line():
    lines = read_yaml("# comment\na: 1\n\nb:\n  - c: 2\n    d: {e: 3,\n      f: 4}\n  - 5\n").lines
    assert lines == {
        (): 2,
        ("a",): 2,
        ("b",): 4,
        ("b", 0): 5,
        ("b", 0, "c"): 5,
        ("b", 0, "d"): 6,
        ("b", 0, "d", "e"): 6,
        ("b", 0, "d", "f"): 7,
        ("b", 1): 8,
    }


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: 1\nb: 2\na: 3", [(3, ("a",), "key given twice; first at line 1")]),
        ("a:\n  b: 1\n  b: [1, 2]\n", [(3, ("a", "b"), "key given twice; first at line 2")]),
        ("a: &x 1", [(1, ("a",), "anchors (&x) are not allowed; write each value out")]),
        ("&x a: 1", [(1, (), "anchors (&x) are not allowed; write each value out")]),
        ("\na: *x", [(2, ("a",), "aliases (*x) are not allowed; write the value out")]),
        (
            "a: !!python/object/apply:os.system ['true']",
            [(1, ("a",), "tags (!!python/object/apply:os.system) are not allowed; write the plain value")],
        ),
        ("a: !!str 1", [(1, ("a",), "tags (!!str) are not allowed; write the plain value")]),
        ("a: {b: !x {}}", [(1, ("a", "b"), "tags (!x) are not allowed; write the plain value")]),
        ("? [a, b]\n: 1", [(1, (), "a key must be one word")]),
        ("a: " + "9" * 5000, [(1, ("a",), "an integer of 5,000 digits")]),
        ('a: "\\ud800"', [(1, ("a",), "half of a surrogate pair is not text")]),
    ],
)
def test_what_a_recipe_may_not_say_is_a_fault_and_reading_goes_on(text, faults):
    document = read_yaml(text)
    assert [(fault.line, fault.path, fault.what) for fault in document.faults] == faults


def test_a_key_given_twice_keeps_the_first_value_and_its_lines():
    document = read_yaml("a: {b: 1}\na:\n  b: 2\n  c: 3\n")
    assert document.value == {"a": {"b": 1}}
    assert document.lines == {(): 1, ("a",): 1, ("a", "b"): 1}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: 1\n\tb: 2", 2, "indent with spaces, not tabs"),
        ("a: b: c", 1, "put text with a colon in quotes"),
        ("a: @x", 1, "put text that starts with a sign in quotes"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("a: 1\nb: \0", 2, "a character that YAML forbids: U+0000"),
        ('a: 1\nb: "\\UFFFFFFFF"', 2, "not YAML"),
        ('a: "\\U00110000"', 1, "not YAML"),
        ("%YAML 1." + "1" * 5000 + "\n---\na: 1", 1, "not YAML"),
        ("[" * 3000, 1, "more than 20 levels deep"),
        ("a:\n" + "".join(" " * depth + "- \n" for depth in range(1, 40)), 22, "more than 20 levels deep"),
        ("- a\n" * 20_000, 10_000, "more than 10,000 values"),
        ("{" + "a," * 20_000, 1, "more than 10,000 values"),
    ],
)
def test_what_is_not_yaml_or_passes_a_limit_ends_the_reading(text, line, what):
    with pytest.raises(Unreadable, match=what.replace("+", r"\+")) as error:
        read_yaml(text)
    assert error.value.line == line
    assert "\n" not in error.value.what


def test_a_bomb_of_aliases_never_goes_off():
    levels = "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")
    )
    started = time.process_time()
    document = read_yaml(f"a: &a [x, x]\n{levels}")
    assert time.process_time() - started < 1
    assert len(document.faults) == 9 + 8 * 9
    assert document.value["i"] == [None] * 9


def test_bytes_are_utf_8_with_or_without_a_mark():
    assert decode_text("é".encode()) == decode_text("\ufeffé".encode()) == "é"
    with pytest.raises(Unreadable, match="not UTF-8: found byte 0xe9; save it as UTF-8") as error:
        decode_text("a: 1\nb: \xe9t\xe9".encode("latin-1"))
    assert error.value.line == 2


def test_the_size_is_limited():
    assert len(decode_text(b"#" * MAX_BYTES)) == MAX_BYTES
    with pytest.raises(Unreadable, match="larger than 1,000,000 bytes"):
        decode_text(b"#" * (MAX_BYTES + 1))


_SIGNS = st.text(alphabet="ab01.:-?,[]{}&*!|>'\"%@`#~<= \n\t\\\u2028\x85\ud800", max_size=60)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_SIGNS | st.text(max_size=60))
def test_any_text_is_read_or_unreadable(text):
    try:
        document = read_yaml(text)
    except Unreadable as error:
        assert error.line >= 1
    else:
        assert document.value is None or document.lines[()] >= 1
