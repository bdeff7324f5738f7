"""The page is whole, safe, fetches nothing, and says in words and tables what it shows in pictures."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pages import KINDS, LSTM, Page, explained

from dragoman.explanation.explanation import explain, strongest
from dragoman.explanation.page.drawing import pooled, ticks
from dragoman.explanation.page.elements import element, number, per_cent, raw, signed, visible
from dragoman.explanation.page.page import as_html
from dragoman.explanation.page.sound import core
from dragoman.explanation.subject import Place
from dragoman.records import Example

EVIL = "<script>alert('&\"')</script><img onerror=x>\u202e\x00\x1b[31m"


@pytest.fixture(scope="module", params=KINDS)
def explanation(request, made, speech_made, series_made):
    return explained(request.param, made, speech_made, series_made, trust=request.param != "long")


@pytest.fixture(scope="module")
def html(explanation):
    return as_html(explanation)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_it_is_well_formed_with_each_name_once(html, page):
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    names = [one.attributes["id"] for one in page.all() if "id" in one.attributes]
    assert len(names) == len(set(names))
    named = [
        name
        for one in page.all()
        for key in ("aria-labelledby", "aria-controls")
        for name in one.attributes.get(key, "").split()
    ]
    assert set(named) <= set(names)
    assert len(page.all("h1")) == 1


def test_it_fetches_nothing(html, page):
    assert not re.search(r"https?:|src=|@import|url\((?!#)|<link|<iframe|<object|fetch\(|XMLHttp", html)
    (policy,) = (one for one in page.all("meta") if "http-equiv" in one.attributes)
    assert policy.attributes["content"].startswith("default-src 'none';")


def test_every_table_has_a_caption_and_named_rows_and_columns(page):
    tables = page.all("table")
    for table in tables:
        (caption,) = table.all("caption")
        assert caption.text.strip()
        assert {one.attributes["scope"] for one in table.all("th")} == {"row", "col"}
        (head,) = table.all("thead")
        columns = len(list(head.all("th", "td")))
        for row in next(table.all("tbody")).all("tr"):
            assert len(list(row.all("th", "td"))) == columns
            assert next(row.all("th", "td")).name == "th"


def test_every_picture_is_told_and_every_region_named(page):
    for picture in page.all("svg"):
        is_hidden = picture.attributes.get("aria-hidden") == "true"
        assert is_hidden or (picture.attributes["role"] == "img" and picture.attributes["aria-label"])
    for region in page.all("div"):
        if region.attributes.get("role") == "region":
            assert region.attributes["aria-label"]
            assert region.attributes["tabindex"] == "0"


def test_headings_go_down_one_by_one(page):
    levels = [int(one.name[1]) for one in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_it_has_a_section_for_each_method_that_was_asked(explanation, page):
    methods = [
        one.attributes["data-method"] for one in page.all("section") if "data-method" in one.attributes
    ]
    assert methods == [one.method for one in explanation.attributions]


def test_nothing_is_infinite_or_missing_in_pictures(page):
    for one in page.all("path", "text", "svg"):
        assert not re.search(r"nan|inf", " ".join(v for k, v in one.attributes.items() if k != "aria-label"))


# --- text


@pytest.fixture(scope="module")
def text(made, speech_made, series_made):
    return explained("text", made, speech_made, series_made)


def heat_of(page, method):
    (section,) = (one for one in page.all("section") if one.attributes.get("data-method") == method)
    (table,) = section.all("table")
    return [[cell.text for cell in row.all("td")] for row in next(table.all("tbody")).all("tr")]


def test_weights_are_written_not_only_coloured(text):
    page = Page(as_html(text))
    for attribution in text.attributions:
        rows = attribution.weights_TS.tolist()
        expected = [[signed(w) if attribution.is_signed else number(100 * w, 0) for w in row] for row in rows]
        assert heat_of(page, attribution.method) == expected


def test_the_strongest_of_each_step_is_marked(text):
    page = Page(as_html(text))
    for table in page.all("table"):
        if table.attributes.get("class", "").startswith("heat"):
            for row in next(table.all("tbody")).all("tr"):
                assert sum("top" in cell.attributes.get("class", "") for cell in row.all("td")) == 1


def test_what_a_method_misses_stands_beside_its_weights(text):
    signed_one = next(one for one in text.attributions if one.method == "gradient_input")
    error_T = np.linspace(-1, 1, len(signed_one.weights_TS))
    attribution = replace(signed_one, method="integrated_gradients", error_T=error_T)
    cells = heat_of(Page(as_html(replace(text, attributions=(attribution,)))), "integrated_gradients")
    assert [row[-1] for row in cells] == [signed(error, 3) for error in error_T.tolist()]


def test_the_source_is_there_as_it_was_typed(text):
    page = Page(as_html(text))
    (source, _) = page.all("dd")
    assert source.text == "ein Hund" + "</s>"
    places = [one.text for one in source.all("span")]
    assert places == [*"ein Hund", "</s>"]


def test_each_token_has_its_probability_and_what_else_there_was(text):
    page = Page(as_html(text))
    (steps,) = (one for one in page.all("table") if one.attributes.get("class") == "steps")
    rows = list(next(steps.all("tbody")).all("tr"))
    assert len(rows) == len(text.choices)
    for row, choice in zip(rows, text.choices, strict=True):
        assert per_cent(np.exp(choice.log_prob)) in row.text
        assert all(per_cent(np.exp(other.log_prob)) in row.text for other in choice.alternatives)


def test_every_line_that_lost_is_in_a_table_with_the_reason(text):
    page = Page(as_html(text))
    rows = [row.text for table in page.all("table") for row in table.all("tr")]
    for node in text.tree.nodes:
        if node.fate in ("finished", "fell_out", "left_behind"):
            assert any(node.text in row and f"{node.lacked:.2f}"[:4] in row for row in rows), node


def test_a_contrast_of_one_step_has_one_row(text):
    found = explain(text.subject.bundle, text.subject.example, methods=["contrastive"], step=2)
    page = Page(as_html(found))
    assert len(heat_of(page, "contrastive")) == 1
    (row,) = (one for one in page.all("tr") if "data-t" in one.attributes)
    assert row.attributes["data-t"] == "1"


def test_layers_and_heads_have_pictures_and_their_weights(text):
    page = Page(as_html(text))
    names = [one.text for one in page.all("figcaption")]
    assert names == [f"layer {layer} head {head}" for layer in (1, 2) for head in (1, 2)]
    assert any(one.attributes.get("id") == "part-weights" for one in page.all("script"))


def test_many_weights_are_drawn_and_the_page_says_so(made, speech_made, series_made):
    found = explained("long", made, speech_made, series_made)
    html = as_html(found)
    assert found.attributions[0].weights_TS.size > 20_000
    assert "too many for a table; their numbers are in the JSON" in html
    assert len(html) < 2_500_000


def test_speech_is_told_in_seconds(made, speech_made, series_made):
    found = explained("speech", made, speech_made, series_made, methods=["attention"])
    page = Page(as_html(found))
    (table,) = (one for one in page.all("table") if one.attributes.get("class") == "moments")
    rows = list(next(table.all("tbody")).all("tr"))
    assert len(rows) == len(found.subject.pieces)
    assert all(re.search(r"\d\.\d\d to \d\.\d\d s", row.text) for row in rows)
    assert any(one.attributes.get("class") == "energy" for one in page.all("g"))


def test_a_series_is_drawn_with_its_dates_and_forecast(made, speech_made, series_made):
    found = explained("series", made, speech_made, series_made, methods=["occlusion"])
    page = Page(as_html(found))
    (picture,) = (one for one in page.all("svg") if "dates" in one.attributes.get("aria-label", ""))
    written = [one.text for one in picture.all("text")]
    assert found.subject.places[0].label in written
    lines = [
        one.attributes["class"] for one in picture.all("path") if "line" in one.attributes.get("class", "")
    ]
    assert lines == ["line", "line ahead"] * 2


# --- safety


def test_text_is_escaped_wherever_it_comes_from(made):
    bundle = made([Example(EVIL, (EVIL,))], model={"encoder": LSTM, "decoder": LSTM})
    found = explain(bundle, Example(EVIL), target=EVIL, methods="usual")
    choices = tuple(replace(one, piece=EVIL) for one in found.choices)
    nodes = tuple(replace(node, piece=EVIL, text=EVIL) for node in found.tree.nodes)
    subject = replace(
        found.subject,
        notes=(EVIL,),
        pieces=tuple(EVIL for _ in found.subject.pieces),
        places=tuple(replace(one, label=EVIL) for one in found.subject.places),
    )
    attributions = tuple(replace(one, part=EVIL) for one in found.attributions)
    parts = tuple(replace(one, part=EVIL) for one in found.parts)
    html = as_html(
        replace(
            found,
            subject=subject,
            choices=choices,
            tree=replace(found.tree, nodes=nodes),
            attributions=attributions,
            parts=parts,
            left_out={EVIL: EVIL},
            seconds={EVIL: 1.0},
        )
    )
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "\x00" not in html
    assert "\x1b" not in html
    page = Page(html)
    assert len(page.all("script")) == 2
    assert {one.name for one in page.all()} <= KNOWN


KNOWN = {
    "bdi",
    "body",
    "caption",
    "dd",
    "defs",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "li",
    "main",
    "meta",
    "p",
    "path",
    "pattern",
    "script",
    "section",
    "span",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
}


def test_elements_escape_text_and_attributes():
    made = element("p", {"title": 'a"<b>'}, "<i>", raw("<b></b>"), None, "&")
    assert made.source == '<p title="a&quot;&lt;b&gt;">&lt;i&gt;<b></b>&amp;</p>'


# --- small parts


@pytest.mark.parametrize(
    ("piece", "shown"),
    [(" ", "␣"), ("", "∅"), ("\n", "↵"), ("▁Hund", "␣Hund"), ("a\x00b", "a␀b"), ("\x7f", "␡"), ("é", "é")],
)
def test_pieces_are_visible(piece, shown):
    assert visible(piece) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0.0%"),
        (0.0004, "<0.1%"),
        (0.034, "3.4%"),
        (0.5, "50%"),
        (0.9946, "99.5%"),
        (0.99999, ">99.9%"),
        (1.0, "100.0%"),
    ],
)
def test_shares_are_never_rounded_to_certainty(share, shown):
    assert per_cent(share) == shown


def test_signs_are_true_ones():
    assert (signed(-0.5), signed(0.25), number(-1.0)) == ("−0.50", "+0.25", "−1.00")


def test_the_strongest_count_by_size_and_nothing_counts_not():
    assert strongest(np.array([0.0, -3.0, 1.0, 2.0]), 3) == [1, 3, 2]
    assert strongest(np.array([0.0, 0.5]), 3) == [1]


def test_the_core_is_the_shortest_stretch_with_half_of_the_weight():
    places = tuple(Place(str(step), step / 10, (step + 1) / 10, "seconds") for step in range(6))
    assert core(np.array([0.1, 0.05, 0.35, -0.25, 0.15, 0.1]), places) == pytest.approx((0.2, 0.4))
    assert core(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]), places) == pytest.approx((0.5, 0.6))
    assert core(np.zeros(6), places) is None


@pytest.mark.parametrize("seed", range(5))
def test_no_stretch_with_half_of_the_weight_is_shorter_than_the_core(seed):
    weights_S = np.random.default_rng(seed).normal(size=12)
    places = tuple(Place("", float(step), step + 1.0, "seconds") for step in range(12))
    begin, end = core(weights_S, places)
    shares_S = np.abs(weights_S) / np.abs(weights_S).sum()
    enough = [b - a for a in range(12) for b in range(a + 1, 13) if shares_S[a:b].sum() >= 0.5]
    assert shares_S[int(begin) : int(end)].sum() >= 0.5
    assert end - begin == min(enough)


def test_blocks_keep_the_mean():
    values_RC = np.arange(70.0).reshape(7, 10)
    assert pooled(values_RC, 7, 5) == pytest.approx(values_RC.reshape(7, 5, 2).mean(2))
    assert pooled(values_RC, 100, 100) is values_RC
    assert pooled(values_RC, 3, 4).shape == (3, 4)


@pytest.mark.parametrize(("begin", "end"), [(0.0, 4.377), (0.0, 0.05), (-3.0, 900.0)])
def test_ticks_are_round_and_few(begin, end):
    found = ticks(begin, end)
    assert 3 <= len(found) <= 9
    assert all(begin <= tick <= end + 1e-9 for tick in found)
