"""Links between words, from attributions that are known."""

import numpy as np
import pytest

from dragoman.errors import UserError
from dragoman.explanation import alignment
from dragoman.explanation.alignment import align, alignments
from dragoman.explanation.attribution import Attribution
from dragoman.records import Example

TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 1, "heads": 2}
PAIR = Example("ein Hund sieht", ("DIE  KATZE",))


@pytest.fixture
def told(made, monkeypatch):
    """Align a pair of characters by given weights between characters: `{(target, source): weight}`."""

    def tell(weights, threshold=None):
        def given(subject, method):
            weights_TS = np.zeros((len(subject.pieces), len(subject.places)))
            for (target, source), weight in weights.items():
                weights_TS[target, source] = weight
            return Attribution(method, weights_TS, True)

        monkeypatch.setattr(alignment, "attribute", given)
        return align(made(), PAIR, "occlusion", threshold)

    return tell


def test_tokens_are_gathered_into_words(told):
    # "DIE" is 0-2, "KATZE" 5-9, EOS 10; "ein" is 0-2, "Hund" 4-7, "sieht" 9-13, EOS 14.
    found = told(
        {(0, 0): 1, (2, 4): 2, (1, 7): 3, (5, 13): 4, (10, 4): 99, (5, 14): 99, (3, 3): 99, (6, 9): -99}
    )
    assert found.source_words == ("ein", "Hund", "sieht") and found.target_words == ("DIE", "KATZE")
    np.testing.assert_allclose(found.weights_JI, [[1 / 6, 5 / 6, 0], [0, 0, 1]])
    assert found.links == ((1, 0), (2, 1))


def test_equal_words_give_the_first_and_words_without_weights_none(told):
    assert told({(0, 4): 1, (0, 9): 1}).links == ((1, 0),)
    assert told({}).links == ()


def test_a_threshold_links_words_that_have_a_share_of_each_other(told):
    # Of DIE: Hund 3/4, sieht 1/4; of KATZE: Hund 1/2, sieht 1/2.
    weights = {(0, 4): 3, (0, 9): 1, (5, 4): 1, (5, 9): 1}
    assert told(weights, 0.2).links == ((1, 0), (1, 1), (2, 0), (2, 1))
    # Back: of Hund 0.6 to DIE and 0.4 to KATZE, of sieht 1/3 and 2/3.
    assert told(weights, 0.45).links == ((1, 0), (2, 1))
    assert told(weights, 0.7).links == ()


@pytest.mark.parametrize("method", ["attention", "gradient_input", "occlusion"])
def test_models_of_any_kind_say_the_same_each_time(made, method):
    bundle = made(model={"encoder": TRANSFORMER, "decoder": {"kind": "gru", "width": 8}})
    one, again = (align(bundle, PAIR, method) for _ in range(2))
    assert one.links == again.links and len(one.links) == 2
    assert {target for _, target in one.links} == {0, 1}
    np.testing.assert_allclose(one.weights_JI.sum(1), 1)


@pytest.mark.parametrize("decoder", [TRANSFORMER, {"kind": "gru", "width": 8}])
def test_many_pairs_are_aligned_as_each_alone(made, decoder):
    """Sources and targets of all lengths, more than are read at once."""
    bundle = made(model={"encoder": TRANSFORMER, "decoder": decoder})
    words = ["ein", "Hund", "sieht", "die", "Katze"]
    pairs = [
        Example(" ".join(words[: 1 + n % 5]), (" ".join(words[n % 3 : 4]).upper(),), str(n))
        for n in range(67)
    ]
    together = list(alignments(bundle, iter(pairs), threshold=0.3))
    assert len(together) == len(pairs)
    for pair, one in list(zip(pairs, together, strict=True))[::9]:
        alone = align(bundle, pair, threshold=0.3)
        assert (one.source_words, one.target_words) == (alone.source_words, alone.target_words)
        np.testing.assert_allclose(one.weights_JI, alone.weights_JI, rtol=1e-9)
        assert one.links == alone.links
    assert not list(alignments(bundle, []))


def test_what_cannot_be_aligned_says_so(made, speech_made):
    with pytest.raises(UserError, match="threshold above 0 and up to 1, found 0"):
        align(made(), PAIR, threshold=0)
    with pytest.raises(UserError, match="one target of each source, found 2"):
        align(made(), Example("ein", ("A", "B")))
    bundle, example = speech_made(None)
    with pytest.raises(UserError, match="reads speech and writes words; words can be aligned where both are"):
        align(bundle, example)
    alone = made(
        model={"encoder": {"kind": "gru", "width": 8}, "decoder": {"kind": "none"}},
        training={"objective": {"kind": "ctc"}},
        decoding={"method": "ctc_greedy"},
    )
    with pytest.raises(UserError, match="has no decoder .* as a whole and not word by word"):
        align(alone, PAIR)
