"""All that is found out about an answer, and what a terminal and a program see of it."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pages import KINDS, LSTM, TRANSFORMER, explained

from dragoman.decoding.decode import decode
from dragoman.errors import UserError
from dragoman.explanation.explanation import GROUPS, explain
from dragoman.explanation.explanation_json import FORMAT, as_json
from dragoman.explanation.explanation_text import as_text
from dragoman.recipe.decoding import Beam
from dragoman.records import Example

EXAMPLE = Example("ein Hund", id="7")


@pytest.fixture(scope="module")
def bundle(made):
    return made(
        model={"encoder": TRANSFORMER, "decoder": TRANSFORMER},
        decoding={"method": "beam", "beam": 3, "max_length": 5},
    )


@pytest.fixture(scope="module", params=KINDS)
def found(request, made, speech_made, series_made):
    return explained(request.param, made, speech_made, series_made)


@pytest.fixture(scope="module")
def text(made, speech_made, series_made):
    return explained("text", made, speech_made, series_made)


# --- what is found


def test_it_explains_what_the_bundle_answers(bundle):
    found = explain(bundle, EXAMPLE)
    (prediction,) = decode(bundle, [EXAMPLE])
    assert found.subject.answer == prediction.values[0]
    assert found.tree.nodes[found.tree.answer].text == prediction.values[0]
    assert sum(choice.log_prob for choice in found.choices) == pytest.approx(
        sum(prediction.hypotheses[0].log_probs), abs=1e-9
    )
    assert [one.method for one in found.attributions] == list(GROUPS["usual"])
    assert not found.is_given


def test_another_way_of_decoding_is_followed(bundle):
    section = Beam(method="beam", beam=2, max_length=3)
    found = explain(bundle, EXAMPLE, section=section)
    assert found.tree.width == 2
    assert len(found.subject.pieces) <= 3


def test_a_given_answer_stands_beside_what_the_search_found(bundle):
    found = explain(bundle, EXAMPLE, target="EIN HUND")
    assert found.is_given
    assert found.subject.answer == "EIN HUND"
    assert found.tree.nodes[found.tree.answer].text != "EIN HUND"


@pytest.mark.parametrize("group", GROUPS)
def test_of_a_group_what_there_is_is_taken_and_the_rest_gives_its_reason(made, group):
    blind = made(model={"encoder": LSTM, "decoder": LSTM | {"attention": {"kind": "none"}}})
    found = explain(blind, Example("ei"), methods=group)
    taken = {one.method for one in found.attributions}
    lost = set(GROUPS[group]) & {"attention", "rollout"}
    assert taken == set(GROUPS[group]) - lost
    assert set(found.left_out) == lost
    assert all(found.left_out.values())
    assert not found.parts


def test_a_method_named_that_there_is_not_is_refused(made):
    blind = made(model={"encoder": LSTM, "decoder": LSTM | {"attention": {"kind": "none"}}})
    with pytest.raises(UserError):
        explain(blind, EXAMPLE, methods=["attention"])


def test_heads_come_with_attention_alone(bundle):
    assert explain(bundle, EXAMPLE, methods=["occlusion"]).parts == ()
    assert len(explain(bundle, EXAMPLE, methods=["attention"]).parts) == 4


def test_a_step_asks_for_a_contrast_of_that_step(bundle):
    found = explain(bundle, EXAMPLE, step=2)
    contrast = found.attributions[-1]
    assert contrast.method == "contrastive"
    assert found.steps_of(contrast) == (1,)
    assert found.steps_of(found.attributions[0]) == tuple(range(len(found.subject.pieces)))


@pytest.mark.parametrize("step", [0, 99])
def test_a_step_that_is_not_there_is_refused(bundle, step):
    with pytest.raises(UserError, match=rf"step: expected 1 to \d+, the steps of this answer, found {step}"):
        explain(bundle, EXAMPLE, step=step)


def test_methods_named_twice_are_asked_once(bundle):
    found = explain(bundle, EXAMPLE, methods=["occlusion", "occlusion"])
    assert len(found.attributions) == 1


def test_ctc_alone_and_numbers_have_no_search_and_no_choices(made, speech_made, series_made):
    for kind in ("ctc", "series"):
        found = explained(kind, made, speech_made, series_made)
        assert found.tree is None
        assert found.choices == ()
        assert {"attention", "rollout", "alternatives"} & set(found.left_out)
        assert found.attributions


# --- JSON


def test_keys_are_those_of_the_documentation(found):
    written = as_json(found)
    page = (Path(__file__).parents[2] / "docs" / "explanations.md").read_text("utf-8")
    assert set(written) == {
        *("format", "model", "source", "answer", "choices", "attributions", "heads", "search", "notes"),
        *("left_out", "seconds", "trust"),
    }
    assert written["format"] == FORMAT
    for row in _objects(written):
        for key in row:
            assert f"`{key}`" in page, f"docs/explanations.md does not say what {key} is"


def _objects(content, name=""):
    """Every object whose keys are fixed."""
    if isinstance(content, list):
        for one in content:
            yield from _objects(one)
    elif isinstance(content, dict):
        yield content
        for key, one in content.items():
            if key not in ("left_out", "seconds"):
                yield from _objects(one)


def test_keys_of_what_was_weighed_are_those_of_the_documentation(made):
    found = explain(made(), Example("ein Hund"), target="DIE", methods=["occlusion"], trust=True)
    page = (Path(__file__).parents[2] / "docs" / "explanations.md").read_text("utf-8")
    for row in _objects(as_json(found)["trust"]):
        for key in set(row) - {"occlusion"}:
            assert f"`{key}`" in page, f"docs/explanations.md does not say what {key} is"


def test_json_is_strict_and_holds_all_weights(found):
    written = json.loads(json.dumps(as_json(found), allow_nan=False))
    subject = found.subject
    assert len(written["source"]["places"]) == len(subject.places)
    assert written["answer"]["pieces"] == list(subject.pieces)
    for row, attribution in zip(written["attributions"], found.attributions, strict=True):
        assert np.allclose(row["weights"], attribution.weights_TS, rtol=1e-5, atol=1e-12)
        assert len(row["steps"]) == len(row["weights"])
        assert (row["errors"] is None) == (attribution.error_T is None)
    assert len(written["heads"]) == len(found.parts)


def test_json_has_the_search_as_it_was(text):
    nodes = as_json(text)["search"]["nodes"]
    assert len(nodes) == len(text.tree.nodes)
    for row, node in zip(nodes, text.tree.nodes, strict=True):
        assert row["total"] == pytest.approx(node.total, rel=1e-5)
        assert (row["fate"], row["parent"], row["text"]) == (node.fate, node.parent, node.text)


def test_what_is_not_finite_is_null(text):
    weights_TS = np.full_like(text.attributions[0].weights_TS, math.nan)
    broken = replace(text, attributions=(replace(text.attributions[0], weights_TS=weights_TS),))
    assert as_json(broken)["attributions"][0]["weights"][0][0] is None


# --- text


def test_a_terminal_sees_every_step_with_its_strongest_places(text):
    lines = as_text(text).splitlines()
    assert lines[0] == "source  ein Hund"
    for attribution in text.attributions:
        (start,) = (
            n for n, line in enumerate(lines) if line.startswith(attribution.method.replace("_", " "))
        )
        for step, weights_S in enumerate(attribution.weights_TS):
            line = lines[start + 1 + step]
            assert line.split()[0] == str(step + 1)
            strongest = weights_S[np.abs(weights_S).argmax()]
            shown = f"{strongest:+.2f}" if attribution.is_signed else f"{100 * strongest:.0f}%"
            assert shown in line


def test_a_terminal_sees_what_lost(text):
    shown = as_text(text)
    ended = [node for node in text.tree.nodes if node.fate == "finished"]
    assert f"{text.tree.nodes[text.tree.answer].score:.3f}" in shown
    for node in ended[:1]:
        assert f"({node.lacked:.3f} behind)" in shown


def test_a_given_answer_says_so_and_what_is_left_out_gives_its_reason(made):
    blind = made(model={"encoder": LSTM, "decoder": LSTM | {"attention": {"kind": "none"}}})
    shown = as_text(explain(blind, EXAMPLE, target="EIN"))
    assert "answer  EIN (given)" in shown
    assert "left out: " in shown


def test_a_series_is_told_by_what_is_measured_when(made, speech_made, series_made):
    found = explained("series", made, speech_made, series_made, methods=["occlusion"])
    source, answer, *_ = as_text(found).splitlines()
    assert source == "source  6 steps of v0, v1, from 2021-05-01 00:00 to 2021-05-01 05:00"
    assert answer == "answer  4 steps of v0, v1, from 2021-05-01 06:00 to 2021-05-01 09:00"


def test_nothing_steers_the_terminal(text):
    subject = replace(text.subject, answer="a\x1b[31m\nb", pieces=tuple("\x1b" for _ in text.subject.pieces))
    shown = as_text(replace(text, subject=subject))
    assert "\x1b" not in shown
    assert "answer  a [31m b" in shown


def test_wide_letters_stay_in_their_columns(text):
    places = tuple(replace(one, label="犬") for one in text.subject.places)
    pieces = tuple("猫" if step % 2 else "ab" for step in range(len(text.subject.pieces)))
    found = replace(text, subject=replace(text.subject, places=places, pieces=pieces), choices=(), tree=None)
    rows = [line for line in as_text(found).splitlines() if "犬" in line]
    columns = {line.replace("猫", "cc").index("犬") for line in rows}
    assert len(columns) == 1
