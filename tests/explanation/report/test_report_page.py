"""The page of a report: whole, safe, and with nothing that does not apply."""

import json
import re

import pytest

from dragoman.cli.judging import print_report
from dragoman.errors import UserError
from dragoman.evaluation.data_facts import TrainingFacts
from dragoman.explanation.report.page import as_html
from dragoman.explanation.report.report_json import as_json

KINDS = ["text", "speech", "series"]
ALWAYS = {"brief", "scores", "data", "recipe"}
OF_TEXT = {"quality", "confidence", "suspects", "examples"}
SECTIONS = {
    "text": ALWAYS | OF_TEXT | {"training"},
    "speech": ALWAYS | OF_TEXT,  # these two were trained for too few steps to log one
    "series": ALWAYS | {"forecasts"},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def html(findings, kind):
    return as_html(findings(kind))


def test_each_kind_has_the_sections_that_apply_and_links_to_them(html, kind, page):
    read = page(html)
    sections = {attributes["id"] for attributes in read.all("section")}
    assert sections == SECTIONS[kind]
    linked = {attributes["href"].removeprefix("#") for attributes in read.all("a")}
    assert linked == sections - {"brief"}


def test_nothing_is_fetched_and_nothing_is_executed(html, page):
    read = page(html)
    assert not read.all("script", "link", "img", "iframe", "object")
    for _, attributes, _ in read.found:
        assert not {"src", "srcset", "onclick", "onload"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", html))
    assert "http:" not in html
    assert "https:" not in html
    assert any("default-src 'none'" in attributes.get("content", "") for attributes in read.all("meta"))


def test_text_of_the_data_stays_text(findings, page):
    texts = page(as_html(findings("text"))).texts
    assert any('<script>alert("x")</script>' in text.replace("\n", "") for text in texts)


def test_all_tables_are_captioned_and_their_cells_headed(html, page):
    read = page(html)
    assert len(read.all("table")) == len(read.all("caption")) > 3
    assert all(attributes.get("scope") in ("row", "col") for attributes in read.all("th"))
    for name, attributes, around in read.found:
        if name == "svg":
            assert attributes.get("role") == "img" or attributes.get("aria-hidden") == "true"
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if name == "table":
            assert "div" in around, "wide tables scroll"


def test_every_id_is_there_once_and_every_title_is_found(html, page):
    read = page(html)
    ids = [attributes["id"] for _, attributes, _ in read.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {
        attributes["aria-labelledby"] for _, attributes, _ in read.found if "aria-labelledby" in attributes
    }
    assert named <= set(ids)


def test_charts_can_be_read_as_tables(html, page):
    read = page(html)
    charts = sum("chart" in attributes.get("class", "") for attributes in read.all("figure"))
    assert charts > 0
    assert sum(around.count("details") for name, _, around in read.found if name == "table") == charts


def test_the_numbers_are_those_of_the_findings(findings, kind):
    found = findings(kind)
    content = as_json(found)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["parameters"] == sum(weight.numel() for weight in found.bundle.model.parameters())
    assert content["evaluation"]["examples"] == found.report.examples
    assert ("text" in content, "forecasts" in content) == (kind != "series", kind == "series")
    assert content["speed"]["answers_per_second"] > 0
    for score in found.report.scores:
        digits = 4 if kind == "series" else 2
        assert f"{score.value:.{digits}f}" in as_html(found)


def test_data_are_counted(findings):
    found = findings("text")
    assert isinstance(found.training, TrainingFacts)
    assert found.training.examples == 40
    assert found.report.overlap.sources == 20
    assert found.target_coverage.unseen == 2
    assert found.target_coverage.examples == ("7", "wen")


def test_examples_are_shown_once_with_what_they_came_from(findings):
    for kind in ("text", "speech"):
        found = findings(kind)
        numbers = [one.number for one in found.examples]
        assert len(numbers) == len(set(numbers)) > 0
        for one in found.examples:
            assert len(one.places) == len(one.weights_P)
            if one.answer:
                assert one.weights_P.max() == pytest.approx(1)
        worst = {one.number for one in found.examples if one.rank == "worst"}
        assert found.text.order()[-1] not in {one.number for one in found.examples} - worst


def test_forecasts_have_steps_series_and_quantiles(findings, page):
    found = findings("series").numbers
    assert len(found.by_step) == 4
    assert {one.name for one in found.by_series} == {"north", "south"}
    assert [one.level for one in found.coverage] == [0.1, 0.9]
    assert 1 <= len(found.worst) <= 4
    assert max(one.error for one in found.worst) == found.worst[0].error
    assert any(
        "band" in attributes.get("class", "") for attributes in page(as_html(findings("series"))).all("path")
    )


def test_the_verb_writes_the_page_and_prints_the_numbers(text_run, tmp_path, capsysbinary):
    print_report(str(text_run), ([], []), "dev", str(tmp_path / "new" / "page.html"), "cpu", as_json=True)
    assert (tmp_path / "new" / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(capsysbinary.readouterr().out)["split"] == "dev"


def test_files_are_not_what_a_report_takes(text_run):
    with pytest.raises(UserError, match="report: expected key=value after the run, found a.tsv"):
        print_report(str(text_run), (["a.tsv"], []), "dev", None, "cpu", as_json=False)
