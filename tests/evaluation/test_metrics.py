"""Metrics against sacreBLEU's public functions and against numbers worked out by hand."""

import math
import random

import pytest
from pydantic import TypeAdapter
from sacrebleu.metrics import BLEU, CHRF, TER

from dragoman.errors import DataError, MissingExtra
from dragoman.evaluation import metrics
from dragoman.evaluation.metrics import measure
from dragoman.recipe.metrics import Evaluation, Metric

SECTION = Evaluation(bootstrap_samples=100)
ANSWERS = ["The cat sat on the mat.", "It is, of course, raining today!", "", "A Dog barks."]
REFERENCES = [
    ["The cat is sitting on the mat.", "A cat sat on the mat."],
    ["Of course it is raining today!"],
    ["Nobody said a word."],
    ["a dog barks.", "A dog barked.", "The dog is barking."],
]


def section(given):
    return TypeAdapter(Metric).validate_python(given)


def score(given, answers, references, evaluation=SECTION):
    return measure(section(given), answers, references, evaluation)


def padded(references):
    most = max(map(len, references))
    return [[given[n] if n < len(given) else None for given in references] for n in range(most)]


SACREBLEU = [
    ({"name": "bleu"}, BLEU()),
    ({"name": "bleu", "lowercase": True, "tokenize": "intl"}, BLEU(lowercase=True, tokenize="intl")),
    ({"name": "bleu", "tokenize": "char"}, BLEU(tokenize="char")),
    ({"name": "bleu", "tokenize": "zh"}, BLEU(tokenize="zh")),
    ({"name": "bleu", "tokenize": "none"}, BLEU(tokenize="none", force=True)),
    ({"name": "chrf"}, CHRF()),
    ({"name": "chrf", "word_order": 2, "lowercase": True}, CHRF(word_order=2, lowercase=True)),
    ({"name": "ter"}, TER()),
    ({"name": "ter", "lowercase": False}, TER(case_sensitive=True)),
]


@pytest.mark.parametrize(
    ("given", "sacre"),
    SACREBLEU,
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else type(value).__name__,
)
def test_sacrebleu_metrics_equal_its_public_functions(given, sacre):
    found = score(given, ANSWERS, REFERENCES)
    assert found.value == pytest.approx(sacre.corpus_score(ANSWERS, padded(REFERENCES)).score, rel=1e-12)
    assert found.signature == str(sacre.get_signature())
    assert "nrefs:var" in found.signature
    assert 0 < found.value < 100
    assert found.low <= found.value <= found.high


def test_each_resample_is_what_sacrebleu_says_of_the_drawn_sentences():
    """The draw of two thirds of the sentences, as one corpus, scores what their summed statistics score."""
    for given, sacre in SACREBLEU:
        found = metrics.statistics(section(given), ANSWERS, REFERENCES)
        drawn = [0, 0, 3, 1]
        direct = sacre.corpus_score([ANSWERS[n] for n in drawn], padded([REFERENCES[n] for n in drawn]))
        assert found.score(found.rows_NF[drawn].sum(axis=0)) == pytest.approx(direct.score, rel=1e-12)


def test_bleu_by_hand():
    # 5 of 6 words, 3 of 5 bigrams, 1 of 4 trigrams, no 4-gram: smoothed to 1 of 2 · 3; no brevity penalty
    expected = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 1 / 4, 1 / 6))) / 4)
    found = score("bleu", ["the cat sat on the mat"], [["the cat lay on the mat"]])
    assert found.value == pytest.approx(expected)


def test_moses_tokenises_both_sides_and_says_so():
    pytest.importorskip("sacremoses")
    given = {"name": "bleu", "tokenize": "moses", "language": "de", "lowercase": True}
    found = score(given, ["Ein „Hund“ läuft z.B. hier ."], [['ein "hund" läuft z.b. hier.']])
    assert found.value == pytest.approx(100)  # quotes, case and the space before the full stop are levelled
    assert found.signature.startswith("nrefs:1|case:lc|eff:no|tok:moses-de-sacremoses-")
    cased = score({**given, "lowercase": False}, ["Ein Hund läuft hier."], [["ein Hund läuft hier."]])
    assert 0 < cased.value < 100


def test_moses_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sacremoses", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dragoman\[moses\]'"):
        score({"name": "bleu", "tokenize": "moses", "language": "de"}, ["a"], [["a"]])


BY_HAND = [
    # kitten/sitting: 3 edits over 7; abc/abc: none over 3
    ("cer", ["kitten", "abc"], [["sitting"], ["abc"]], 100 * 3 / 10),
    # "b c" for "a b c d": 2 edits over 4
    ("wer", ["b c"], [["a b c d"]], 50.0),
    ("wer", ["  a\tb "], [["a b"]], 0.0),
    # of 2/3 edits and 3/6 edits the smaller share counts
    ("cer", ["abc"], [["axy", "abcdef"]], 50.0),
    # 1/2 against 2/4: the same share, so the fewest edits, whose length is 2
    ("cer", ["ab", "zz"], [["ax", "abyz"], ["zzzz"]], 100 * 3 / 6),
    ("cer", ["", "ab"], [["xyz"], ["ab"]], 60.0),
    ("cer", ["too much", "ab"], [["", "too much!"], ["ab"]], 100 / 11),
    ("cer", ["aaaa"], [["a"]], 300.0),  # may pass 100
    ("exact_match", ["a", "b", "c", ""], [["x", "a"], ["B"], ["c"], [""]], 75.0),
    ("rouge1", ["a b", "x"], [["a b c d"], ["q", "x"]], 100 * (2 / 3 + 1) / 2),
    ("rouge2", ["a b c"], [["a b d"]], 50.0),
    ("rougeL", ["a b c"], [["c b a"]], 100 / 3),
]


@pytest.mark.parametrize(("name", "answers", "references", "expected"), BY_HAND)
def test_own_metrics_by_hand(name, answers, references, expected):
    found = score(name, answers, references)
    assert found.value == pytest.approx(expected)
    assert found.label == name
    assert "dragoman:" in found.signature


@pytest.mark.parametrize(
    "name", ["bleu", "chrf", "ter", "exact_match", "cer", "wer", "rouge1", "rouge2", "rougeL"]
)
def test_every_metric_knows_perfect_empty_and_its_own_direction(name):
    references = [["a b c d e f"], ["g h i j k"]]
    perfect = score(name, ["a b c d e f", "g h i j k"], references)
    worse = score(name, ["a b c d e x", "g h i j k"], references)
    empty = score(name, ["", ""], references)
    is_error = name in ("ter", "cer", "wer")
    assert perfect.value == pytest.approx(0 if is_error else 100)
    assert empty.value == pytest.approx(100 if is_error else 0)
    assert (worse.value > perfect.value) == is_error == (not perfect.higher_is_better)
    assert 0 < worse.value < 100


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter", "cer", "wer"])
def test_empty_references_are_no_division_by_zero(name):
    assert math.isfinite(score(name, ["a"], [[""]]).value)
    assert math.isfinite(score(name, [""], [[""]]).value)


def test_a_perfect_exact_match_is_no_certainty():
    found = score("exact_match", ["a"] * 20, [["a"]] * 20)
    assert (found.value, found.high) == (100, 100)
    assert found.low < 90
    assert "interval:wilson" in found.signature


@pytest.mark.parametrize("name", ["bleu", "cer", "rougeL", "exact_match"])
def test_intervals_narrow_with_examples_and_repeat(name):
    numbers = random.Random(1)
    references = [" ".join(numbers.choices("abcdefgh", k=8)) for _ in range(400)]
    answers = [r.translate(str.maketrans({numbers.choice("abcdefgh"): "x"})) for r in references]

    def width(count):
        found = score(name, answers[:count], [[r] for r in references[:count]])
        assert found.low < found.value < found.high
        return found.high - found.low

    assert width(400) < width(40)
    assert width(400) == width(400)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(DataError, match="nothing to score: `bleu` got no examples"):
        score("bleu", [], [])
    with pytest.raises(DataError, match="example 2 has no reference; 1 have none"):
        score("cer", ["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="2 answers do not go with references for 1"):
        score("cer", ["a", "b"], [["a"]])
