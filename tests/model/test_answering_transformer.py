"""Kernels of our own beside the same model by torch: in 8 bits both are equally far from the exact one."""

import copy
import pickle

import pytest
import torch

from dragoman.model import answering, int8_linear
from dragoman.model.answering_transformer import AnsweringDecoder, AnsweringEncoder
from dragoman.model.build import build_model
from dragoman.model.contracts import rows_of
from dragoman.native.structures import answering_kernels
from dragoman.recipe.loading import recipe_from
from dragoman.records import Port, Sequence

KINDS = [
    {},
    {"norm_position": "post", "activation": "gelu"},
    {"norm": "rms", "activation": "swiglu", "positions": "rotary"},
    {"activation": "geglu", "positions": "learnt", "max_positions": 90},
    {"width": 72, "heads": 3, "feedforward_width": 100},
    {"width": 20, "heads": 2, "feedforward_width": 30, "positions": "rotary"},
]
BEAMS, LENGTHS = 3, [21, 1, 16, 7]  # around the 16 steps that are read together


@torch.inference_mode(False)
def _models(monkeypatch, kind, products):
    """The same model twice, by kernels and by torch; and the exact one."""
    sizes = {"kind": "transformer", "width": 64, "heads": 2, "layers": 2, "feedforward_width": 96} | kind
    recipe = recipe_from(
        {
            "run": "none",
            "data": {"train": [{"file": "none.tsv"}], "held_out_dev": 0.1},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": {"encoder": sizes, "decoder": sizes | {"layers": 3}, "target_embedding_width": 40},
            "training": {"max_steps": 1},
        }
    )
    torch.manual_seed(1)
    model = build_model(recipe.model, Port("tokens", 90), Port("tokens", 90)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)  # biases and gains that do something
    if products == "float32":
        return answering.in_float32(model), model, model
    ours = answering.in_int8(model)
    monkeypatch.setattr(answering, "SMALLEST_PRODUCT", 0)
    for module in (answering, int8_linear):
        monkeypatch.setattr(module, "answering_kernels", lambda _: None)
    theirs = answering.in_int8(copy.deepcopy(model))
    monkeypatch.undo()
    return ours, theirs, model


@pytest.fixture(params=["int8", "float32"])
def products(request):
    """What products are of."""
    if answering_kernels(request.param) is None:
        pytest.skip("no compiler, or no such products")
    return request.param


def _sources():
    drawn = torch.Generator().manual_seed(2)
    return Sequence(torch.randint(4, 90, (4, 21), generator=drawn), torch.tensor(LENGTHS))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())) or "usual")
@torch.inference_mode()
def test_a_model_by_kernels_thinks_what_it_thinks_by_torch(monkeypatch, kind, products):
    ours, theirs, exact = _models(monkeypatch, kind, products)
    assert isinstance(ours.encoder, AnsweringEncoder)
    assert isinstance(ours.decoder, AnsweringDecoder)
    three = (ours, theirs, exact)
    memories = [model.encode(_sources()) for model in three]
    _are_near(*(memory.values_NSD for memory in memories))
    assert torch.equal(memories[0].values_NSD == 0, memories[1].values_NSD == 0)
    states = [model.start(memories[2], BEAMS) for model in three]
    drawn = torch.Generator().manual_seed(3)
    found = []
    for step in range(70):
        if step == 20:
            states = [state.keep(torch.tensor([3, 0])) for state in states]
        sources = 4 if step < 20 else 2
        tokens_B1 = torch.randint(4, 90, (sources * BEAMS, 1), generator=drawn)
        steps = [model.advance(tokens_B1, state, True) for model, state in zip(three, states, strict=True)]
        found.append([decoded for decoded, _ in steps])
        assert (found[-1][0].reads_BTS.sum(-1) - 1).abs().max() < 1e-5
        parents = torch.randint(BEAMS, (sources, BEAMS), generator=drawn)
        rows_B = (parents + torch.arange(sources)[:, None] * BEAMS).flatten()
        states = [state.select(rows_B) for _, state in steps]
    for part in ("outputs_BTD", "reads_BTS"):
        _are_near(
            *(
                torch.cat([getattr(one, part).flatten() for one in column])
                for column in zip(*found, strict=True)
            )
        )


def _are_near(ours, theirs, exact):
    error = float((ours - exact).abs().mean())
    if torch.equal(theirs, exact):
        assert float((ours - exact).abs().max()) < 1e-4
        return
    assert 0 < error < 1.25 * float((theirs - exact).abs().mean())


@torch.inference_mode()
def test_a_row_computes_the_same_to_the_bit_alone_in_a_batch_and_on_any_threads(monkeypatch, products):
    ours, *_ = _models(monkeypatch, {}, products)
    sources = _sources()
    tokens_BT = torch.randint(4, 90, (4, 6)).repeat_interleave(8, 0)
    threads = torch.get_num_threads()
    outputs = []
    for team in (1, 2):
        torch.set_num_threads(team)
        decoded, _ = ours.advance(tokens_BT, ours.start(ours.encode(sources), 8))
        outputs.append(ours.logits(decoded.outputs_BTD))
    torch.set_num_threads(threads)
    assert torch.equal(*outputs)
    for source, length in enumerate(LENGTHS):
        one = Sequence(sources.values[source : source + 1, :length], torch.tensor([length]))
        rows = rows_of(torch.tensor([source]), 8)
        decoded, _ = ours.advance(tokens_BT[rows], ours.start(ours.encode(one), 8))
        assert torch.equal(ours.logits(decoded.outputs_BTD), outputs[0][rows])


@torch.inference_mode()
def test_rows_that_rest_are_left_out_of_later_steps_and_come_back(monkeypatch, products):
    ours, *_ = _models(monkeypatch, {"positions": "rotary"}, products)
    memory = ours.encode(_sources())
    tokens_BT = torch.randint(4, 90, (4 * BEAMS, 4))
    ways = [
        torch.tensor([0, -1, 2, -1, -1, -1, 6, 7, 8, -1, 9, -1]),  # source 1 rests altogether
        torch.tensor([2, 0, 0, -1, -1, -1, 8, 8, -1, 10, 10, 10]),
    ]
    states = [ours.start(memory, BEAMS)] * 2
    for step, way_B in enumerate([*ways, torch.arange(4 * BEAMS)]):
        steps = [ours.advance(tokens_BT[:, step : step + 1], state, True) for state in states]
        rests_B = ways[step - 1] < 0 if step else way_B < -1
        for part in ("outputs_BTD", "reads_BTS"):
            sparse, full = (getattr(decoded, part) for decoded, _ in steps)
            assert torch.equal(sparse[~rests_B], full[~rests_B])
            assert not sparse[rests_B].any()
        assert step < 2 or len(states[0].blocks[1][0]) == int((ways[0] >= 0).sum())
        states = [steps[0][1].select(way_B), steps[1][1].select(way_B.clamp(min=0))]


@torch.inference_mode()
def test_what_is_not_a_number_is_not_hidden(monkeypatch, products):
    ours, *_ = _models(monkeypatch, {}, products)
    ours.source_frontend.weight[7] = float("nan")
    values_BS = torch.tensor([[7, 8], [9, 8]])
    memory = ours.encode(Sequence(values_BS, torch.tensor([2, 2])))
    decoded, _ = ours.advance(torch.tensor([[5], [5]]), ours.start(memory))
    broken, whole = ours.logits(decoded.outputs_BTD)
    assert broken.isnan().all()
    assert whole.isfinite().all()


@torch.inference_mode()
def test_a_model_by_kernels_can_be_handed_to_another_process(monkeypatch, products):
    ours, *_ = _models(monkeypatch, {}, products)
    memory = ours.encode(_sources())
    again = pickle.loads(pickle.dumps(ours))
    assert torch.equal(again.encode(_sources()).values_NSD, memory.values_NSD)
    assert torch.equal(again.logits(memory.summary_ND), ours.logits(memory.summary_ND))
