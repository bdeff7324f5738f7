"""Answers have the phrases that they must have and none that they must not, whatever the model thinks."""

import itertools
import math
import random
import re

import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs
from dragoman.decoding.constrained import Wanted, followed_from
from dragoman.decoding.decode import decode
from dragoman.decoding.phrases import Spelling
from dragoman.decoding.search import search
from dragoman.model.build import build_model
from dragoman.recipe.decoding import Beam, Phrases
from dragoman.recipe.loading import recipe_from
from dragoman.records import EOS, Example

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "looked",
    "at",
    "hat",
    "of",
    "that",
    "man",
    "in",
    "café",
]
UNITS = {
    "characters": {"kind": "characters"},
    "bytes": {"kind": "bytes"},
    "words": {"kind": "words"},
    "bpe": {"kind": "bpe", "size": 320},
    "unigram": {"kind": "unigram", "size": 320},
}
DEMANDS = [
    Phrases(must=("hat",)),
    Phrases(must=("café", "the man")),
    Phrases(must=("the cat", "cat", "a")),
    Phrases(never=("a", "the", "cat", "s")),
    Phrases(must=("that",), never=("hat", "at")),
    Phrases(must=("at",), never=("cat", "e"), whole_words=False),
]


def sentences(count, seed=0):
    numbers = random.Random(seed)
    return [" ".join(numbers.choices(WORDS, k=numbers.randint(1, 6))) for _ in range(count)]


@pytest.fixture(scope="module", params=UNITS)
def bundle(request):
    side = UNITS[request.param]
    recipe = recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
            "source": side,
            "target": side,
            "training": {"max_steps": 1},
            "model": {
                "encoder": {"kind": "gru", "width": 8},
                "decoder": {"kind": "transformer", "width": 8, "layers": 1, "heads": 2},
            },
        }
    )
    examples = [Example(one, (other,)) for one, other in zip(sentences(60), sentences(60, 1), strict=True)]
    codecs = learn_codecs(recipe, lambda: examples)
    torch.manual_seed(1)
    model = build_model(recipe.model, codecs.source.port, codecs.target.port).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.5)
        model.head.bias[EOS] += 1
    return Bundle(recipe, codecs, model)


def beam(phrases=None, **changes):
    return Beam(method="beam", **({"beam": 4, "nbest": 3, "max_length": 20} | changes), phrases=phrases)


def has(text, phrase, whole_words):
    pattern = rf"(?<!\w){re.escape(phrase)}(?!\w)" if whole_words else re.escape(phrase)
    return re.search(pattern, text) is not None


def essence(predictions):
    return [(one.values, [(each.tokens, each.is_finished) for each in one.hypotheses]) for one in predictions]


@pytest.mark.filterwarnings("ignore:input")  # some of these vocabularies cannot do without what is forbidden
@pytest.mark.parametrize("phrases", DEMANDS, ids=str)
def test_answers_keep_to_their_phrases(bundle, phrases):
    examples = [Example(text) for text in sentences(2, 2)]
    changed = 0
    plain = list(decode(bundle, examples, beam()))
    for free, one in zip(plain, decode(bundle, examples, beam(phrases)), strict=True):
        changed += free.values != one.values
        for text, answer in zip(one.values, one.hypotheses, strict=True):
            assert not any(has(text, phrase, phrases.whole_words) for phrase in phrases.never)
            if answer.is_finished:
                assert all(has(text, phrase, phrases.whole_words) for phrase in phrases.must)
        assert one.hypotheses[0].is_finished or phrases.never
    assert changed or not phrases.must


@pytest.mark.filterwarnings("ignore:input")
@pytest.mark.parametrize("phrases", DEMANDS[1:5:3], ids=str)
def test_what_comes_out_does_not_depend_on_batches(bundle, phrases):
    examples = [Example(text) for text in sentences(4, 3)]
    together = list(decode(bundle, examples, beam(phrases)))
    alone = list(decode(bundle, examples, beam(phrases, batch_tokens=1)))
    assert essence(together) == essence(alone)
    scores = [[each.score for each in one.hypotheses] for one in together]
    assert list(itertools.chain(*scores)) == pytest.approx(
        [each.score for one in alone for each in one.hypotheses], abs=1e-9
    )


def test_phrases_that_are_there_anyway_change_nothing(bundle):
    example = Example("the cat sat")
    (free,) = decode(bundle, [example], beam())
    (bound,) = decode(bundle, [example], beam(Phrases(never=("zzz",))))
    assert essence([free]) == essence([bound])


def test_an_answer_that_cannot_have_its_phrases_in_time_says_so(bundle):
    phrases = Phrases(must=("the cat", "café"))
    with pytest.warns(RuntimeWarning, match=r"input 1: no answer with .*'café'.* was finished within"):
        (one,) = decode(bundle, [Example("a mat")], beam(phrases, max_length=2, min_length=1))
    assert not one.hypotheses[0].is_finished
    with pytest.warns(RuntimeWarning, match="an empty source has the empty answer, without 'café'"):
        list(decode(bundle, [Example("")], beam(Phrases(must=("café",)))))


# --- exactly, where distributions are known

A, B, C = 4, 5, 6
SIZE = 8
SPELLING = Spelling([b"", b"", b"", b"", b"a", b"b", b"ab", b" "])


def wanted(*must, never=(), whole_words=False):
    return Wanted(must, never, whole_words)


def exact(logits):
    return torch.tensor(logits, dtype=torch.float64)


def text_of(tokens):
    return b"".join(SPELLING.written[token] for token in tokens).decode()


@pytest.mark.parametrize(
    "demand", [wanted("abab"), wanted("ba", never=("aa",)), wanted("aba", "bb"), wanted(never=("ab", "b b"))]
)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_that_keep_to_them(fake, demand, alpha):
    model = fake.TableModel(fake.random_table(SIZE, 3, scale=1.0), SIZE)
    section = Beam(method="beam", beam=700, nbest=5, max_length=5, length_penalty=alpha)
    (answers,) = search(model, fake.sources(1), section, followed=followed_from([demand], SPELLING))
    scored = []
    for tokens in fake.leaves(SIZE, 5):
        text = text_of(tokens)
        if all(one in text for one in demand.must) and not any(one in text for one in demand.never):
            steps = [exact(model.table(1, tokens[:end])) for end in range(len(tokens))]
            total = sum(float(s.log_softmax(0)[t]) for s, t in zip(steps, tokens, strict=True))
            scored.append((total / ((5 + len(tokens)) / 6) ** alpha, tokens))
    best = sorted(scored, reverse=True)[:5]
    assert [one.tokens for one in answers] == [tokens for _, tokens in best]
    assert [one.score for one in answers] == pytest.approx([score for score, _ in best], abs=1e-9)


def test_log_probs_are_the_models_own(fake):
    model = fake.TableModel(fake.random_table(SIZE, 4), SIZE)
    section = Beam(method="beam", beam=3, nbest=3, max_length=9)
    (answers,) = search(model, fake.sources(1), section, followed=followed_from([wanted("abba")], SPELLING))
    for one in answers:
        steps = [exact(model.table(1, one.tokens[:end])) for end in range(len(one.tokens))]
        expected = [float(s.log_softmax(0)[t]) for s, t in zip(steps, one.tokens, strict=True)]
        assert list(one.log_probs) == pytest.approx(expected, abs=1e-9)


def test_each_source_has_its_own_phrases(fake):
    model = fake.TableModel(fake.random_table(SIZE, 5), SIZE)
    section = Beam(method="beam", beam=4, max_length=12)
    demands = [wanted("abb"), wanted(), wanted(never=("a",)), wanted("bb a", whole_words=True)]
    source = fake.sources(1, 1, 1, 2)
    found = search(model, source, section, followed=followed_from(demands, SPELLING))
    assert "abb" in text_of(found[0][0].tokens)
    assert found[1] == search(model, fake.sources(1), section)[0]
    assert "a" not in text_of(found[2][0].tokens)
    assert re.search(r"(?<!\w)bb a(?!\w)", text_of(found[3][0].tokens))


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_however_improbable_a_phrase_is_it_is_written_before_the_limit(fake, width, seed):
    def table(source, prefix):
        if len(prefix) < 9:
            return [-50.0 if token in (B, C) else 5.0 * (token == A) for token in range(SIZE)]
        return fake.random_table(SIZE, seed)(source, prefix)

    section = Beam(method="beam", beam=width, nbest=width, max_length=11)
    followed = followed_from([wanted("bb", "abb a")], SPELLING)
    ((best, *_),) = search(fake.TableModel(table, SIZE), fake.sources(0), section, followed=followed)
    assert best.is_finished
    assert "abb a" in text_of(best.tokens)


def test_where_nothing_is_allowed_a_source_fails_alone(fake):
    model = fake.TableModel(fake.random_table(SIZE, 6), SIZE)
    demands = [wanted(), wanted("a", never=("a",))]
    section = Beam(method="beam", beam=2, max_length=4)
    found = search(model, fake.sources(1, 1), section, followed=followed_from(demands, SPELLING))
    assert found[0] == search(model, fake.sources(1), section)[0]
    assert all(not one.is_finished and "a" not in text_of(one.tokens) for one in found[1])
    nothing = [wanted(never=("a", "b", " ")), wanted()]
    quiet = section.model_copy(update={"min_length": 1})
    failed, fine = search(model, fake.sources(1, 1), quiet, followed=followed_from(nothing, SPELLING))
    assert failed[0].score == -math.inf
    assert fine == search(model, fake.sources(1), quiet)[0]
