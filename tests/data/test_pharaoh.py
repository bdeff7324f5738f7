"""Links as they are written."""

import pytest

from dragoman.data.pharaoh import links_of, written
from dragoman.errors import DataError


def test_sure_and_possible_links_are_read():
    found = links_of("0-0 1-2  3?4 1?2\t10-0")
    assert found.sure == {(0, 0), (1, 2), (10, 0)}
    assert found.possible == {*found.sure, (3, 4)}
    assert links_of("") == (frozenset(), frozenset())


def test_what_is_written_is_read_again():
    links = {(3, 1), (0, 2), (10, 0), (0, 0)}
    assert written(links) == "0-0 0-2 3-1 10-0"
    assert links_of(written(links)).sure == links


@pytest.mark.parametrize("word", ["0", "a-b", "0-", "-1-0", "0–0", "1-2-3", "٣-٤"])
def test_what_is_no_link_is_named(word):
    with pytest.raises(DataError, match="expected links like 0-0 1-2"):
        links_of(f"0-0 {word}")
