"""The page of a report: whole, safe, and with nothing that does not apply."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from dragoman.api import report
from dragoman.cli.judging import print_report
from dragoman.cli.program import app
from dragoman.errors import UserError
from dragoman.evaluation.data_facts import TrainingFacts
from dragoman.evaluation.evaluate import evaluate
from dragoman.evaluation.overlap import NotKnown
from dragoman.explanation.report import findings as findings_module
from dragoman.explanation.report.page import as_html
from dragoman.explanation.report.report_json import as_json
from dragoman.explanation.report.weighing import Weighing, weigh_run
from dragoman.explanation.trust import trusted, verdict

KINDS = ["text", "speech", "series"]
ALWAYS = {"brief", "scores", "trust", "data", "recipe"}
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
    for one in (*found.worst, *found.best):
        assert len(one.places) == len(one.weights_P) == len(one.context.values)
        assert one.weights_P.max() == pytest.approx(1)
    assert not {(one.name, one.error) for one in found.best} & {(one.name, one.error) for one in found.worst}
    assert any(
        "band" in attributes.get("class", "") for attributes in page(as_html(findings("series"))).all("path")
    )


def test_the_verb_writes_the_page_and_prints_the_numbers(text_run, tmp_path, capsysbinary):
    page = str(tmp_path / "new" / "page.html")
    print_report(
        str(text_run), ([], []), "dev", page, "cpu", 1, (2, None), ["attention", "occlusion"], as_json=True
    )
    assert (tmp_path / "new" / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    written = json.loads(capsysbinary.readouterr().out)
    assert written["split"] == "dev"
    assert written["trust"]["examples"] == 2
    assert written["trust"]["agreement"]["methods"] == ["attention", "occlusion"]


@pytest.mark.parametrize("kind", KINDS)
def test_methods_are_weighed_on_some_examples(findings, kind, page):
    found = findings(kind)
    trust = found.trust
    assert trust.examples == 2
    assert "occlusion" in trust.methods and "integrated_gradients" not in trust.methods
    html = as_html(found)
    assert verdict(trust).split(":")[0] in "".join(page(html).texts)
    assert as_json(found)["trust"]["verdict"] == verdict(trust)
    assert found.shown_by == (trusted(trust) or "occlusion")


def test_it_takes_no_longer_than_it_may_and_says_so(findings, page):
    """One answer is looked at even so; fresh weights and orders are then those of that answer."""
    found = findings("text")
    hurried = weigh_run(found.bundle, found.report.predictions, Weighing(5, ["occlusion"], 0.0))
    assert hurried.examples == 1
    assert (
        hurried.left_out == "Of 5 that were chosen 4 are left out: after 0 seconds no further one was begun."
    )
    alone = weigh_run(found.bundle, found.report.predictions[:1], Weighing(5, ["occlusion"]))
    np.testing.assert_array_equal(hurried.gains_EM, alone.gains_EM)
    assert hurried.fresh == alone.fresh
    assert hurried.left_out in page(as_html(replace(found, trust=hurried))).texts
    assert as_json(replace(found, trust=hurried))["trust"]["left_out"] == hurried.left_out


def test_the_number_of_examples_decides_and_not_the_clock(findings, monkeypatch):
    found = findings("text")
    ticks = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    weighed = weigh_run(found.bundle, found.report.predictions, Weighing(3, ["occlusion"]))
    assert (weighed.examples, weighed.left_out) == (3, "")


def test_what_cannot_be_weighed_is_passed_over_or_said(findings, page):
    found = findings("text")
    bundle, some = found.bundle, found.report.predictions[:3]
    refused = [replace(one, example=replace(one.example, source="")) for one in some]
    fewer = weigh_run(bundle, [refused[0], *some[1:]], Weighing(3, ["attention"]))
    assert fewer.examples == 2
    assert fewer.left_out.startswith("Of 3 that were chosen 1 are left out: 1 cannot be explained (an empty")
    nothing = weigh_run(bundle, refused, Weighing(3))
    assert isinstance(nothing, NotKnown) and nothing.reason.startswith("an empty source gets")
    told = replace(found, trust=nothing)
    assert any("Nobody knows: an empty source" in text for text in page(as_html(told)).texts)
    assert as_json(told)["trust"] == {"not_known": nothing.reason}
    silent = replace(found, trust=None)
    assert "trust" not in as_json(silent) and "Which explanations" not in as_html(silent)
    with pytest.raises(UserError, match="attends to nothing|no self-attention|rollout"):
        weigh_run(bundle, some, Weighing(3, ["rollout"]))


def test_a_method_without_examples_has_no_effect(text_run):
    for words in (["--method", "attention"], ["--trust-seconds", "5"]):
        with pytest.raises(UserError, match="--method and --trust-seconds have no effect with --trust 0"):
            app(["report", str(text_run), "--trust", "0", *words])


def test_a_report_of_several_runs_together(text_run, page):
    """They answer as one, are not explained, and what one of them wrote is not taken for theirs."""
    found = report(text_run, split="dev", others=[text_run])
    assert not found.is_kept
    alone = report(text_run, split="dev", trust=0)
    ours, theirs = ([one.values for one in given.report.predictions] for given in (found, alone))
    assert ours == theirs
    assert found.trust == NotKnown("an ensemble is explained member by member: name the folder of one bundle")
    assert alone.trust is None and alone.shown_by == "occlusion"
    assert "trust" in {attributes["id"] for attributes in page(as_html(found)).all("section")}
    with pytest.raises(UserError, match="--trust, --trust-seconds and --method have no effect with --with"):
        app(["report", str(text_run), "--with", str(text_run), "--trust", "3"])


def test_workers_are_those_of_evaluate(text_run, monkeypatch):
    asked = []

    def spy(*given, workers, **named):
        asked.append(workers)
        return evaluate(*given, **named)

    monkeypatch.setattr(findings_module, "evaluate", spy)
    report(text_run, split="dev", trust=0, workers=3)
    assert asked == [3]


def test_files_are_not_what_a_report_takes(text_run):
    with pytest.raises(UserError, match="report: expected key=value after the run, found a.tsv"):
        print_report(str(text_run), (["a.tsv"], []), "dev", None, "cpu", 1, None, "quick", as_json=False)
