import itertools
import math

import pytest
import torch

from dragoman.decoding import score as scoring
from dragoman.decoding.decode import decode
from dragoman.decoding.score import score, teacher_forced
from dragoman.errors import DataError
from dragoman.recipe.decoding import Beam, Sample
from dragoman.records import EOS, Example, Origin, Sequence

EXAMPLES = [
    Example("abc", ("cba", "c", "cab")),
    Example("h", ("hgfedcba",)),
    Example("", ("a",)),
    Example("gfe", ("",)),
]


def totals(bundle, examples):
    return [one.total for scored in score(bundle, examples) for one in scored.targets]


def test_scores_are_in_order_and_complete(bundle_of):
    bundle = bundle_of()
    found = list(score(bundle, EXAMPLES))
    assert [one.example for one in found] == EXAMPLES
    for scored in found:
        assert len(scored.targets) == len(scored.example.targets)
        for target, one in zip(scored.example.targets, scored.targets, strict=True):
            assert one.tokens == tuple(bundle.codecs.target.encode(target).tolist())
            assert one.pieces == (*target, "<eos>")
            assert len(one.log_probs) == len(one.tokens)
            assert one.total == pytest.approx(sum(one.log_probs))


@pytest.mark.parametrize(
    "section",
    [
        Beam(method="beam", nbest=4, max_length=9, no_repeat_ngram=2),
        Sample(method="sample", samples=20, temperature=3, max_length=9),
    ],
    ids=lambda section: section.method,
)
def test_what_search_finds_scores_the_same(bundle_of, section):
    bundle = bundle_of()
    compared = 0
    for one in decode(bundle, [Example("abc"), Example("hhedaf"), Example("b")], section):
        finished = [answer for answer in one.hypotheses if answer.is_finished]
        values = tuple(bundle.codecs.target.decode(answer.tokens) for answer in finished)
        if not values:
            continue
        (scored,) = score(bundle, [Example(one.example.source, values)])
        for answer, target in zip(finished, scored.targets, strict=True):
            assert target.tokens == answer.tokens
            assert target.log_probs == pytest.approx(answer.log_probs, abs=1e-9)
            compared += 1
    assert compared


def test_probabilities_of_all_answers_sum_to_one(fake):
    """Over every sequence of a full vocabulary, ended or cut at the same length."""
    size, longest = 5, 3
    model = fake.TableModel(fake.random_table(size), size)
    others = [token for token in range(size) if token != EOS]
    ended = [
        [*prefix, EOS] for length in range(longest) for prefix in itertools.product(others, repeat=length)
    ]
    cut = [list(prefix) for prefix in itertools.product(others, repeat=longest)]
    shares = []
    for tokens in ended + cut:
        target = Sequence(torch.tensor([tokens]), torch.tensor([len(tokens)]))
        shares.append(teacher_forced(model, fake.sources(4), target).sum().exp().item())
    assert sum(shares) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("budget", [1, 12, 100_000])
def test_scores_do_not_depend_on_batches(bundle_of, budget, monkeypatch):
    bundle = bundle_of(decoding={"batch_tokens": budget})
    alone = [number for example in EXAMPLES for number in totals(bundle, [example])]
    assert totals(bundle, EXAMPLES) == pytest.approx(alone, abs=1e-9)
    monkeypatch.setattr(scoring, "_LOGITS_AT_ONCE", 30)
    assert totals(bundle, EXAMPLES) == pytest.approx(alone, abs=1e-9)


def test_scores_come_before_the_input_ends(bundle_of):
    read = []

    def source():
        for number in range(1000):
            read.append(number)
            yield EXAMPLES[0]

    next(score(bundle_of(), source()))
    assert len(read) == 64


def test_an_example_without_targets_is_named_after_the_scores_before_it(bundle_of):
    found = score(bundle_of(), [EXAMPLES[0], Example("abc", origin=Origin("pairs.tsv", 8)), EXAMPLES[1]])
    assert next(found).example is EXAMPLES[0]
    with pytest.raises(DataError, match="^pairs.tsv:8: no target to score"):
        next(found)


def test_a_target_that_cannot_be_encoded_is_named(bundle_of):
    found = score(bundle_of(), [EXAMPLES[0], Example("abc", ("a", "\udfff"))])
    next(found)
    with pytest.raises(DataError, match="^input 2: "):
        next(found)


def test_a_target_beyond_learnt_positions_is_named(bundle_of):
    bundle = bundle_of(positions="learnt", max_positions=5)
    found = score(bundle, [Example("a", ("abcd",)), Example("a", ("b", "abcdefgh")), Example("a", ("b",))])
    assert len(next(found).targets[0].tokens) == 5
    with pytest.raises(DataError, match="^input 2: a sequence of 9 steps"):
        next(found)


def test_the_model_goes_back_to_its_mode(bundle_of):
    bundle = bundle_of(dropout=0.5)
    bundle.model.train()
    found = score(bundle, EXAMPLES)
    next(found)
    assert bundle.model.training
    assert not torch.is_inference_mode_enabled()
    assert totals(bundle, EXAMPLES) == totals(bundle, EXAMPLES)
    assert all(math.isfinite(total) for total in totals(bundle, EXAMPLES))
