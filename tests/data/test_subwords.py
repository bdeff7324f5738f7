import threading

import pytest

from dragoman.data.codec import learn_codec, learn_codecs
from dragoman.data.subwords import SubwordUnits
from dragoman.errors import DataError
from dragoman.recipe.data import Subwords
from dragoman.recipe.loading import recipe_from
from dragoman.records import Example

WORDS = ["lower", "lowest", "newer", "newest", "wider", "widest", "low", "new", "wide"]
TEXTS = [" ".join(WORDS[(i * k + k) % len(WORDS)] for k in range(1, 9)) for i in range(80)]


def learn(kind="bpe", size=300, say=lambda message: None, texts=TEXTS, **options):
    return learn_codec(Subwords(kind=kind, size=size, **options), texts, "source", say)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sampling_repeats_with_its_seed_and_differs_without(kind):
    codec = learn(kind, sampling=0.3)
    text = " ".join(WORDS)
    cuts = [tuple(codec.encode(text, seed)) for seed in range(20)]
    assert len(set(cuts)) > 5
    assert [tuple(codec.encode(text, seed)) for seed in reversed(range(20))] == cuts[::-1]
    assert {codec.decode(cut) for cut in cuts} == {text}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_sampled_cut_is_the_same_in_another_thread(kind):
    codec = learn(kind, sampling=0.3)
    text = " ".join(WORDS)
    here = [codec.encode(text, seed).tolist() for seed in range(5)]
    there = []
    thread = threading.Thread(target=lambda: there.extend(codec.encode(text, s).tolist() for s in range(5)))
    thread.start()
    thread.join()
    assert there == here


def test_a_seed_without_sampling_changes_nothing():
    codec = learn()
    assert codec.encode(TEXTS[0], 3).tolist() == codec.encode(TEXTS[0]).tolist()


def test_no_seed_never_samples():
    codec = learn(sampling=0.5)
    assert len({tuple(codec.encode(TEXTS[0])) for _ in range(10)}) == 1


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_size_that_the_data_cannot_fill_is_lowered_aloud(kind):
    said = []
    codec = learn(kind, size=8000, say=said.append)
    assert codec.port.size < 8000
    assert said == [
        f"source.size: lowered from 8,000 to {codec.port.size:,}, the data has no more {kind} pieces"
    ]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_size_that_cannot_hold_the_characters_is_refused_with_one_that_can(kind):
    with pytest.raises(DataError, match=r"source\.size: 100 is too small") as caught:
        learn(kind, size=100)
    enough = int(str(caught.value).split(" or more")[0].split()[-1].replace(",", ""))
    assert learn(kind, size=enough).port.size <= enough
    with pytest.raises(DataError):
        learn(kind, size=enough - 10)


def test_nothing_to_learn_from_is_said():
    with pytest.raises(DataError, match="source: nothing to learn subwords from"):
        learn(texts=["", ""])


def test_texts_far_longer_than_a_line_are_learnt_from():
    codec = learn(texts=["ab" * 100_000, " ".join(WORDS) * 500], size=290)
    assert codec.decode(codec.encode("abab wider")) == "abab wider"
    assert len(codec.encode("wider")) < 6


def test_characters_without_coverage_fall_back_to_bytes():
    codec = learn(texts=[*TEXTS * 20, "日"], character_coverage=0.999)
    assert codec.pieces(codec.encode("日")[-4:]) == ["<0xE6>", "<0x97>", "<0xA5>", "<eos>"]


def test_a_file_that_is_no_model_is_refused():
    with pytest.raises(DataError, match="is not a SentencePiece model"):
        SubwordUnits(b"nothing", "bpe", 0.0)


def recipe(**changes):
    subwords = {"kind": "bpe", "size": 300}
    return recipe_from(
        {
            "run": "r",
            "data": {"train": [{"source": "a", "target": "b"}], "held_out_dev": 0.1},
            "source": subwords,
            "target": subwords,
            "training": {"max_steps": 1},
            **changes,
        }
    )


def test_a_joint_vocabulary_is_learnt_from_both_sides():
    examples = [Example(text, ("XYZ " + text, "Q")) for text in TEXTS]
    codecs = learn_codecs(recipe(joint_vocabulary=True), lambda: examples)
    assert codecs.source is codecs.target
    assert {"X", "Q", "l"} <= set(codecs.source.pieces(range(codecs.source.port.size)))


def test_separate_vocabularies_see_their_own_side():
    examples = [Example(text, (text.upper(),)) for text in TEXTS]
    codecs = learn_codecs(recipe(), lambda: examples)
    assert "l" not in codecs.target.pieces(range(codecs.target.port.size))
    assert "L" not in codecs.source.pieces(range(codecs.source.port.size))
