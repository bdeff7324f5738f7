"""Terminology files: what they say, and what is wrong with them, with its line."""

import pytest

from dragoman.data.terms import read_terms
from dragoman.errors import DataError
from dragoman.recipe.decoding import Term


def test_rows_are_terms_and_empty_lines_are_not(tmp_path):
    path = tmp_path / "terms.tsv"
    path.write_text("bank\tBank\n\n river bank \t Ufer\t\nmouse\tMaus\tnever\n", "utf-8")
    assert read_terms(path) == (
        Term(source="bank", must="Bank"),
        Term(source="river bank", must="Ufer"),
        Term(source="mouse", never="Maus"),
    )


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("bank", "expected a source phrase, a tab, a target phrase.*found 1 columns"),
        ("a\tb\tc\td", "found 4 columns"),
        ("\tBank", "expected a source phrase, found none"),
        ("bank\t", "expected a target phrase, found none"),
        ("bank\tBank\tnot", "expected `never` or nothing in the third column, found 'not'"),
    ],
)
def test_bad_rows_are_named_by_their_lines(tmp_path, row, complaint):
    path = tmp_path / "terms.tsv"
    path.write_text(f"fine\tgut\n{row}\n", "utf-8")
    with pytest.raises(DataError, match=rf"terms\.tsv:2: .*{complaint}"):
        read_terms(path)


def test_lines_that_are_no_text_and_files_without_terms_are_refused(tmp_path):
    path = tmp_path / "terms.tsv"
    path.write_bytes(b"a\tb\n\xff\tb\n" + b"a\n" * 30)
    with pytest.raises(DataError, match=r"(?s)terms\.tsv:2: bad utf-8.*and 11 more") as found:
        read_terms(path)
    assert len(str(found.value).splitlines()) == 21
    path.write_text("\n \n", "utf-8")
    with pytest.raises(DataError, match="expected rows of a source phrase, a tab and a target phrase"):
        read_terms(path)
    with pytest.raises(DataError, match="nowhere.tsv"):
        read_terms(tmp_path / "nowhere.tsv")
