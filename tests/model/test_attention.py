"""Attentions against plain loops over single queries and single real steps, in float64."""

import math

import pytest
import torch

from dragoman.model.attention import build_attention
from dragoman.model.contracts import Memory
from dragoman.model.kernels import compute
from dragoman.recipe import model as recipe

D, M = 6, 10  # widths of queries and of the memory
SECTIONS = {
    "dot": recipe.SimpleAttention(kind="dot"),
    "general": recipe.SimpleAttention(kind="general"),
    "additive": recipe.AdditiveAttention(kind="additive", width=7),
    "scaled_dot": recipe.ScaledDotAttention(kind="scaled_dot", heads=3),
    "location": recipe.LocationAttention(kind="location", width=7, filters=3, kernel_width=3),
}


def build(kind, query_width=D, memory_width=M):
    attention = build_attention(SECTIONS[kind], query_width, memory_width).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    return attention


def example(lengths=(4, 1, 6), queries=5, width=M):
    mask_NS = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    values_NSD = torch.randn(*mask_NS.shape, width, dtype=torch.float64) * mask_NS[:, :, None]
    memory = Memory(values_NSD, mask_NS, torch.randn(len(lengths), width, dtype=torch.float64))
    queries_NQD = torch.randn(len(lengths), queries, D, dtype=torch.float64)
    previous_NQS = torch.rand(len(lengths), queries, max(lengths), dtype=torch.float64) * mask_NS[:, None]
    return memory, queries_NQD, previous_NQS


def score(attention, kind, query_D, memory_SD, previous_S, step):
    """The energy of one query and one step, from the papers' formulas."""
    weight = {name: parameter.detach() for name, parameter in attention.named_parameters()}
    if kind in ("dot", "general"):
        key_D = memory_SD[step] if "keys.weight" not in weight else weight["keys.weight"] @ memory_SD[step]
        return query_D @ key_D
    hidden = (
        weight["queries.weight"] @ query_D + weight["queries.bias"] + weight["keys.weight"] @ memory_SD[step]
    )
    if kind == "location":
        filters_FW = weight["filters.weight"][:, 0]
        window = range(step - filters_FW.shape[1] // 2, step + filters_FW.shape[1] // 2 + 1)
        seen_W = torch.stack(
            [previous_S[s] if 0 <= s < len(previous_S) else torch.zeros(()).double() for s in window]
        )
        hidden = hidden + weight["features.weight"] @ (filters_FW @ seen_W)
    return weight["score.weight"][0] @ hidden.tanh()


@pytest.mark.parametrize("kind", ["dot", "general", "additive", "location"])
def test_is_what_the_papers_say(kind):
    attention = build(kind)
    memory, queries_NQD, previous_NQS = example()
    contexts_NQC, weights_NQS = attention(queries_NQD, attention.prepare(memory), previous_NQS)
    for n, q in [(0, 0), (0, 4), (1, 2), (2, 3)]:
        real = int(memory.mask_NS[n].sum())
        memory_SD = memory.values_NSD[n, :real]
        scores = [
            score(attention, kind, queries_NQD[n, q], memory_SD, previous_NQS[n, q, :real], s)
            for s in range(real)
        ]
        weights_S = torch.stack(scores).softmax(0)
        torch.testing.assert_close(weights_NQS[n, q, :real], weights_S)
        torch.testing.assert_close(contexts_NQC[n, q], weights_S @ memory_SD)


def test_scaled_dot_is_torch_multi_head_attention():
    attention = build("scaled_dot")
    reference = torch.nn.MultiheadAttention(D, 3, kdim=M, vdim=M, batch_first=True).double()
    parts = attention.queries, attention.keys, attention.values
    with torch.no_grad():
        reference.q_proj_weight.copy_(attention.queries.weight)
        reference.k_proj_weight.copy_(attention.keys.weight)
        reference.v_proj_weight.copy_(attention.values.weight)
        biases = [part.bias if part.bias is not None else torch.zeros(D).double() for part in parts]
        reference.in_proj_bias.copy_(torch.cat(biases))
        reference.out_proj.load_state_dict(attention.contexts.state_dict())
    memory, queries_NQD, _ = example()
    contexts_NQC, weights_NQS = attention(queries_NQD, attention.prepare(memory))
    expected = reference(queries_NQD, memory.values_NSD, memory.values_NSD, key_padding_mask=~memory.mask_NS)
    torch.testing.assert_close((contexts_NQC, weights_NQS), expected)


@pytest.mark.parametrize("kind", SECTIONS)
def test_weights_are_a_distribution_over_real_steps(kind):
    attention = build(kind)
    memory, queries_NQD, previous_NQS = example()
    _, weights_NQS = attention(queries_NQD, attention.prepare(memory), previous_NQS)
    torch.testing.assert_close(weights_NQS.sum(-1), torch.ones_like(weights_NQS[..., 0]))
    assert weights_NQS.masked_select(~memory.mask_NS[:, None]).eq(0).all()


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_source_without_real_steps_reads_nothing(kind):
    attention = build(kind)
    memory, queries_NQD, previous_NQS = example(lengths=(0, 3))
    contexts_NQC, weights_NQS = attention(queries_NQD, attention.prepare(memory), previous_NQS)
    (contexts_NQC.sum() + weights_NQS.square().sum()).backward()
    assert weights_NQS[0].eq(0).all()
    assert contexts_NQC.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in attention.parameters())


def test_dot_of_equal_widths_has_no_parameters():
    assert not list(build("dot", 6, 6).parameters())
    assert [tuple(p.shape) for p in build("dot", 6, 10).parameters()] == [(6, 10)]
    assert [tuple(p.shape) for p in build("general", 6, 6).parameters()] == [(6, 6)]


def test_hidden_width_is_the_decoder_width_unless_given():
    attention = build_attention(recipe.AdditiveAttention(kind="additive"), D, M)
    assert attention.score.weight.shape == (1, D)


def test_scores_of_scaled_dot_are_scaled_by_the_width_of_a_head():
    attention = build("scaled_dot")
    with (
        torch.no_grad()
    ):  # Heads that copy: queries and keys are the first D numbers, so scores are plain products.
        attention.queries.weight.copy_(torch.eye(D))
        attention.queries.bias.zero_()
        attention.keys.weight.copy_(torch.eye(D, M))
    memory, queries_NQD, _ = example(lengths=(4,), queries=1)
    _, weights_NQS = attention(queries_NQD, attention.prepare(memory))
    heads = [slice(0, 2), slice(2, 4), slice(4, 6)]
    expected = sum(
        (memory.values_NSD[0, :, :D][:, h] @ queries_NQD[0, 0, h] / math.sqrt(2)).softmax(0) for h in heads
    )
    torch.testing.assert_close(weights_NQS[0, 0], expected / 3)


def test_no_attention_gives_the_summary_whatever_is_asked():
    attention = build_attention(recipe.NoAttention(kind="none"), D, M)
    memory, queries_NQD, _ = example()
    contexts_NQC, weights_NQS = attention(queries_NQD, attention.prepare(memory))
    assert weights_NQS is None
    assert contexts_NQC.shape == (3, 5, M)
    assert contexts_NQC.eq(memory.summary_ND[:, None]).all()


@pytest.mark.parametrize("kind", SECTIONS)
def test_bf16_stays_close_to_fp32(kind):
    attention = build(kind).float()
    memory, queries_NQD, previous_NQS = example()
    memory = Memory(memory.values_NSD.float(), memory.mask_NS, memory.summary_ND.float())
    queries_NQD, previous_NQS = queries_NQD.float() * 0.3, previous_NQS.float()
    contexts_NQC, weights_NQS = attention(queries_NQD, attention.prepare(memory), previous_NQS)
    with compute("bf16", torch.device("cpu")):
        low = attention(queries_NQD, attention.prepare(memory), previous_NQS)
    torch.testing.assert_close(low[0].float(), contexts_NQC, atol=0.1, rtol=0.05)
    torch.testing.assert_close(low[1], weights_NQS, atol=0.05, rtol=0.05)


def test_aligned_steps_are_no_attention():
    with pytest.raises(ValueError, match="see `AlignedDecoder`"):
        build_attention(recipe.AlignedAttention(kind="aligned"), D, M)
