"""Alignment error rates by hand."""

import pytest

from dragoman.data.pharaoh import links_of
from dragoman.errors import DataError
from dragoman.evaluation.alignment import alignment_error_rate, read_links


def test_the_error_rate_counts_as_it_was_defined():
    annotated = [links_of("0-0 1-1 1?2"), links_of("0-1")]
    # A has 4 links: 3 are possible (0-0, 1-2, 0-1), of which 2 are sure; 3 are sure in all.
    score = alignment_error_rate([[(0, 0), (1, 2), (2, 0)], [(0, 1)]], annotated)
    assert score.precision == pytest.approx(3 / 4)
    assert score.recall == pytest.approx(2 / 3)
    assert score.error_rate == pytest.approx(1 - (2 + 3) / (4 + 3))


def test_possible_links_cost_nothing_and_need_not_be_found():
    annotated = [links_of("0-0 1?1")]
    for found in ({(0, 0)}, {(0, 0), (1, 1)}):
        assert alignment_error_rate([found], annotated).error_rate == 0
    assert alignment_error_rate([set()], annotated).error_rate == 1
    assert alignment_error_rate([{(1, 0)}], [links_of("")]).error_rate == 1


def test_corpora_of_other_sizes_and_of_no_link_are_refused():
    with pytest.raises(DataError, match="of 1 pairs cannot be compared with those of 0"):
        alignment_error_rate([[(0, 0)]], [])
    with pytest.raises(DataError, match="no link was found and none is sure"):
        alignment_error_rate([[]], [links_of("0?0")])


def test_files_have_a_line_a_pair(tmp_path):
    path = tmp_path / "gold.talp"
    path.write_text("0-0 1?1\n\n2-1\n", "utf-8")
    assert [sorted(links.possible) for links in read_links(path)] == [[(0, 0), (1, 1)], [], [(2, 1)]]
    path.write_text("0-0\n0:1\n", "utf-8")
    with pytest.raises(DataError, match=r"gold.talp:2: expected links .* found '0:1'"):
        read_links(path)
