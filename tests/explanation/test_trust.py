"""Verdicts follow from curves, agreement and fresh weights; means are those of the examples."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pages import Page, explained

from dragoman.errors import UserError
from dragoman.explanation.agreement import agreement, randomised
from dragoman.explanation.attribution import attribute
from dragoman.explanation.explanation import explain
from dragoman.explanation.explanation_json import as_json
from dragoman.explanation.explanation_text import as_text
from dragoman.explanation.faithfulness import Curves, Faithfulness, faithfulness
from dragoman.explanation.page.page import as_html
from dragoman.explanation.subject import subject_of
from dragoman.explanation.trust import Trust, format_trust, mean_of, ranked, trust_json, verdict, weigh
from dragoman.records import Example

METHODS = ("attention", "occlusion", "gradient_input")


@pytest.fixture(scope="module")
def subject(made):
    return subject_of(made(), Example("ein Hund"), "DIE")


def given(gains, beaten, fresh=(0.0, 0.0, 0.0), unit="nats a token"):
    """Trust in three methods with given gains of each example, as if half of each were by deletion."""
    gains_EM = np.array(gains, float)
    line_N = np.array([0.0, -1.0])
    methods = [
        Faithfulness(name, "", line_N, line_N[::-1], gain / 2, gain / 2, share, 0.1, 0.2)
        for name, gain, share in zip(METHODS, gains_EM.mean(0), beaten, strict=True)
    ]
    curves = Curves(unit, np.array([0.0, 1.0]), line_N[None], line_N[None, ::-1], tuple(methods))
    return Trust(curves, np.eye(3), dict(zip(METHODS, fresh, strict=True)), gains_EM)


def test_it_is_what_the_three_measures_say(subject):
    found = [attribute(subject, method) for method in METHODS]
    one = weigh(subject, found, points=4, orders=5, seeds=[1])
    np.testing.assert_allclose(one.agreement_MM, agreement(found))
    assert one.fresh == randomised(subject, found, seeds=[1])
    curves = faithfulness(subject, found, points=4, orders=5)
    np.testing.assert_allclose(one.curves.deletion_KN, curves.deletion_KN)
    assert one.methods == METHODS
    assert one.examples == 1
    np.testing.assert_allclose(one.gains_EM, [[m.deletion + m.insertion for m in curves.methods]])


def test_a_contrast_of_one_step_is_left_out(subject):
    contrast = attribute(subject, "contrastive", step=0)
    one = weigh(subject, [contrast, attribute(subject, "attention")], points=2, orders=2, seeds=[1])
    assert one.methods == ("attention",)
    with pytest.raises(UserError, match="no method to weigh: a contrast of one step .* would do"):
        weigh(subject, [contrast])


def test_means_of_answers_of_different_lengths(made, subject):
    long = subject_of(made(), Example("die Katze und ein Hund"), "EIN HUND")
    each = [
        weigh(one, [attribute(one, method) for method in METHODS], points=12, orders=3, seeds=[1])
        for one in (subject, long)
    ]
    mean = mean_of(each)
    assert mean.examples == 2
    assert len(mean.curves.shares_N) == max(len(one.curves.shares_N) for one in each)
    for place in range(3):
        ours, theirs = mean.curves.methods[place], [one.curves.methods[place] for one in each]
        assert ours.deletion == pytest.approx(np.mean([one.deletion for one in theirs]))
        assert ours.beaten == pytest.approx(np.mean([one.beaten for one in theirs]))
        # Straight lines between the same points of the longest: the first and the last are never moved.
        for end in (0, -1):
            wanted = np.mean([one.insertion_N[end] for one in theirs])
            assert ours.insertion_N[end] == pytest.approx(wanted)
    np.testing.assert_allclose(mean.agreement_MM, np.mean([one.agreement_MM for one in each], axis=0))
    random = [one.curves.deletion_KN[:, -1] for one in each]
    np.testing.assert_allclose(mean.curves.deletion_KN[:, -1], np.mean(random, axis=0))
    same = mean_of([each[0], each[0]])
    np.testing.assert_allclose(same.curves.methods[0].deletion_N, each[0].curves.methods[0].deletion_N)


def test_what_is_known_of_few_examples_is_their_mean():
    one, other = given([[1, 1, 1]], [1, 1, 1], (0.2, np.nan, 0)), given([[3, 1, 1]], [1, 1, 1], (np.nan,) * 3)
    fresh = mean_of([one, other]).fresh
    assert fresh["attention"] == 0.2
    assert np.isnan(fresh["occlusion"])


@pytest.mark.parametrize(
    ("trust", "said"),
    [
        (
            given([[1, 3, 2]], [0.5, 1, 1]),
            "Trust occlusion most with this answer: hidden or shown in its order, the source counts for more "
            "than in 100% of random orders (deletion +1.50, insertion +1.50 nats a token). "
            "Not surely better than random orders: attention.",
        ),
        (
            given([[1, 3, 2], [1, 3, 2], [1, 3, 3.1], [1, 3, 3]], [0.6, 0.9, 0.9]),
            "Trust occlusion most with this model: hidden or shown in its order, the source counts for more "
            "than in 90% of random orders (deletion +1.50, insertion +1.50 nats a token). "
            "As far as 4 examples tell, gradient × input is as good. "
            "Not surely better than random orders: attention.",
        ),
        (
            given([[1, 3, 2]], [1, 1, 1], (0.0, 0.9, 0.1), "minus squared change"),
            "Trust gradient × input most with this answer: hidden or shown in its order, the source counts "
            "for more than in 100% of random orders (deletion +1.00, insertion +1.00). "
            "Much the same of a model that has learnt nothing: occlusion.",
        ),
        (
            given([[0, 0, -1]], [0.5, 0.4, 0]),
            "Trust no method with this answer. "
            "Not surely better than random orders: attention, occlusion and gradient × input.",
        ),
    ],
)
def test_verdicts(trust, said):
    assert verdict(trust) == said


def test_chance_is_beaten_by_less_where_there_are_more_examples():
    """A share of 0.7 is luck with one answer, and not with sixteen."""
    assert verdict(given([[1, 2, 3]], [0.7] * 3)).startswith("Trust no method with this answer.")
    many = given([[1, 2, 3]] * 16, [0.7] * 3)
    assert verdict(many).startswith("Trust gradient × input most with this model")
    assert "as good" not in verdict(many)


def test_what_is_not_finite_comes_last_and_is_null(subject):
    broken = given([[np.nan, 2, 1]], [0, 1, 1], (np.nan, 0.1, 0))
    assert [one.method for one in ranked(broken)] == ["occlusion", "gradient_input", "attention"]
    written = json.loads(json.dumps(trust_json(broken), allow_nan=False))
    assert written["fresh_weights"] == {"attention": None, "occlusion": 0.1, "gradient_input": 0.0}
    assert written["verdict"] == verdict(broken)


@pytest.mark.parametrize("kind", ["text", "ctc", "series"])
def test_an_explanation_has_it_everywhere(kind, made, speech_made, series_made):
    found = explained(kind, made, speech_made, series_made, trust=True)
    assert found.seconds["trust"] > 0
    names = [one.method for one in found.attributions]
    assert list(found.trust.methods) == names
    assert format_trust(found.trust) in as_text(found)
    written = json.loads(json.dumps(as_json(found), allow_nan=False))["trust"]
    assert [one["method"] for one in written["curves"]["methods"]] == names
    assert np.shape(written["agreement"]["correlations"]) == (len(names), len(names))
    page = Page(as_html(found))
    (section,) = (one for one in page.all("section") if one.attributes.get("id") == "trust")
    assert verdict(found.trust) in section.text
    charts = list(section.all("svg"))
    assert len(charts) == len(names)
    for chart in charts:
        assert chart.attributes["role"] == "img" and "at random" in chart.attributes["aria-label"]
        classes = [one.attributes["class"] for one in chart.all("path") if "class" in one.attributes]
        assert {"band", "line", "line ahead"} <= set(classes)
    tables = list(section.all("table"))
    assert len(tables) == len(names) + (2 if len(names) > 1 else 1)


def test_without_asking_nothing_is_weighed(made):
    found = explain(made(), Example("ein Hund"), target="DIE", methods=["attention"])
    assert found.trust is None and "trust" not in found.seconds
    assert as_json(found)["trust"] is None
    assert "Which method to trust" not in as_html(found)


def test_hiding_the_least_important_first_is_showing_the_most_important(made):
    """The numbers below a chart are the curves, insertion from the right."""
    found = explain(made(), Example("ein Hund"), target="DIE", methods=["occlusion"], trust=True)
    (one,) = found.trust.curves.methods
    (section,) = (
        part for part in Page(as_html(found)).all("section") if part.attributes.get("id") == "trust"
    )
    rows = [[cell.text for cell in row.all("th", "td")] for row in list(section.all("table"))[-1].all("tr")][
        1:
    ]
    assert len(rows) == len(found.trust.curves.shares_N)
    for row, falls, rises in zip(rows, one.deletion_N, one.insertion_N[::-1], strict=True):
        assert float(row[1].replace("−", "-")) == pytest.approx(falls, rel=0.01)
        assert float(row[2].replace("−", "-")) == pytest.approx(rises, rel=0.01)
