"""Two systems on the same examples: tests that can be believed, and what is said of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from dragoman.errors import UserError
from dragoman.evaluation.comparison import SAME, compare_systems, comparison_json, format_comparison
from dragoman.evaluation.forecasting import statistics_of_errors
from dragoman.evaluation.metrics import statistics
from dragoman.evaluation.systems import Answered, System, same_examples
from dragoman.recipe.metrics import Bleu, Chrf, ErrorRate, Evaluation, ExactMatch

SECTION = Evaluation(bootstrap_samples=200)
WORDS = [
    "the",
    "a",
    "big",
    "small",
    "red",
    "green",
    "dog",
    "cat",
    "house",
    "runs",
    "sees",
    "old",
    "new",
    "boy",
]
BLEU_AND_CHRF = (Bleu(name="bleu"), Chrf(name="chrf"))


def corpus(count, share, seed):
    """References, and answers of which a share of the words is another one."""
    numbers = np.random.default_rng(seed)
    references = [[str(word) for word in numbers.choice(WORDS, 9)] for _ in range(count)]
    answers = [
        " ".join(str(numbers.choice(WORDS)) if numbers.random() < share else word for word in row)
        for row in references
    ]
    return answers, [" ".join(row) for row in references]


def system(name, answers, references, metrics=BLEU_AND_CHRF):
    rows = tuple(
        Answered(f"{number}", f"source {number}", (reference,), answer)
        for number, (answer, reference) in enumerate(zip(answers, references, strict=True), 1)
    )
    found = tuple(statistics(metric, answers, [(each,) for each in references]) for metric in metrics)
    grading = [one for one in found if one.grades_examples]
    return System(name, rows, found, grading[0] if grading else found[0])


def two(share, other_share, count=200, **more):
    answers, references = corpus(count, share, 1)
    others = corpus(count, other_share, 1)[0]
    return system("first", answers, references, **more), system("second", others, references, **more)


def test_a_known_difference_is_found_and_its_direction_is_told():
    worse, better = two(0.4, 0.1)
    (pair,) = compare_systems([worse, better], SECTION).pairs
    assert [one.verdict for one in pair.metrics] == ["better", "better"]
    for one in pair.metrics:
        assert one.difference.p_bootstrap == one.difference.p_randomisation == 1 / 201
        assert one.difference.low > 0
        assert one.value - one.baseline == pytest.approx(one.difference.value)
    (turned,) = compare_systems([better, worse], SECTION).pairs
    assert [one.verdict for one in turned.metrics] == ["worse", "worse"]
    assert (turned.better, turned.worse, turned.equal) == (pair.worse, pair.better, pair.equal)


def test_of_error_rates_the_lower_is_better():
    metrics = (ErrorRate(name="wer"),)
    (pair,) = compare_systems(list(two(0.4, 0.1, metrics=metrics)), SECTION).pairs
    assert pair.metrics[0].difference.high < 0
    assert pair.metrics[0].verdict == "better"
    assert pair.better > pair.worse


def test_a_system_does_not_differ_from_itself():
    first, _ = two(0.3, 0.1)
    (pair,) = compare_systems([first, replace(first, name="again")], SECTION).pairs
    for one in pair.metrics:
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
        assert one.difference.p_bootstrap == one.difference.p_randomisation == 1
        assert one.verdict == "same"
    assert (pair.better, pair.worse, pair.equal, pair.most) == (0, 0, 200, ())


def test_it_agrees_with_sacrebleu():
    """Its p-values of the same tests: of the bootstrap it counts one side, which is about half of both."""
    answers, references = corpus(200, 0.30, 1)
    moved = corpus(200, 0.30, 1)[0]
    moved[:100] = [" ".join(text.split()[:-1] + ["dog"]) for text in moved[:100]]
    ours = compare_systems(
        [system("first", answers, references), system("second", moved, references)],
        Evaluation(bootstrap_samples=1000),
    )
    found = ours.pairs[0].metrics[0]
    named = [("first", answers), ("second", moved)]
    for kind, p_value in (("ar", found.difference.p_randomisation), ("bs", found.difference.p_bootstrap)):
        test = PairedTest(named, {"BLEU": BLEU()}, [references], kind, n_samples=1000)
        theirs = test()[1]["BLEU"][1]
        assert found.value == pytest.approx(theirs.score, abs=1e-9)
        sides = 2 if kind == "bs" else 1
        assert p_value == pytest.approx(sides * theirs.p_value, rel=0.25, abs=0.01)


def windows(name, errors, block):
    """A system that forecast windows with these errors."""
    rows = tuple(Answered(str(n), str(n), ("",), "") for n in range(len(errors)))
    found = statistics_of_errors("mae", np.stack([errors, np.ones(len(errors))], 1), block, "")
    return System(name, rows, (found,), found)


@pytest.mark.parametrize(("overlap", "count"), [(1, 30), (6, 240)])
def test_without_a_difference_p_values_are_uniform(overlap, count):
    """Two systems that are equally good: of all p-values about a tenth is below a tenth, also of windows."""
    numbers = np.random.default_rng(7)
    p_values = []
    for repetition in range(200):
        steps = numbers.exponential(size=(2, count + overlap - 1))
        errors = [np.convolve(one, np.ones(overlap), "valid") for one in steps]
        both = [windows(name, one, overlap) for name, one in zip("ab", errors, strict=True)]
        section = Evaluation(bootstrap_samples=100, seed=repetition)
        found = compare_systems(both, section).pairs[0].metrics[0].difference
        p_values.append((found.p_bootstrap, found.p_randomisation))
    for kind in np.array(p_values).T:
        for share in (0.1, 0.3, 0.5, 0.8):  # of 200, three deviations are 0.11 at most
            assert (kind < share).mean() == pytest.approx(share, abs=0.11)


def test_windows_that_overlap_are_tested_together():
    """Ten copies of each window tell no more than one: alone, they would make chance look like a finding."""
    numbers = np.random.default_rng(3)
    errors = np.repeat(numbers.exponential(size=(2, 20)), 10, axis=1)

    def p_of(block):
        section = Evaluation(bootstrap_samples=1000)
        comparison = compare_systems(
            [windows("a", errors[0], block), windows("b", errors[1], block)], section
        )
        return comparison.windows_together, comparison.pairs[0].metrics[0].difference

    (alone, found), (together, honest) = p_of(1), p_of(10)
    assert (alone, together) == (1, 20)
    assert found.p_randomisation < 0.5 * honest.p_randomisation
    assert found.p_bootstrap < 0.5 * honest.p_bootstrap


def test_the_examples_that_differ_most_come_first():
    references = ["a b c d", "e f g h", "i j k l", "m n o p"]
    ours = ["a b c d", "e f g h", "x x x x", "m n o x"]
    theirs = ["a b c d", "x x x x", "i j x x", "m n o p"]
    metrics = (Bleu(name="bleu"), ErrorRate(name="wer"))
    both = [system("first", ours, references, metrics), system("second", theirs, references, metrics)]
    (pair,) = compare_systems(both, SECTION, worst=2).pairs
    assert pair.told_by == "wer"
    assert [contrast.number for contrast in pair.most] == [2, 3]
    assert [(one.baseline_score, one.score) for one in pair.most] == [(0, 100), (100, 50)]
    assert (pair.better, pair.worse, pair.equal) == (2, 1, 1)
    (none,) = compare_systems(both, SECTION, worst=0).pairs
    assert none.most == ()


def test_what_is_said_of_it():
    worse, better = two(0.4, 0.1)
    comparison = compare_systems([worse, better, replace(worse, name="third")], SECTION, 1, ["a note"])
    text = format_comparison(comparison)
    lines = text.splitlines()
    assert lines[0].startswith("200 examples; differences with intervals of 95%")
    assert lines[0].endswith("200 draws each")
    assert lines[1:4] == ["A  first", "B  second", "C  third"]
    assert [line.split("  ")[-1] for line in lines if line.startswith(("bleu", "chrf"))] == [
        "B better",
        "B better",
        SAME,
        SAME,
    ]
    assert "examples by chrf: B better than A in" in text
    assert "    expected" in text
    assert "a note" in lines
    assert lines[-1].startswith("4 comparisons at once: one of 20 shows a difference where there is none.")
    assert lines[-1].endswith("(Holm 1979) all of the differences can be shown.")
    found = json.loads(json.dumps(comparison_json(comparison)))
    assert found["pairs"][0]["metrics"][0]["verdict"] == "better"
    assert (
        found["pairs"][0]["most"][0]["other"]["answer"]
        == better.rows[found["pairs"][0]["most"][0]["number"] - 1].answer
    )
    alone = format_comparison(compare_systems([worse, replace(worse, name="same")], SECTION))
    assert "comparisons at once" not in alone


def test_many_comparisons_are_corrected():
    """A difference that just shows by itself does not among thirty others."""
    answers, references = corpus(60, 0.3, 1)
    others = corpus(60, 0.3, 1)[0]
    others[:15] = references[:15]
    metrics = (ErrorRate(name="wer"), ErrorRate(name="cer"))
    systems = [system(name, given, references, metrics) for name, given in (("a", answers), ("b", others))]
    alone = compare_systems(systems, SECTION)
    among = compare_systems([*systems, *[replace(systems[0], name="same")] * 30], SECTION)
    for one, other in zip(alone.pairs[0].metrics, among.pairs[0].metrics, strict=True):
        assert one.difference == other.difference
        assert (
            one.holm
            < other.holm
            == pytest.approx(
                min(1, 62 * max(one.difference.p_bootstrap, one.difference.p_randomisation)), rel=0.05
            )
        )
    assert "none of them can be shown" in format_comparison(among)


def test_a_share_of_right_answers_is_compared_too():
    metrics = (ExactMatch(name="exact_match"), Chrf(name="chrf"))
    (pair,) = compare_systems(list(two(0.05, 0.0, metrics=metrics)), SECTION).pairs
    assert pair.metrics[0].value == 100
    assert pair.metrics[0].verdict == "better"
    assert pair.told_by == "chrf"


def test_other_examples_are_refused():
    first, second = two(0.3, 0.1, count=4)
    rows = list(second.rows)
    changed = replace(second, rows=(rows[0], replace(rows[1], source="another"), *rows[2:]))
    with pytest.raises(UserError, match="example 2 of first and second has not the same source: 'source 2'"):
        compare_systems([first, changed], SECTION)
    changed = replace(second, rows=(*rows[:3], replace(rows[3], references=("x",))))
    with pytest.raises(UserError, match="example 4 of first and second has not the same references"):
        compare_systems([first, changed], SECTION)
    with pytest.raises(UserError, match="first has 4 examples and second 3; compare answers to one set"):
        same_examples([("first", first.rows), ("second", second.rows[:3])])
