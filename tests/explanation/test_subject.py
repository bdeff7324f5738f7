"""What is explained, and where its steps stand."""

import numpy as np
import pytest
import torch

from dragoman.decoding.decode import decode
from dragoman.decoding.ensemble import ensemble
from dragoman.errors import DataError, UserError
from dragoman.explanation.subject import END_LABEL, subject_of
from dragoman.recipe.decoding import Beam
from dragoman.records import EOS, Example, Series

TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 1, "heads": 2}


def test_text_has_a_place_for_each_token_and_an_end(made):
    bundle = made(source={"kind": "bpe", "size": 300})
    subject = subject_of(bundle, Example("ein kleiner Hund", id="7"))
    *places, end = subject.places
    assert "".join(place.label for place in places if place.begin < place.end) == "ein kleiner Hund"
    assert all("ein kleiner Hund"[int(p.begin) : int(p.end)] in ("", p.label) for p in places)
    assert (end.label, end.begin, end.end, end.kind) == (END_LABEL, 16, 16, "text")
    assert len(subject.places) == len(subject.source) == subject.batch.source.values.shape[1]
    assert subject.batch.ids == ("7",)
    assert subject.notes == ()


def test_normalised_text_says_so(made):
    bundle = made(source={"kind": "characters", "lowercase": True})
    subject = subject_of(bundle, Example("Hund"))
    assert [place.label for place in subject.places] == [*"Hund", END_LABEL]
    assert "normalised" in subject.notes[0]


def test_the_answer_is_the_bundles_own_or_another_or_a_given_one(made):
    bundle, example = made(), Example("ein Hund")
    (own,) = decode(bundle, [example])
    subject = subject_of(bundle, example)
    assert subject.target == own.hypotheses[0].tokens
    assert subject.answer == own.values[0]
    assert len(subject.pieces) == len(subject.target) == subject.batch.target.values.shape[1]
    beam = Beam(method="beam", beam=3, max_length=3)
    (other,) = decode(bundle, [example], beam)
    assert subject_of(bundle, example, section=beam).target == other.hypotheses[0].tokens
    given = subject_of(bundle, example, "DIE")
    assert given.pieces == ("D", "I", "E", END_LABEL)
    assert given.target[-1] == EOS
    assert given.answer == "DIE"


def test_sound_is_counted_in_seconds_from_its_beginning_to_its_end(speech_made):
    bundle, example = speech_made(TRANSFORMER)
    subject = subject_of(bundle, example, "one two")
    memory = bundle.model.encode(subject.batch.source)
    assert len(subject.places) == int(memory.mask_NS.sum())
    edges = [(place.begin, place.end) for place in subject.places]
    assert edges[0][0] == 0
    assert edges[-1][1] == pytest.approx(0.5, abs=0.01)  # what is left does not fill a window
    assert all(end == begin for (_, end), (begin, _) in zip(edges, edges[1:], strict=False))
    inner = np.diff([begin for begin, _ in edges[1:]])
    np.testing.assert_allclose(inner, 0.04)  # four frames a step
    assert subject.places[5].label == f"{edges[5][0]:.2f} s"


def test_numbers_have_their_dates_on_both_sides(series_made):
    bundle, example = series_made()
    subject = subject_of(bundle, example)
    assert [place.label for place in subject.places[:2]] == ["2021-05-01 00:00", "2021-05-01 01:00"]
    assert [(place.begin, place.end, place.kind) for place in subject.places[:2]] == [
        (0, 1, "steps"),
        (1, 2, "steps"),
    ]
    assert subject.pieces[0] == "2021-05-01 06:00"
    (own,) = decode(bundle, [example])
    np.testing.assert_array_equal(subject.target.values, own.forecast.values)
    given = subject_of(bundle, example, example.targets[0])
    assert given.pieces == subject.pieces
    np.testing.assert_allclose(
        bundle.codecs.target.decode(given.target.values, example.source).values,
        example.targets[0].values,
        rtol=1e-5,
    )


def test_days_are_named_without_their_hours_and_steps_without_times_by_number(series_made):
    bundle, example = series_made()
    values = example.source.values
    days = np.datetime64("2021-05-01") + np.arange(10)
    subject = subject_of(bundle, Example(Series(values, example.source.names, "shop", days)))
    assert subject.places[2].label == "2021-05-03"
    seconds = np.datetime64("2021-05-01T00:00:01") + np.arange(10)
    subject = subject_of(bundle, Example(Series(values, example.source.names, "shop", seconds)))
    assert subject.places[2].label == "2021-05-01 00:00:03"
    subject = subject_of(bundle, Example(Series(values, example.source.names, "shop")))
    assert [place.label for place in subject.places] == list("123456")
    assert subject.pieces == ("1", "2", "3", "4")


def test_patches_of_a_frontend_are_places_of_several_steps(series_made):
    frontend = {"kernels": [4], "strides": [4], "activation": "none"}
    bundle, example = series_made({"encoder": TRANSFORMER, "frontend": frontend})
    subject = subject_of(bundle, example)
    assert [(place.begin, place.end) for place in subject.places] == [(0, 4), (4, 6)]


def test_what_leaves_nothing_to_explain_is_refused(made):
    bundle = made()
    with pytest.raises(UserError, match="an empty source .* nothing to explain"):
        subject_of(bundle, Example(""))
    with pytest.raises(UserError, match="a way of decoding has no effect"):
        subject_of(bundle, Example("ein"), "EIN", bundle.recipe.decoding)
    with pytest.raises(UserError, match="member by member"):
        subject_of(ensemble([made(double=False), made(double=False)]), Example("ein"))
    with pytest.raises(DataError, match="lone surrogate"):
        subject_of(bundle, Example("\ud800"))


def test_a_broken_model_has_nothing_to_explain(made, series_made):
    bundle = made()
    with torch.no_grad():
        bundle.model.head.bias.fill_(torch.nan)
    with pytest.warns(RuntimeWarning), pytest.raises(UserError, match="the model wrote nothing"):
        subject_of(bundle, Example("ein"))
    bundle, example = series_made()
    with torch.no_grad():
        bundle.model.head.linear.bias.fill_(torch.nan)
    with pytest.warns(RuntimeWarning), pytest.raises(UserError, match="not finite: nothing to explain"):
        subject_of(bundle, example)
