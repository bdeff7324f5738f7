import math
import random

import pytest
import torch

from dragoman.data.batching import collate
from dragoman.decoding.batches import batches
from dragoman.decoding.decode import decode
from dragoman.errors import DataError, UserError
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.records import EOS, Example, Origin

METHODS = [
    Greedy(method="greedy", max_length=8),
    Beam(method="beam", beam=3, nbest=2, max_length=8, coverage_penalty=0.2),
    Sample(method="sample", samples=2, max_length=8),
]


def ids(section):
    return section.method


def words(count, seed=0):
    numbers = random.Random(seed)
    return [Example("".join(numbers.choices("abcdefgh", k=numbers.randint(1, 9)))) for _ in range(count)]


def essence(predictions):
    return [
        (one.example, one.values, [(answer.tokens, answer.is_finished) for answer in one.hypotheses])
        for one in predictions
    ]


def scores(predictions):
    return [answer.score for one in predictions for answer in one.hypotheses]


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_answers_in_int8_are_near_and_the_same_in_any_batch(bundle_of, section):
    bundle, examples = bundle_of(), words(20)
    exact = list(decode(bundle, examples, section))
    small = section.model_copy(update={"precision": "int8"})
    found = list(decode(bundle, examples, small))
    assert scores(found) != scores(exact)
    assert essence(list(decode(bundle, examples, section))) == essence(exact)
    first = [one.hypotheses[0] for one in found]
    assert sum(a.tokens == b.hypotheses[0].tokens for a, b in zip(first, exact, strict=True)) > 10
    alone = small.model_copy(update={"batch_tokens": 1})
    assert essence(list(decode(bundle, examples, alone))) == essence(found)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_what_comes_out_does_not_depend_on_batches(bundle_of, section):
    bundle, examples = bundle_of(), words(30)
    wanted = list(decode(bundle, examples, section))
    assert [one.example for one in wanted] == examples
    assert len({one.values for one in wanted}) > 1
    for budget in (1, 40, 100_000):
        found = list(decode(bundle, examples, section.model_copy(update={"batch_tokens": budget})))
        assert essence(found) == essence(wanted)
        assert scores(found) == pytest.approx(scores(wanted), abs=1e-9)


def test_values_are_what_the_tokens_stand_for(bundle_of):
    bundle = bundle_of()
    for one in decode(bundle, words(10), METHODS[1]):
        assert one.values == tuple(bundle.codecs.target.decode(answer.tokens) for answer in one.hypotheses)
        assert len(one.values) == 2


def test_the_recipe_says_how_unless_told_otherwise(bundle_of):
    bundle, examples = bundle_of(decoding={"method": "beam", "beam": 4, "nbest": 3}), words(3)
    assert [len(one.values) for one in decode(bundle, examples)] == [3, 3, 3]
    assert [len(one.values) for one in decode(bundle, examples, METHODS[0])] == [1, 1, 1]


def test_equal_inputs_get_different_draws_and_equal_calls_equal_ones(bundle_of):
    bundle, examples = bundle_of(), [Example("abc")] * 12
    found = essence(decode(bundle, examples, METHODS[2]))
    assert len({values for _, values, _ in found}) > 2
    assert found == essence(decode(bundle, examples, METHODS[2]))


def test_answers_come_before_the_input_ends(bundle_of):
    read = []

    def source():
        for number in range(1000):
            read.append(number)
            yield Example("ab")

    answers = decode(bundle_of(decoding={"max_length": 2}), source())
    assert not read
    next(answers)
    assert len(read) == 64
    for _ in range(64):
        next(answers)
    assert len(read) == 64 + 256


def test_an_empty_source_gets_an_empty_answer(bundle_of):
    examples = [Example("ab"), Example(""), Example(" "), Example("")]
    found = list(decode(bundle_of(), examples, METHODS[1]))
    assert [one.example for one in found] == examples
    for empty in (found[1], found[3]):
        assert empty.values == ("",)
        assert (empty.hypotheses[0].score, empty.hypotheses[0].is_finished) == (0, True)
    assert len(found[2].values) == 2
    assert essence(found)[0] == essence(decode(bundle_of(), examples[:1], METHODS[1]))[0]


def test_only_empty_sources(bundle_of):
    assert [one.values for one in decode(bundle_of(), [Example("")] * 3)] == [("",)] * 3
    assert list(decode(bundle_of(), [])) == []


@pytest.mark.parametrize(
    ("origin", "name"), [(None, "input 3: "), (Origin("lines.txt", 17), "lines.txt:17: ")]
)
def test_a_source_that_cannot_be_encoded_is_named_after_the_answers_before_it(bundle_of, origin, name):
    examples = [Example("ab"), Example("c"), Example("a\ud800", origin=origin), Example("d")]
    found = decode(bundle_of(), examples)
    assert [next(found).example.source for _ in range(2)] == ["ab", "c"]
    with pytest.raises(DataError, match=f"^{name}"):
        next(found)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_beyond_learnt_positions_is_named_after_the_answers_before_it(bundle_of, workers):
    bundle = bundle_of()
    section = bundle.recipe.model_dump()
    section["model"]["encoder"] = {"kind": "transformer", "width": 8, "heads": 2, "positions": "learnt"}
    section["model"]["encoder"]["max_positions"] = 6
    recipe = type(bundle.recipe).model_validate(section)
    bundle = type(bundle)(recipe, bundle.codecs, _build(recipe, bundle))
    examples = [Example("abcde"), Example("a"), Example("abcdef"), Example("abcd")]
    found = decode(bundle, examples, workers=workers)
    assert [next(found).example.source for _ in range(2)] == ["abcde", "a"]
    with pytest.raises(DataError, match="^input 3: a sequence of 7 steps is longer than the 6 positions"):
        next(found)


def _build(recipe, bundle):
    return build_model(recipe.model, bundle.codecs.source.port, bundle.codecs.target.port)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_answers_end_where_learnt_positions_do(bundle_of, section):
    section = section.model_copy(update={"max_length": 100, "min_length": 50})
    bundle = bundle_of(positions="learnt", max_positions=5)
    for one in decode(bundle, words(3), section):
        assert all(len(answer.tokens) == 5 and not answer.is_finished for answer in one.hypotheses)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_answers_start_with_the_prefix(bundle_of, section):
    bundle = bundle_of()
    for one in decode(bundle, words(5), section, prefix="dad"):
        assert all(value.startswith("dad") for value in one.values)
    assert essence(decode(bundle, words(5), section, prefix="")) == essence(decode(bundle, words(5), section))


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_a_prefix_that_the_model_cannot_write_is_refused_with_what_and_where(bundle_of, section):
    with pytest.raises(
        UserError, match=r"prefix 'daßaß': the target vocabulary cannot write 'ß' \(at character 3\); leave"
    ):
        next(decode(bundle_of(), words(1), section, prefix="daßaß"))


def test_a_prefix_without_room_is_refused(bundle_of):
    with pytest.raises(UserError, match="prefix of 8 tokens leaves no room"):
        list(decode(bundle_of(), words(2), prefix="abcdefgh"))


def test_reads_on_request(bundle_of):
    (one,) = decode(bundle_of(), [Example("abcd")], reads=True)
    (answer,) = one.hypotheses
    assert answer.reads.shape == (len(answer.tokens), 5)  # the source's end is a step too
    assert answer.reads.sum(dim=1).tolist() == pytest.approx([1] * len(answer.tokens))
    (one,) = decode(bundle_of(), [Example("abcd")])
    assert one.hypotheses[0].reads is None


def test_a_model_that_breaks_on_one_input_says_so_and_answers_the_others(bundle_of, fake):
    codec = bundle_of().codecs.source
    bad, size = int(codec.encode("c")[0]), codec.port.size
    good = fake.random_table(size)

    def table(source, prefix):
        return [math.nan] * size if source == bad else good(source, prefix)

    bundle = bundle_of(fake.TableModel(table, size), {"min_length": 1})
    with pytest.warns(RuntimeWarning, match="input 2: the model computed no probabilities"):
        found = list(decode(bundle, [Example("a"), Example("c"), Example("b")]))
    assert [one.values == ("",) for one in found] == [False, True, False]
    assert found[1].hypotheses[0].score == -math.inf
    assert not found[1].hypotheses[0].is_finished
    sound = bundle_of(fake.TableModel(good, size), {"min_length": 1})
    assert essence(found)[::2] == essence(decode(sound, [Example("a"), Example("b")]))


def test_every_part_of_the_model_goes_back_to_its_mode(bundle_of):
    bundle = bundle_of()
    bundle.model.train()
    bundle.model.encoder.eval()
    modes = [module.training for module in bundle.model.modules()]
    answers = decode(bundle, words(3))
    next(answers)
    assert [module.training for module in bundle.model.modules()] == modes  # also between answers
    assert not torch.is_inference_mode_enabled()


def test_dropout_is_off(bundle_of):
    bundle = bundle_of(dropout=0.5)
    bundle.model.train()
    assert essence(decode(bundle, words(20))) == essence(decode(bundle, words(20)))


def test_a_model_can_be_trained_after_it_answered(bundle_of):
    bundle, example = bundle_of(), Example("abc", ("cba",))
    list(decode(bundle, [example], METHODS[1]))
    codecs = bundle.codecs
    batch = collate([codecs.source.encode("abc")], [codecs.target.encode("cba")], ["1"])
    bundle.model.loss(batch, 0.1).total.backward()
    assert all(weight.grad is not None for weight in bundle.model.parameters())


def test_batches_keep_to_the_budget_and_hold_everything_once():
    lengths = [random.Random(1).randint(1, 30) for _ in range(500)]
    for budget, rows in [(100, 1), (100, 3), (5, 1), (10_000, 5)]:
        found = list(batches(lengths, budget, rows))
        assert sorted(place for batch in found for place in batch) == list(range(500))
        for batch in found:
            cost = len(batch) * rows * max(lengths[place] for place in batch)
            assert cost <= budget or len(batch) == 1
    assert len(list(batches(lengths, 10_000_000))) == 1


def test_the_first_batches_get_but_shares_of_the_budget():
    found = list(batches([3] * 100, 60, shares=(0.1, 0.5)))
    assert [len(batch) for batch in found] == [2, 10, 20, 20, 20, 20, 8]


def test_finished_answers_of_letters_are_letters(bundle_of):
    hot = METHODS[2].model_copy(update={"temperature": 3.0})
    found = decode(bundle_of(), words(40), hot)
    finished = [one for one in found if one.hypotheses[0].is_finished]
    assert finished
    for one in finished:
        assert one.hypotheses[0].tokens[-1] == EOS
        assert set(one.values[0]) <= set("abcdefgh")
