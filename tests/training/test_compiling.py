import pytest
import torch

from dragoman.errors import UserError
from dragoman.model.build import build_model
from dragoman.recipe.loading import recipe_from
from dragoman.records import Port, Sequence
from dragoman.training import compiling
from dragoman.training.compiling import as_written, compile_layers

CUDA = torch.device("cuda")
TRANSFORMER = {
    "kind": "transformer",
    "width": 16,
    "layers": 2,
    "heads": 2,
    "feedforward_width": 32,
    "dropout": 0.0,
}
GRU = {"kind": "gru", "width": 16, "dropout": 0.0}


def model_of(kind):
    recipe = recipe_from(
        {
            "run": "unused",
            "data": {"train": [{"file": "unused.tsv"}], "held_out_dev": 0.5},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": {"encoder": kind, "decoder": kind},
            "training": {"max_steps": 1},
        }
    )
    torch.manual_seed(1)
    ports = Port("tokens", 12), Port("tokens", 12)
    return build_model(recipe.model, *ports, recipe.training.objective).train()


def side(lengths):
    tokens_BS = torch.randint(4, 12, (len(lengths), max(lengths)))
    return Sequence(tokens_BS, torch.tensor(lengths))


def loss_and_gradient(model, source, target):
    model.zero_grad()
    loss = model.loss_of(model.encode(source), target, 0.1).total
    loss.backward()
    return loss.detach(), torch.cat([one.grad.flatten() for one in model.parameters()])


@pytest.fixture
def seen(monkeypatch):
    """Compile by torch's tracer alone, with attention as on a GPU, and keep what is compiled."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "_BACKEND", backend)
    monkeypatch.setattr("dragoman.model.scaled_dot.LONG_ATTENTION", 0)
    for place in ("short_attention.kernels", "passes.kernels", "products.fp32_kernels"):
        monkeypatch.setattr(f"dragoman.model.{place}", lambda: None)
    yield graphs
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")  # torch's tracer warns of torch
def test_compiled_layers_learn_the_same_from_few_compilations(seen):
    model = model_of(TRANSFORMER)
    torch.manual_seed(2)
    batches = [(side([length, 3]), side([length + 2, 4])) for length in (5, 9)]
    expected = [loss_and_gradient(model, *batch) for batch in batches]
    assert compile_layers(model, CUDA) == 4
    found = [loss_and_gradient(model, *batch) for batch in batches]
    assert seen
    compiled = len(seen)
    for (loss, gradient), (expected_loss, expected_gradient) in zip(found, expected, strict=True):
        torch.testing.assert_close(loss, expected_loss)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)
    loss_and_gradient(model, side([11, 6]), side([8, 8]))
    assert len(seen) == compiled  # lengths are any


def test_what_is_compiled_answers_as_it_is_written(seen):
    model = model_of(TRANSFORMER)
    compile_layers(model, CUDA)
    with torch.no_grad(), as_written(model.eval()):
        model.encode(side([5, 3]))
    assert not seen


def test_it_is_refused_where_it_would_do_nothing():
    with pytest.raises(UserError, match="this run trains on a processor"):
        compile_layers(model_of(TRANSFORMER), torch.device("cpu"))
    with pytest.raises(UserError, match="no Transformer or Conformer in this model"):
        compile_layers(model_of(GRU), CUDA)
