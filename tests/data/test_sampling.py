"""Sampled segmentations follow SentencePiece's definitions, and repeat in every process."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from collections import Counter

import pytest
import sentencepiece

from dragoman.data.subwords import learn_subwords
from dragoman.recipe.data import Subwords

RNG = random.Random(0)
WORDS = ["".join(RNG.choices("abcdefgh", k=RNG.randint(1, 9))) for _ in range(120)]
TEXTS = [" ".join(RNG.choices(WORDS, k=RNG.randint(1, 10))) for _ in range(400)]
ODD = ["", " ", "  a  b ", "a\tb", "é日本x", "▁a", "xyz \n q", "ab日日cd"]


def _learnt(kind, sampling):
    section = Subwords(kind=kind, size=400, sampling=sampling)
    return learn_subwords(section, TEXTS, "source", lambda message: None)


def _processor(units, tmp_path):
    units.save(tmp_path)
    return sentencepiece.SentencePieceProcessor(model_proto=(tmp_path / "subwords.model").read_bytes())


@pytest.mark.parametrize(("kind", "sampling"), [("bpe", 1e-12), ("unigram", 0.999999)])
def test_every_sample_stands_for_the_same_text(kind, sampling):
    units = _learnt(kind, sampling)
    for text in TEXTS[:100] + ODD:
        for seed in range(3):
            assert units.join(units.cut(text, seed)) == text


def test_bpe_that_drops_next_to_nothing_is_the_plain_cut():
    units = _learnt("bpe", 1e-12)
    for text in TEXTS + ODD:
        assert units.cut(text, 1) == units.cut(text, None)


@pytest.mark.parametrize(("kind", "sampling"), [("bpe", 0.3), ("unigram", 0.1)])
def test_samples_are_distributed_as_sentencepieces_own(kind, sampling, tmp_path):
    units = _learnt(kind, sampling)
    processor = _processor(units, tmp_path)
    text, draws = f"{WORDS[0]} {WORDS[1]}", 4000
    ours = Counter(tuple(units.cut(text, seed)) for seed in range(draws))
    cut = [processor.encode(text, enable_sampling=True, alpha=sampling, nbest_size=-1) for _ in range(draws)]
    theirs = Counter(map(tuple, cut))
    # SentencePiece's draws have no seed that repeats: bounds are six standard errors wide, not to flake.
    for tokens, count in theirs.most_common(5):
        assert abs(ours[tokens] - count) < 6 * (count + ours[tokens]) ** 0.5, tokens
    lengths = [[len(tokens) for tokens in found.elements()] for found in (ours, theirs)]
    error = (sum(statistics.variance(found) for found in lengths) / draws) ** 0.5
    assert abs(statistics.mean(lengths[0]) - statistics.mean(lengths[1])) < 6 * error


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_seed_gives_the_same_cut_in_every_process(kind, tmp_path):
    units = _learnt(kind, 0.2)
    units.save(tmp_path)
    program = (
        "import sys; from pathlib import Path; from dragoman.data.subwords import SubwordUnits\n"
        f"units = SubwordUnits((Path(sys.argv[1]) / 'subwords.model').read_bytes(), {kind!r}, 0.2)\n"
        f"print([units.cut({TEXTS[0]!r}, seed) for seed in range(20)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([units.cut(TEXTS[0], seed) for seed in range(20)])
