"""Curves of deletion and insertion against what can be counted by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dragoman.errors import UserError
from dragoman.explanation.attribution import Attribution, attribute
from dragoman.explanation.explained import explained, hidden
from dragoman.explanation.faithfulness import SHARES, curves_json, faithfulness, format_curves
from dragoman.explanation.subject import subject_of
from dragoman.records import Example

TEXT = Example("ein Hund")


@pytest.fixture(scope="module")
def subject(made):
    return subject_of(made(), TEXT, "DIE")


def said(subject, places):
    """What is explained of each target step with some places hidden."""
    is_hidden_1P = torch.zeros(1, len(subject.places), dtype=torch.bool)
    is_hidden_1P[0, list(places)] = True
    return explained(subject, hidden(subject, is_hidden_1P))[0].numpy()


def ordered(subject, orders):
    """An attribution that puts the places of each target step in an order."""
    weights_TS = np.zeros((len(subject.pieces), len(subject.places)))
    for row, order in enumerate(orders):
        weights_TS[row, order] = -np.arange(len(order))
    return Attribution("occlusion", weights_TS, True)


def test_curves_hide_and_show_places_in_order(subject):
    places = len(subject.places)
    order = np.random.default_rng(1).permutation(places)
    given = ordered(subject, [order] * len(subject.pieces))
    curves = faithfulness(subject, [given], points=100)
    (found,) = curves.methods
    np.testing.assert_allclose(curves.shares_N, np.arange(places + 1) / places)
    deletion = [said(subject, order[:count]).mean() for count in range(places + 1)]
    insertion = [said(subject, order[count:]).mean() for count in range(places + 1)]
    np.testing.assert_allclose(found.deletion_N, deletion, atol=1e-12)
    np.testing.assert_allclose(found.insertion_N, insertion, atol=1e-12)
    between = curves.deletion_KN.mean(0) - found.deletion_N
    assert found.deletion == pytest.approx((between.sum() - between[[0, -1]].mean()) / places)
    between = found.insertion_N - curves.insertion_KN.mean(0)
    assert found.insertion == pytest.approx((between.sum() - between[[0, -1]].mean()) / places)
    at_shares = np.interp(SHARES, curves.shares_N, deletion)
    assert found.comprehensiveness == pytest.approx(deletion[0] - at_shares.mean())
    assert found.sufficiency == pytest.approx(
        deletion[0] - np.interp(SHARES, curves.shares_N, insertion).mean()
    )


def test_by_step_each_target_step_has_its_own_order(subject):
    draw, places = np.random.default_rng(2), len(subject.places)
    orders = [draw.permutation(places) for _ in subject.pieces]
    (found,) = faithfulness(subject, [ordered(subject, orders)], points=3, by_step=True).methods
    counts = np.linspace(0, places, 4).round().astype(int)
    wanted = [
        np.mean([said(subject, order[:count])[step] for step, order in enumerate(orders)]) for count in counts
    ]
    np.testing.assert_allclose(found.deletion_N, wanted, atol=1e-12)


def test_the_best_order_beats_chance_and_the_worst_does_not(subject):
    drops = np.array([said(subject, []).sum() - said(subject, [place]).sum() for place in range(9)])
    best = np.argsort(-drops)
    one, other = (ordered(subject, [order] * len(subject.pieces)) for order in (best, best[::-1]))
    good, bad = faithfulness(subject, [one, other], orders=50).methods
    assert good.deletion > 0 > bad.deletion
    assert good.insertion > 0 > bad.insertion
    assert good.beaten > 0.9 and bad.beaten < 0.1
    assert good.comprehensiveness > bad.comprehensiveness
    assert good.sufficiency < bad.sufficiency


def test_random_orders_follow_from_the_seed_and_end_where_all_do(subject):
    given = [attribute(subject, "gradient_input")]
    one, again, other = (faithfulness(subject, given, points=4, orders=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.deletion_KN, again.deletion_KN)
    assert not np.array_equal(one.deletion_KN, other.deletion_KN)
    for ends in (one.deletion_KN[:, [0, -1]], one.insertion_KN[:, [-1, 0]]):
        np.testing.assert_allclose(ends, [[said(subject, []).mean(), said(subject, range(9)).mean()]] * 3)


def test_forecasts_are_measured_by_how_far_they_move(series_made):
    bundle, example = series_made()
    subject = subject_of(bundle, example)
    curves = faithfulness(subject, [attribute(subject, "occlusion")], points=100)
    (found,) = curves.methods
    assert curves.unit == "minus squared change"
    sizes = np.abs(attribute(subject, "occlusion").weights_TS).sum(0)
    first = [int(sizes.argmax())]
    wanted = -np.mean((said(subject, first) - said(subject, [])) ** 2)
    np.testing.assert_allclose([found.deletion_N[0], found.insertion_N[-1]], 0, atol=1e-20)
    assert found.deletion_N[1] == pytest.approx(wanted)
    assert (curves.deletion_KN <= 0).all()


def test_speech_of_many_frames_takes_few_steps(speech_made):
    bundle, example = speech_made(None)
    subject = subject_of(bundle, example, "two")
    curves = faithfulness(subject, [attribute(subject, "occlusion")], points=5, orders=2)
    assert len(subject.places) > 6 and len(curves.shares_N) == 6
    assert np.isfinite(curves.methods[0].deletion_N).all()


def test_they_are_read_as_text_and_as_json(subject):
    given = [attribute(subject, method) for method in ("attention", "occlusion")]
    curves = faithfulness(subject, given, points=4)
    found = json.loads(json.dumps(curves_json(curves), allow_nan=False))
    assert [one["method"] for one in found["methods"]] == ["attention", "occlusion"]
    assert found["methods"][1]["deletion"] == pytest.approx(curves.methods[1].deletion, rel=1e-5)
    assert len(found["random"]["deletion"]["low"]) == len(found["shares"]) == 5
    nothing = replace(curves, deletion_KN=np.full_like(curves.deletion_KN, -np.inf))
    with np.errstate(invalid="ignore"):
        assert curves_json(nothing)["random"]["deletion"]["mean"] == [None] * 5
    head, *rows = format_curves(curves).splitlines()
    assert "nats a token" in head
    best = max(curves.methods, key=lambda one: one.deletion + one.insertion)
    assert rows[0].startswith(best.method) and f"{best.deletion:+.3f}" in rows[0]


def test_what_cannot_be_measured_says_so(subject):
    one_step = attribute(subject, "contrastive", step=0)
    with pytest.raises(UserError, match="contrastive tells of 1 of 4 target steps; .* whole answer"):
        faithfulness(subject, [one_step])
    with pytest.raises(UserError, match="expected 1 point and order or more, found 0 and 16"):
        faithfulness(subject, [], points=0)
