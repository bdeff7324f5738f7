"""The tree of a search says of everything considered what became of it, and by how much it lost."""

import itertools

import pytest
import torch

from dragoman.decoding.decode import decode
from dragoman.errors import UserError
from dragoman.explanation.beam_tree import beam_tree
from dragoman.recipe.decoding import Beam, CtcGreedy, Greedy, Sample
from dragoman.records import Example

EXAMPLE = Example("ein Hund")
LSTM = {"kind": "lstm", "width": 8}
TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 1, "heads": 2}
DECODERS = {
    "gru": {"kind": "gru", "width": 8},
    "lstm without attention": {**LSTM, "attention": {"kind": "none"}},
    "location aware": {**LSTM, "attention": {"kind": "location"}},
    "transformer": TRANSFORMER,
}
METHODS = {
    "greedy": Greedy(method="greedy", max_length=6),
    "beam of one": Beam(method="beam", beam=1, max_length=6),
    "beam": Beam(method="beam", beam=4, max_length=6),
    "sample": Sample(method="sample", samples=3, max_length=6),
}


@pytest.fixture(scope="module", params=DECODERS.values(), ids=DECODERS.keys())
def bundle(request, made):
    return made(model={"encoder": LSTM, "decoder": request.param})


@pytest.fixture(params=METHODS.values(), ids=METHODS.keys())
def section(request):
    return request.param


def test_the_answer_is_that_of_decoding(bundle, section):
    tree = beam_tree(bundle, EXAMPLE, section)
    (prediction,) = decode(bundle, [EXAMPLE], section)
    best = prediction.hypotheses[0]
    line = [tree.nodes[number] for number in tree.line(tree.answer)]
    assert line[-1].text == prediction.values[0]
    assert line[-1].score == pytest.approx(best.score, abs=1e-12)
    assert [node.log_prob for node in line] == pytest.approx(list(best.log_probs), abs=1e-12)
    assert [node.fate for node in line] == ["went_on"] * (len(line) - 1) + ["answer"]


def test_totals_add_up_from_parents_that_come_first(bundle, section):
    tree = beam_tree(bundle, EXAMPLE, section)
    for number, node in enumerate(tree.nodes):
        before = 0.0 if node.parent is None else tree.nodes[node.parent].total
        assert node.total == pytest.approx(before + node.log_prob, abs=1e-9)
        assert node.parent is None or node.parent < number
        assert node.step == len(tree.line(number))


def test_only_what_went_on_goes_on(bundle, section):
    tree = beam_tree(bundle, EXAMPLE, section)
    kept_parents = {node.parent for node in tree.nodes if node.fate != "passed_over"} - {None}
    assert {tree.nodes[number].fate for number in kept_parents} <= {"went_on"}
    went_on = {number for number, node in enumerate(tree.nodes) if node.fate == "went_on"}
    assert kept_parents == went_on
    assert all((node.text is None) == (node.fate == "went_on") for node in tree.nodes)


def test_what_lost_says_by_how_much(bundle):
    tree = beam_tree(bundle, EXAMPLE, METHODS["beam"])
    answer = tree.nodes[tree.answer]
    steps = {
        step: list(nodes)
        for step, nodes in itertools.groupby(
            sorted(tree.nodes, key=lambda node: node.step), lambda node: node.step
        )
    }
    for number, node in enumerate(tree.nodes):
        worst = min(one.total for one in steps[node.step] if one.fate != "passed_over")
        match node.fate:
            case "passed_over":
                assert node.lacked == pytest.approx(worst - node.total, abs=1e-9)
                assert node.lacked >= 0
            case "fell_out":
                following = [one for one in steps[node.step + 1] if one.parent == number]
                assert {one.fate for one in following} == {"passed_over"}
                assert node.lacked == min(one.lacked for one in following)
            case "finished":
                assert node.lacked == pytest.approx(answer.score - node.score, abs=1e-12)
                assert node.lacked >= 0
            case "left_behind":
                assert node.lacked >= 0
    assert {"passed_over", "answer"} <= {node.fate for node in tree.nodes}


def test_a_beam_keeps_no_more_than_its_width(bundle):
    tree = beam_tree(bundle, EXAMPLE, METHODS["beam"])
    assert tree.width == 4
    for step in range(1, tree.steps + 1):
        assert sum(node.step == step and node.fate != "passed_over" for node in tree.nodes) <= 4


def test_a_beam_as_wide_as_the_tree_passes_nothing_over(bundle):
    wide = Beam(method="beam", beam=10_000, max_length=2, length_penalty=0.0)
    tree = beam_tree(bundle, EXAMPLE, wide)
    assert {node.fate for node in tree.nodes} <= {"answer", "finished", "cut", "went_on"}


def test_fewer_others_can_be_had(bundle):
    passed_over = [
        sum(node.fate == "passed_over" for node in beam_tree(bundle, EXAMPLE, METHODS["greedy"], count).nodes)
        for count in (0, 1, 5)
    ]
    assert passed_over[0] == 0
    assert passed_over[1] * 5 == passed_over[2]


def test_greedy_search_shows_how_close_the_next_token_was(bundle):
    tree = beam_tree(bundle, EXAMPLE, METHODS["greedy"], others=1)
    for node in tree.nodes:
        if node.fate == "passed_over":
            chosen = next(one for one in tree.nodes if one.step == node.step and one.fate != "passed_over")
            assert node.lacked == pytest.approx(chosen.log_prob - node.log_prob, abs=1e-9)


def test_a_draw_beats_nothing(bundle):
    tree = beam_tree(bundle, EXAMPLE, METHODS["sample"])
    assert all(node.lacked is None for node in tree.nodes if node.fate == "passed_over")


def test_no_mode_is_changed(bundle):
    bundle.model.train()
    beam_tree(bundle, EXAMPLE)
    assert bundle.model.training
    bundle.model.eval()


def test_a_model_without_probabilities_has_no_tree(made):
    broken = made()
    with torch.no_grad():
        broken.model.head.bias.fill_(torch.nan)
    tree = beam_tree(broken, EXAMPLE)
    assert tree.answer is None
    assert tree.steps == 0


def test_ctc_alone_and_numbers_are_not_searched_for(bundle):
    with pytest.raises(UserError, match="`ctc_greedy` has no one search to tell of; greedy or beam"):
        beam_tree(bundle, EXAMPLE, CtcGreedy(method="ctc_greedy"))
