"""Which phrases hold for which source, and which cannot."""

import pytest

from dragoman.decoding.constrained import Wanted
from dragoman.decoding.decode import decode
from dragoman.decoding.terminology import Terminology, with_terms
from dragoman.errors import DataError, UserError
from dragoman.recipe.decoding import Beam, Greedy, Phrases, Term
from dragoman.records import Example


def term(source, must=None, never=None):
    return Term(source=source, must=must, never=never)


def terminology(bundle_of, **said):
    return Terminology(Phrases(**said), bundle_of().codecs)


def test_terms_hold_where_the_source_has_their_phrase(bundle_of):
    terms = (term("a", "b"), term("a c", "d"), term("c", never="e"), term("c", "f"))
    found = terminology(bundle_of, must=("g",), never=("h",), terms=terms)
    assert found.wanted("x a") == Wanted(("g", "b"), ("h",))
    assert found.wanted("a c a c") == Wanted(("g", "d"), ("h",))
    assert found.wanted("c, c") == Wanted(("g", "f"), ("h", "e"))
    assert found.wanted("ac A") == Wanted(("g",), ("h",))


def test_sources_may_be_found_in_any_case_and_within_words(bundle_of):
    found = terminology(bundle_of, terms=(term("Ab", "c"),), ignore_case=True, whole_words=False)
    assert found.wanted("xaBx") == Wanted(("c",), (), False)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({}, "`decoding.phrases` has no effect without `must`, `never` or `terms`"),
        ({"must": ("a",), "ignore_case": True}, "`decoding.phrases.ignore_case` has no effect without"),
        ({"must": ("a z", "ä")}, "cannot write 'a z', 'ä', so no answer can contain it"),
        ({"terms": (term("a", "z"),)}, "cannot write 'z'"),
        ({"must": ("a\tb",)}, "a phrase is one line of text without tabs"),
        ({"never": (" ",)}, "phrase ' ': nothing is left of it"),
        ({"must": ("a",), "never": ("a",)}, "must contain 'a' and must not contain 'a'"),
    ],
)
def test_what_cannot_be_is_refused(bundle_of, said, complaint):
    with pytest.raises(UserError, match=complaint):
        terminology(bundle_of, **said)


def test_terms_that_contradict_each_other_name_the_input(bundle_of):
    bundle = bundle_of()
    section = Beam(method="beam", phrases=Phrases(terms=(term("a", "c"), term("b", never="c"))), max_length=9)
    answers = decode(bundle, [Example("a"), Example("b"), Example("a b")], section)
    with pytest.raises(DataError, match="input 3: answers must contain 'c' and must not contain 'c'"):
        list(answers)


def test_a_prefix_that_is_forbidden_is_refused(bundle_of):
    section = Beam(method="beam", phrases=Phrases(never=("ab",)), max_length=9)
    with pytest.raises(UserError, match="prefix 'ab' contains 'ab', which `decoding.phrases.never` forbids"):
        list(decode(bundle_of(), [Example("a")], section, prefix="ab"))
    (fine,) = decode(bundle_of(), [Example("a")], section, prefix="ba")
    assert fine.values[0].startswith("ba")


def test_workers_follow_phrases_too(bundle_of):
    section = Beam(
        method="beam", beam=3, max_length=12, phrases=Phrases(must=("bad",), terms=(term("a", never="c"),))
    )
    examples = [Example(source) for source in ("a", "b", "a", "gh")]
    bundle = bundle_of()
    several = [one.values for one in decode(bundle, examples, section, workers=2)]
    assert several == [one.values for one in decode(bundle, examples, section)]
    assert all("bad" in values[0] for values in several)


def test_a_file_adds_its_terms(tmp_path):
    path = tmp_path / "terms.tsv"
    path.write_text("a\tb\n", "utf-8")
    section = Beam(method="beam", phrases=Phrases(must=("c",), terms=(term("x", "y"),)))
    assert with_terms(section, None) is section
    assert with_terms(section, path).phrases == Phrases(must=("c",), terms=(term("x", "y"), term("a", "b")))
    assert with_terms(Beam(method="beam"), path).phrases == Phrases(terms=(term("a", "b"),))
    with pytest.raises(UserError, match="a terminology needs `decoding.method: beam`, found greedy"):
        with_terms(Greedy(method="greedy"), path)
    with pytest.raises(UserError, match="a terminology and `decoding.groups` do not go together"):
        with_terms(Beam(method="beam", beam=4, groups=2, diversity=1.0), path)
