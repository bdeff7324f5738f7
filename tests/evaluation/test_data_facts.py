"""Counts of training data and of what a vocabulary knows."""

import json

import pytest

from dragoman.data.codec import Codecs, learn_codec
from dragoman.evaluation.data_facts import (
    MEASURED,
    coverage,
    length_of,
    lengths,
    rejected,
    training_facts,
    unit_of,
)
from dragoman.recipe.data import Characters
from dragoman.recipe.series import Numbers
from dragoman.records import Example

TEXTS = ["a dog", "a cat", "dog"]
CODEC = learn_codec(Characters(kind="characters"), TEXTS, "source")
NUMBERS = learn_codec(Numbers(kind="numbers"), ["1 2 3", "2 4"], "source")


def test_what_comes_again_is_counted():
    pairs = [("a dog", "x"), ("a cat", "y"), ("a dog", "x"), ("a dog", "z")]
    found = training_facts([Example(source, (target,)) for source, target in pairs], Codecs(CODEC, CODEC))
    assert (found.examples, found.repeated_pairs, found.repeated_sources) == (4, 1, 2)
    assert found.source_words == {"a": 4, "dog": 3, "cat": 1}
    assert found.target_words == {"x": 2, "y": 1, "z": 1}
    assert found.source_lengths == (5, 5, 5, 5)
    assert found.target_lengths == (1, 1, 1, 1)


def test_of_many_examples_an_even_part_is_measured():
    count = 3 * MEASURED
    texts = ["a" * (1 + 9 * number // count) for number in range(count)]
    found = training_facts((Example(text, ("a",)) for text in texts), Codecs(CODEC, CODEC))
    assert (found.examples, len(found.source_lengths)) == (count, MEASURED)
    assert sum(found.source_lengths) / MEASURED == pytest.approx(5, abs=0.2)


def test_nothing_is_no_fault():
    found = training_facts([], Codecs(CODEC, CODEC))
    assert (found.examples, found.repeated_pairs, found.source_lengths) == (0, 0, ())


def test_unknown_symbols_and_unseen_words_are_counted():
    found = coverage(CODEC, ["a dog!", "a god god"], {"a": 4, "dog": 3})
    assert (found.tokens, found.unknown) == (15, 1)
    assert (found.words, found.unseen, found.examples) == (6, 3, ("god", "!"))
    assert found.vocabulary == CODEC.port.size
    assert coverage(CODEC, ["a cow"], None).unseen is None
    assert coverage(NUMBERS, [], None) is None


def test_each_kind_is_measured_in_its_unit():
    assert (length_of(CODEC, "a cat"), unit_of(CODEC)) == (5, "tokens")
    assert (length_of(NUMBERS, "1 2 3"), unit_of(NUMBERS)) == (3, "steps")
    assert lengths(NUMBERS, ["1 2", "no number", "[3]"]) == (2, 1)


def test_rejected_rows_are_counted_by_kind(tmp_path):
    assert rejected(None) is None
    assert rejected(tmp_path) is None
    kinds = ["empty source", "bad utf-8", "bad utf-8"]
    rows = [json.dumps({"kind": kind, "file": "x", "line": 1, "found": ""}) for kind in kinds]
    (tmp_path / "rejected.jsonl").write_text("\n".join(rows), "utf-8")
    assert list(rejected(tmp_path).items()) == [("bad utf-8", 2), ("empty source", 1)]
