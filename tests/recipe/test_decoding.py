"""What a recipe can say about decoding, and what it cannot."""

import pytest
from pydantic import ValidationError

from dragoman.recipe.decoding import Beam, Mbr, Phrases, Term


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"beam": 5, "groups": 2, "diversity": 1.0}, "`beam` 5 cannot be cut into 2 `groups`"),
        ({"beam": 6, "groups": 2}, "`groups` has no effect without `diversity`; 0.5 would do"),
        ({"diversity": 0.5}, "`diversity` has no effect without `groups`: 2 or more would do"),
        (
            {"beam": 4, "groups": 2, "diversity": 1.0, "phrases": Phrases(must=("a",))},
            "`groups` and `phrases` do not go together",
        ),
        ({"beam": 3, "nbest": 4}, "`nbest` 4 is more than `beam` 3"),
    ],
)
def test_beams_that_cannot_be_are_refused(said, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Beam(method="beam", **said)


def test_a_term_says_one_thing():
    for said in ({}, {"must": "a", "never": "b"}):
        with pytest.raises(ValidationError, match="a term of 'x' needs either `must` or `never`"):
            Term(source="x", **said)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"samples": 4, "candidates": 5}, "`candidates` 5 are more than `samples` 4"),
        ({"candidates": 0}, "`candidates: 0` leaves no candidate without `beam`"),
        ({"candidates": 2, "beam": 1, "nbest": 4}, "`nbest` 4 is more than there are candidates, 3"),
    ],
)
def test_candidates_that_cannot_be_are_refused(said, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Mbr(method="mbr", **said)
