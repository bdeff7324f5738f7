"""Greedy search in one call beside the same search step by step."""

import math

import pytest
import torch

from dragoman.decoding import search as module
from dragoman.decoding.search import FAILED, search
from dragoman.model.answering import in_float32, in_int8
from dragoman.model.build import build_model
from dragoman.native.structures import answering_kernels
from dragoman.recipe.decoding import Greedy
from dragoman.recipe.loading import recipe_from
from dragoman.records import BOS, EOS, PAD, UNKNOWN, Port, Sequence

KINDS = [
    {},
    {"norm_position": "post", "activation": "gelu"},
    {"norm": "rms", "activation": "swiglu", "positions": "rotary"},
    {"positions": "learnt", "max_positions": 40},
    {"width": 20, "heads": 2, "feedforward_width": 30},
]
LENGTHS = [21, 1, 16, 7, 3, 11, 20, 2, 5, 9]
SYMBOLS = 150  # not whole blocks of them


def _model(kind, more=None):
    sizes = {"kind": "transformer", "width": 64, "heads": 2, "layers": 2, "feedforward_width": 96} | kind
    recipe = recipe_from(
        {
            "run": "none",
            "data": {"train": [{"file": "none.tsv"}], "held_out_dev": 0.1},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": {"encoder": sizes, "decoder": sizes} | (more or {}),
            "training": {"max_steps": 1},
        }
    )
    torch.manual_seed(1)
    model = build_model(recipe.model, Port("tokens", SYMBOLS), Port("tokens", SYMBOLS)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
        model.head.weight[EOS] *= 3.4  # so that some answers end, and not all at once
    return model


@pytest.fixture(params=["int8", "float32"])
def made(request):
    """What makes a model for answering."""
    if answering_kernels(request.param) is None:
        pytest.skip("no compiler, or no such products")
    return in_int8 if request.param == "int8" else in_float32


def _source():
    drawn = torch.Generator().manual_seed(2)
    values = torch.randint(4, SYMBOLS, (len(LENGTHS), 21), generator=drawn)
    return Sequence(values, torch.tensor(LENGTHS))


def _greedy(**more):
    return Greedy(method="greedy", max_length=36, max_ratio=1.0, max_extra=12, **more)


def _both(monkeypatch, model, **more):
    """Answers in one call, and step by step."""
    called = []

    def at_once(*given):
        called.append(module_of_greedy(*given))
        return called[-1]

    module_of_greedy = module.greedy_at_once
    monkeypatch.setattr(module, "greedy_at_once", at_once)
    fast = search(model, _source(), _greedy(**more))
    monkeypatch.setattr(module, "greedy_at_once", lambda *_: None)
    slow = search(model, _source(), _greedy(**more))
    monkeypatch.undo()
    return fast, slow, called[0] is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())) or "usual")
def test_one_call_writes_what_single_steps_write(monkeypatch, made, kind):
    fast, slow, was_at_once = _both(monkeypatch, made(_model(kind)))
    assert was_at_once
    for (one,), (other,) in zip(fast, slow, strict=True):
        assert one.tokens == other.tokens
        assert one.is_finished == other.is_finished
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
        assert one.score == pytest.approx(sum(one.log_probs), abs=1e-9)
        assert not {PAD, BOS, UNKNOWN} & set(one.tokens)
    lengths = {len(one.tokens) for (one,) in fast}
    assert len(lengths) > 2
    assert {one.is_finished for (one,) in fast} == {True, False}


def test_answers_are_the_same_to_the_bit_on_any_threads_and_alone(made):
    model, threads = made(_model({})), torch.get_num_threads()
    found = []
    for team in (1, 3):
        torch.set_num_threads(team)
        found.append(search(model, _source(), _greedy()))
    torch.set_num_threads(threads)
    assert found[0] == found[1]
    values = _source().values
    alone = [
        search(model, Sequence(values[n : n + 1, :length], torch.tensor([length])), _greedy())[0]
        for n, length in enumerate(LENGTHS)
    ]
    assert alone == found[0]


def test_a_source_without_probabilities_fails_alone(made):
    model = _model({})
    with torch.no_grad():
        model.source_frontend.weight[5] = math.nan
        model.target_frontend.weight[5].nan_to_num_()
    source = _source()
    source.values[3, 2] = 5
    source.values[:3][source.values[:3] == 5] = 6
    source.values[4:][source.values[4:] == 5] = 6
    found = search(made(model), source, _greedy())
    assert [answers == (FAILED,) for answers in found] == [n == 3 for n in range(len(LENGTHS))]


@pytest.mark.parametrize(
    ("kind", "more", "asked", "prefix"),
    [
        ({"positions": "learnt", "max_positions": 30}, {}, {}, []),  # answers may have 33 tokens
        ({}, {"target_embedding_width": 40}, {}, []),
        ({}, {}, {"min_length": 2}, []),
        ({}, {}, {"no_repeat_ngram": 2}, []),
        ({}, {}, {}, [7]),
    ],
    ids=["few positions", "another width", "min_length", "no_repeat_ngram", "prefix"],
)
@torch.inference_mode()
def test_what_one_call_cannot_do_is_left_to_single_steps(made, kind, more, asked, prefix):
    model = made(_model(kind, more))
    memory, prefixes = model.encode(_source()), [prefix] * len(LENGTHS)
    assert module.greedy_at_once(model, memory, _greedy(**asked), prefixes) is None
