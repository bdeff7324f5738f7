"""The battery of search over pairs of every kind of encoder and decoder, in float64; see
`model/contracts.py`.

The vocabulary has three symbols beside the controls, so that every answer of a few tokens can be looked at.
What search says is held against teacher forcing, which knows nothing of states that are selected, kept and
carried on.
"""

import itertools

import pytest
import torch

from dragoman.decoding.score import teacher_forced
from dragoman.decoding.search import search
from dragoman.model.build import build_model
from dragoman.recipe import model as recipe
from dragoman.recipe.decoding import Beam, Greedy, Sample
from dragoman.records import BOS, EOS, Port, Sequence

SIZE = 7
LONGEST = 4
LENGTHS = (4, 1, 7, 2, 4)

ENCODERS = {
    **{kind: recipe.RecurrentEncoder(kind=kind, width=6) for kind in ("rnn", "gru", "lstm")},
    "transformer": recipe.TransformerEncoder(
        kind="transformer", width=8, layers=1, heads=2, feedforward_width=10
    ),
}
ADDITIVE = recipe.AdditiveAttention(kind="additive")
DECODERS = {
    "rnn": recipe.RecurrentDecoder(kind="rnn", width=8, attention=ADDITIVE),
    "gru general fed": recipe.RecurrentDecoder(
        kind="gru",
        width=8,
        layers=2,
        input_feeding=True,
        attention=recipe.SimpleAttention(kind="general"),
    ),
    "lstm location": recipe.RecurrentDecoder(
        kind="lstm", width=8, attention=recipe.LocationAttention(kind="location", filters=2, kernel_width=3)
    ),
    "lstm without attention": recipe.RecurrentDecoder(
        kind="lstm", width=8, attention=recipe.NoAttention(kind="none")
    ),
    "gru scaled_dot": recipe.RecurrentDecoder(
        kind="gru", width=8, attention=recipe.ScaledDotAttention(kind="scaled_dot", heads=2)
    ),
    **{
        f"transformer {positions}": recipe.TransformerDecoder(
            kind="transformer", width=8, layers=2, heads=2, feedforward_width=10, positions=positions
        )
        for positions in ("sinusoidal", "learnt", "rotary")
    },
}
METHODS = [
    Greedy(method="greedy", max_length=9),
    Beam(method="beam", beam=4, nbest=4, max_length=9),
    Beam(method="beam", beam=6, groups=3, diversity=0.7, nbest=6, max_length=9),
    Sample(method="sample", samples=3, max_length=9),
]


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]


@pytest.fixture(scope="module", params=DECODERS)
def decoder(request):
    return DECODERS[request.param]


@pytest.fixture(scope="module")
def model(encoder, decoder):
    torch.manual_seed(1)
    section = recipe.Model(encoder=encoder, decoder=decoder)
    model = build_model(section, Port("tokens", 20), Port("tokens", SIZE)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():  # far from where they start: what was read and written matters
            weight += 0.4 * torch.randn_like(weight)
    return model


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(2)
    lengths_B = torch.tensor(LENGTHS)
    return Sequence(torch.randint(4, 20, (len(LENGTHS), max(LENGTHS))), lengths_B)


def some(source, places):
    """The given sources, without padding that none of them needs."""
    lengths_B = source.lengths_B[places]
    return Sequence(source.values[places, : int(lengths_B.max())], lengths_B)


def ids(section):
    return section.method


def essence(found):
    return [[(one.tokens, one.is_finished) for one in answers] for answers in found]


def scores(found):
    return [one.score for answers in found for one in answers]


def rescored(model, source, place, answers):
    """Log-probabilities of answers by teacher forcing, each cut to its length."""
    lengths = [len(one.tokens) for one in answers]
    rows = [[*one.tokens, *[0] * (max(lengths) - len(one.tokens))] for one in answers]
    target = Sequence(torch.tensor(rows), torch.tensor(lengths))
    log_probs = teacher_forced(model, some(source, [place] * len(answers)), target).tolist()
    return [row[:length] for row, length in zip(log_probs, lengths, strict=True)]


def every_answer():
    """All answers that end, of at most LONGEST tokens."""
    symbols = range(EOS + 1, SIZE)
    for length in range(LONGEST):
        yield from ((*prefix, EOS) for prefix in itertools.product(symbols, repeat=length))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_answers(model, source, alpha):
    section = Beam(method="beam", beam=120, nbest=5, max_length=LONGEST, length_penalty=alpha)
    tree = list(every_answer())
    lengths = [len(tokens) for tokens in tree]
    rows = torch.tensor([[*tokens, *[0] * (LONGEST - len(tokens))] for tokens in tree])
    for place, answers in enumerate(search(model, source, section)):
        target = Sequence(rows, torch.tensor(lengths))
        log_probs = teacher_forced(model, some(source, [place] * len(tree)), target)
        totals = (log_probs * target.mask_BS).sum(dim=1) / ((5 + target.lengths_B.double()) / 6) ** alpha
        best = totals.sort(descending=True)
        assert [one.tokens for one in answers] == [tree[index] for index in best.indices[:5]]
        assert [one.score for one in answers] == pytest.approx(best.values[:5].tolist(), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(model, source, alpha):
    narrow = search(model, source, Beam(method="beam", beam=1, max_length=9, length_penalty=alpha))
    greedy = search(model, source, METHODS[0])
    assert essence(narrow) == essence(greedy)
    assert [one.log_probs for (one,) in narrow] == [one.log_probs for (one,) in greedy]


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_answers_score_as_in_teacher_forcing(model, source, section):
    """Many steps of a beam that re-orders its rows, with sources that leave it one after the other."""
    section = section.model_copy(
        update={"min_length": 4, "max_length": 20, "no_repeat_ngram": 3, "max_extra": 8}
    )
    found = search(model, source, section)
    lengths = {len(one.tokens) for answers in found for one in answers}
    assert len(lengths) > 1 or section.method == "greedy"
    for place, answers in enumerate(found):
        for one, log_probs in zip(answers, rescored(model, source, place, answers), strict=True):
            assert list(one.log_probs) == pytest.approx(log_probs, abs=1e-9)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_what_comes_out_does_not_depend_on_the_batch(model, source, section):
    together = search(model, source, section)
    for places in ([0], [1, 3], [4, 2, 0, 1, 3], [2]):
        found = search(model, some(source, places), section, keys=places)
        wanted = [together[place] for place in places]
        assert essence(found) == essence(wanted)
        assert scores(found) == pytest.approx(scores(wanted), abs=1e-9)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_answers_keep_to_the_rules(model, source, section):
    section = section.model_copy(update={"min_length": 5, "no_repeat_ngram": 2, "max_length": 8})
    prefixes = [[4, 5], [], [6], [5, 5, 4], []]
    for prefix, answers in zip(prefixes, search(model, source, section, prefixes=prefixes), strict=True):
        assert [one.score for one in answers if one.is_finished] == sorted(
            (one.score for one in answers if one.is_finished), reverse=True
        )
        if section.method == "beam":
            assert len({one.tokens for one in answers}) == len(answers)
        for one in answers:
            assert list(one.tokens[: len(prefix)]) == prefix
            assert len(one.tokens) + (not one.is_finished) > 5 and len(one.tokens) <= 8
            runs = list(itertools.pairwise(one.tokens))
            assert len(set(runs)) == len(runs)


@pytest.mark.parametrize("section", METHODS, ids=ids)
def test_reads_are_those_of_each_answers_own_steps(model, decoder, source, section):
    attends = decoder.kind == "transformer" or decoder.attention.kind != "none"
    for place, answers in enumerate(search(model, source, section, reads=True)):
        for one in answers:
            assert (one.reads is not None) == attends
            if one.reads is None:
                continue
            state = model.start(model.encode(some(source, [place])))
            with torch.inference_mode():
                decoded, _ = model.advance(torch.tensor([[BOS, *one.tokens[:-1]]]), state, reads=True)
            torch.testing.assert_close(one.reads, decoded.reads_BTS[0], rtol=0, atol=1e-9)
