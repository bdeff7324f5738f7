import functools
import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data import order
from dragoman.data.batching import START, BatchStream, Position, batches_of, collate, seed_of
from dragoman.data.codec import Codecs, learn_codecs
from dragoman.errors import CheckpointError, DataError
from dragoman.recipe.loading import recipe_from
from dragoman.records import EOS, PAD, Example, Origin, Recording

WORDS = ["lower", "lowest", "newer", "newest", "wider", "widest", "low", "new", "wide"]


class MemoryStore:
    """What BatchStream needs of a store, in memory."""

    variants = 1

    def __init__(self, pairs, codecs, corpus_sizes=None):
        self.pairs = pairs
        self.pairs_encoded = [(codecs.source.encode(s), codecs.target.encode(t)) for s, t in pairs]
        self.source_lengths = np.array([len(s) for s, _ in self.pairs_encoded], dtype=np.int32)
        self.target_lengths = np.array([len(t) for _, t in self.pairs_encoded], dtype=np.int32)
        self.corpus_sizes = corpus_sizes or [len(pairs)]

    def __len__(self):
        return len(self.pairs)

    def encoded(self, entry, variant=0):
        return self.pairs_encoded[entry]

    def links(self, entry):
        return None

    def lengths_of_sources(self, entries, variants):
        return self.source_lengths[entries]

    def values(self, entry):
        return self.pairs[entry]

    def id(self, entry):
        return str(entry)


def make_recipe(kind="characters", weights=(1.0,), seed=1, **data):
    section = {"kind": kind} | ({"size": 290, "sampling": 0.3} if kind == "bpe" else {})
    return recipe_from(
        {
            "run": "r",
            "seed": seed,
            "data": {
                "train": [{"source": "a", "target": "b", "weight": weight} for weight in weights],
                "held_out_dev": 0.1,
                **data,
            },
            "source": section,
            "target": section,
            "training": {"max_steps": 1},
        }
    )


def make_pairs(count, seed=0):
    numbers = np.random.default_rng(seed)

    def text():
        return " ".join(WORDS[i] for i in numbers.integers(0, len(WORDS), numbers.integers(1, 7)))

    return [(text(), text()) for _ in range(count)]


PAIRS = make_pairs(400)


def codecs_for(recipe):
    return learn_codecs(recipe, lambda: [Example(source, (target,)) for source, target in PAIRS])


PLAIN = make_recipe()
SAMPLED = make_recipe("bpe")
CODECS = codecs_for(PLAIN)
SUBWORDS = codecs_for(SAMPLED)
STORE = MemoryStore(PAIRS, CODECS)
SUBWORD_STORE = MemoryStore(PAIRS, SUBWORDS)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(order, "BLOCK", 8)
    monkeypatch.setattr(order, "WINDOW_BLOCKS", 4)


def plain(store=STORE, recipe=PLAIN, budget=300):
    return BatchStream(store, CODECS, recipe, budget, sampling=True)


def sampled(recipe=SAMPLED, budget=300, sampling=True):
    return BatchStream(SUBWORD_STORE, SUBWORDS, recipe, budget, sampling)


def epoch_of(stream, epoch=0):
    """The batches of one epoch with the position after each."""
    taken = []
    for batch, after in stream.iterate(Position(epoch, 0, 0)):
        taken.append((batch, after))
        if after.epoch > epoch:
            return taken
    raise AssertionError


def same(one, other):
    return one.ids == other.ids and all(
        torch.equal(a.values, b.values) and torch.equal(a.lengths_B, b.lengths_B)
        for a, b in ((one.source, other.source), (one.target, other.target))
    )


@pytest.mark.parametrize("multiple", [2, 8])
def test_sides_are_filled_up_to_a_multiple_that_the_recipe_allows(multiple):
    filled = BatchStream(STORE, CODECS, PLAIN, 300, sampling=True, pad_to=multiple)
    longest = PLAIN.data.max_source_length, PLAIN.data.max_target_length
    for (batch, _), (expected, _) in zip(epoch_of(filled), epoch_of(plain()), strict=True):
        assert batch.ids == expected.ids
        for side, before, most in zip(
            (batch.source, batch.target), (expected.source, expected.target), longest, strict=True
        ):
            steps, real = side.values.shape[1], before.values.shape[1]
            assert steps % multiple == 0 or steps == max(real, most)
            assert real <= steps < real + multiple
            assert torch.equal(side.values[:, :real], before.values)
            assert (side.values[:, real:] == 0).all()
            assert torch.equal(side.mask_BS[:, :real], before.mask_BS)
            assert not side.mask_BS[:, real:].any()


@pytest.mark.parametrize("make", [plain, sampled])
@settings(derandomize=True, deadline=None, max_examples=15)
@given(start=st.integers(0, 120), steps=st.integers(1, 10))
def test_going_on_from_any_position_gives_what_would_have_come(make, start, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "BLOCK", 8)
        patch.setattr(order, "WINDOW_BLOCKS", 4)
        whole = list(itertools.islice(make().iterate(), start + steps))
        position = whole[start - 1][1] if start else START
        position = Position.from_dict(position.as_dict())
        rest = list(itertools.islice(make().iterate(position), steps))
    for (expected, after_expected), (found, after_found) in zip(whole[start:], rest, strict=True):
        assert same(expected, found)
        assert after_found == after_expected


def test_going_on_reads_nothing_of_what_came_before(small_windows):
    class Counting(MemoryStore):
        def __init__(self):
            super().__init__(PAIRS, CODECS)
            self.read = []

        def encoded(self, entry, variant=0):
            self.read.append(entry)
            return super().encoded(entry)

    store = Counting()
    batch, _ = next(plain(store).iterate(Position(3, 5, 1)))
    assert sorted(map(str, store.read)) == sorted(batch.ids)


@pytest.mark.parametrize("make", [plain, sampled])
@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_has_every_entry_once(make, epoch, small_windows):
    ids = [name for batch, _ in epoch_of(make(), epoch) for name in batch.ids]
    assert sorted(map(int, ids)) == list(range(len(PAIRS)))


def test_weights_decide_how_often_entries_come():
    recipe = make_recipe(weights=(2.0, 0.5))
    store = MemoryStore(PAIRS, CODECS, corpus_sizes=[100, 300])
    stream = plain(store, recipe)
    epochs = [Counter(int(name) for batch, _ in epoch_of(stream, e) for name in batch.ids) for e in (0, 1)]
    for counts in epochs:
        assert [counts[entry] for entry in range(100)] == [2] * 100
    assert [epochs[0][entry] + epochs[1][entry] for entry in range(100, 400)] == [1] * 300


@pytest.mark.parametrize("make", [plain, sampled])
@pytest.mark.parametrize("budget", [60, 300, 5000])
def test_no_batch_is_over_its_budget(make, budget):
    for batch, _ in epoch_of(make(budget=budget)):
        longest = max(batch.source.values.shape[1], batch.target.values.shape[1])
        assert len(batch.ids) == 1 or len(batch.ids) * longest <= budget


def test_batches_hold_what_the_store_holds():
    for batch, _ in epoch_of(plain()):
        for row, name in enumerate(batch.ids):
            for side, stored in zip((batch.source, batch.target), STORE.encoded(int(name)), strict=True):
                length = int(side.lengths_B[row])
                assert side.values[row, :length].tolist() == stored.tolist()
                assert (side.values[row, length:] == PAD).all()


def test_epochs_and_seeds_mix_batches_differently():
    def members(stream, epoch):
        return {frozenset(batch.ids) for batch, _ in epoch_of(stream, epoch)}

    first = members(plain(), 0)
    assert len(first & members(plain(), 1)) < len(first) / 4
    assert len(first & members(plain(recipe=make_recipe(seed=2)), 0)) < len(first) / 4


def test_batches_do_not_come_sorted_by_length():
    lengths = [batch.target.values.shape[1] for batch, _ in epoch_of(plain())]
    ranks = np.argsort(np.argsort(lengths))
    assert abs(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) < 0.5


def cuts(stream, epoch):
    return {
        name: tuple(batch.source.values[row].tolist())
        for batch, _ in epoch_of(stream, epoch)
        for row, name in enumerate(batch.ids)
    }


def unpadded(found):
    return {name: tuple(token for token in tokens if token != PAD) for name, tokens in found.items()}


def test_sampling_cuts_differently_each_epoch_and_repeats():
    one, two = unpadded(cuts(sampled(), 0)), unpadded(cuts(sampled(), 1))
    assert sum(one[name] != two[name] for name in one) > 0.7 * len(PAIRS)
    assert unpadded(cuts(sampled(), 0)) == one
    assert unpadded(cuts(sampled(make_recipe("bpe", seed=2)), 0)) != one
    for name, tokens in one.items():
        assert SUBWORDS.source.decode(tokens) == PAIRS[int(name)][0]


def test_without_sampling_the_store_s_tokens_come():
    for name, tokens in unpadded(cuts(sampled(sampling=False), 0)).items():
        assert list(tokens) == SUBWORD_STORE.encoded(int(name))[0].tolist()


def test_a_cut_that_grows_over_the_longest_allowed_is_not_taken():
    longest = int(SUBWORD_STORE.source_lengths.max())
    recipe = make_recipe("bpe", max_source_length=longest)
    assert max(map(len, unpadded(cuts(sampled(), 0)).values())) > longest
    assert max(map(len, unpadded(cuts(sampled(recipe), 0)).values())) <= longest


def test_statistics_tell_the_epoch_before_it_comes():
    stream = plain()
    batches = [batch for batch, _ in epoch_of(stream)]
    assert stream.steps_in_epoch == pytest.approx(len(batches), rel=0.1)
    sides = [side for batch in batches for side in (batch.source, batch.target)]
    real = sum(int(side.lengths_B.sum()) for side in sides)
    assert stream.statistics.fill == pytest.approx(real / sum(s.values.numel() for s in sides), rel=0.02)


def test_steps_of_an_epoch_of_several_windows_are_near(small_windows):
    stream = plain()
    assert stream.steps_in_epoch == pytest.approx(len(epoch_of(stream)), rel=0.3)


@pytest.mark.parametrize("make", [plain, sampled])
def test_epochs_pass_evenly_and_end_whole(make, small_windows):
    stream, passed = make(), [0.0]
    for _, after in stream.iterate():
        passed.append(stream.epochs_before(after))
        if after.epoch == 2:
            break
    assert passed == sorted(set(passed))
    assert passed[-1] == 2
    assert 1.0 in passed
    # A stream that takes up a run there says the same.
    assert make().epochs_before(Position(1, 1, 1)) == stream.epochs_before(Position(1, 1, 1))


@pytest.mark.parametrize("position", [Position(0, 9, 0), Position(0, 0, 10**6), Position(-1, 0, 0)])
def test_a_position_of_other_data_is_refused(position):
    with pytest.raises(CheckpointError, match="belongs to other data"):
        next(plain().iterate(position))


def test_an_empty_store_is_refused():
    with pytest.raises(DataError, match="no training examples"):
        plain(MemoryStore([], CODECS))


def test_seeds_depend_on_everything():
    seeds = {seed_of(*key) for key in itertools.product((1, 2), (0, 1), (5, 6), (0, 1))}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seed_of(2**64, 0, 0, 0) >= 0


def test_collate_pads_at_the_end():
    batch = collate(
        [np.array([7, 8, EOS], np.int32), np.array([EOS], np.int32)], [np.array([9, EOS], np.int32)] * 2, "ab"
    )
    assert batch.source.values.tolist() == [[7, 8, EOS], [EOS, PAD, PAD]]
    assert batch.source.values.dtype == batch.source.lengths_B.dtype == torch.int64
    assert batch.source.lengths_B.tolist() == [3, 1]
    assert batch.source.mask_BS.tolist() == [[True] * 3, [True, False, False]]
    assert batch.ids == ("a", "b")


def test_batches_of_examples_come_in_the_same_order_with_first_references():
    examples = [Example(s, (t, "not this"), str(i)) for i, (s, t) in enumerate(PAIRS)]
    once, twice = (list(batches_of(examples, CODECS, 300)) for _ in range(2))
    assert all(same(a, b) for a, b in zip(once, twice, strict=True))
    assert sorted(int(name) for batch in once for name in batch.ids) == list(range(len(PAIRS)))
    for batch in once:
        assert batch.target.values.numel() <= 300 or len(batch.ids) == 1
        for row, name in enumerate(batch.ids):
            assert CODECS.target.decode(batch.target.values[row].tolist()) == PAIRS[int(name)][1]
    widths = [batch.target.values.shape[1] for batch in once]
    assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("example", "complaint"),
    [
        (Example("a", (), "x", Origin("dev.tsv", 3)), "dev.tsv:3: no target"),
        (Example("\ud800", ("a",), "x", Origin("dev.tsv", 4)), "dev.tsv:4: half a character"),
        (Example("a", ("\ud800",), "x"), "x: half a character"),
    ],
)
def test_an_example_without_a_loss_is_refused_with_its_place(example, complaint):
    with pytest.raises(DataError, match=complaint):
        list(batches_of([example], CODECS, 300))


def test_no_examples_make_no_batches():
    assert list(batches_of([], CODECS, 300)) == []


def test_one_codec_may_stand_on_both_sides():
    codecs = Codecs(CODECS.source, CODECS.source)
    stream = BatchStream(MemoryStore(PAIRS[:5], codecs), codecs, PLAIN, 300, sampling=False)
    assert {name for batch, _ in epoch_of(stream) for name in batch.ids} == set("01234")


RATE_HZ = 8000
SPEEDS = (1.0, 0.8, 1.25)
MASKS = {"frequency_masks": 1, "frequency_mask_bins": 6, "time_masks": 1, "time_mask_share": 0.5}
SPOKEN = [f"word {number}" for number in range(60)]


def make_speech_recipe(seed=1, **source):
    return recipe_from(
        {
            "run": "r",
            "seed": seed,
            "data": {"train": [{"manifest": "a.tsv"}], "held_out_dev": 0.1},
            "source": {"kind": "speech", "sample_rate_hz": RATE_HZ, "mel_bins": 12, **source},
            "target": {"kind": "words"},
            "training": {"max_steps": 1},
        }
    )


def recording(number):
    draw = np.random.default_rng(number)
    samples = 0.1 * draw.standard_normal(RATE_HZ // 5 + 80 * number)
    return Recording(samples.astype(np.float32), RATE_HZ)


class FrameStore(MemoryStore):
    """Sound in all its variants, and words."""

    def __init__(self, codecs):
        self.variants = codecs.source.variants
        self.sounds = [codecs.source.encode_variants(recording(number)) for number in range(len(SPOKEN))]
        self.words = [codecs.target.encode(text) for text in SPOKEN]
        self.source_lengths = np.array([len(sound[0]) for sound in self.sounds], dtype=np.int32)
        self.target_lengths = np.array([len(words) for words in self.words], dtype=np.int32)
        self.corpus_sizes = [len(SPOKEN)]

    def __len__(self):
        return len(self.sounds)

    def encoded(self, entry, variant=0):
        return self.sounds[entry][variant], self.words[entry]

    def links(self, entry):
        return None

    def lengths_of_sources(self, entries, variants):
        chosen = zip(entries.tolist(), variants.tolist(), strict=True)
        return np.array([len(self.sounds[entry][variant]) for entry, variant in chosen], dtype=np.int32)


def spoken_codecs(recipe):
    return learn_codecs(recipe, lambda: [Example(recording(0), tuple(SPOKEN))])


@functools.cache
def frame_store(speeds):
    return FrameStore(spoken_codecs(make_speech_recipe(speeds=speeds)))


def spoken(sampling=True, seed=1, speeds=(1.0,), **masks):
    recipe = make_speech_recipe(seed, speeds=speeds, **masks)
    return BatchStream(frame_store(speeds), spoken_codecs(recipe), recipe, 400, sampling)


def frames_of(stream, epoch=0):
    """The frames of each entry, by its number, without padding."""
    return {
        int(name): batch.source.values[row, : int(batch.source.lengths_B[row])].numpy()
        for batch, _ in epoch_of(stream, epoch)
        for row, name in enumerate(batch.ids)
    }


def speeds_of(found):
    """Which variant each entry came in, told by its length."""
    sounds = frame_store(SPEEDS).sounds
    return [[len(sound) for sound in sounds[entry]].index(len(found[entry])) for entry in sorted(found)]


def test_every_showing_has_its_speed(small_windows):
    stream = spoken(speeds=SPEEDS)
    first, second = (speeds_of(frames_of(stream, epoch)) for epoch in (0, 1))
    assert min(Counter(first + second).values()) > len(SPOKEN) / len(SPEEDS)
    assert sum(one != other for one, other in zip(first, second, strict=True)) > len(SPOKEN) / 3
    assert speeds_of(frames_of(spoken(speeds=SPEEDS))) == first
    assert speeds_of(frames_of(spoken(speeds=SPEEDS, seed=2))) != first


def test_batches_hold_frames_of_the_chosen_speed_within_the_budget():
    stream = spoken(speeds=SPEEDS)
    found = frames_of(stream)
    for entry, variant in zip(sorted(found), speeds_of(found), strict=True):
        assert np.array_equal(found[entry], frame_store(SPEEDS).sounds[entry][variant].values)
    for batch, _ in epoch_of(stream):
        assert len(batch.ids) == 1 or batch.source.values.shape[0] * batch.source.values.shape[1] <= 400
        assert not batch.source.values[~batch.source.mask_BS].any()


def test_masks_follow_from_seed_epoch_and_showing(small_windows):
    one, two = (frames_of(spoken(**MASKS), epoch) for epoch in (0, 1))
    again, other_seed, bare = (
        frames_of(spoken(**MASKS)),
        frames_of(spoken(seed=2, **MASKS)),
        frames_of(spoken()),
    )
    assert all(np.array_equal(one[entry], again[entry]) for entry in one)
    for changed in (two, other_seed, bare):
        differing = sum(not np.array_equal(one[entry], changed[entry]) for entry in one)
        assert differing > 0.8 * len(SPOKEN)
    means = {entry: frames.mean(axis=0) for entry, frames in bare.items()}
    for entry, frames in one.items():
        is_mean = np.isclose(frames, means[entry], atol=1e-6)
        assert (is_mean | (frames == bare[entry])).all()


def test_without_sampling_sound_is_as_it_is():
    bare = frames_of(spoken())
    for entry, frames in frames_of(spoken(sampling=False, speeds=SPEEDS, **MASKS)).items():
        assert np.array_equal(frames, bare[entry])


@pytest.mark.parametrize("start", [1, 5, 13])
def test_sound_goes_on_from_any_position(start, small_windows):
    whole = list(itertools.islice(spoken(speeds=SPEEDS, **MASKS).iterate(), start + 4))
    position = Position.from_dict(whole[start - 1][1].as_dict())
    rest = list(itertools.islice(spoken(speeds=SPEEDS, **MASKS).iterate(position), 4))
    for (expected, after_expected), (found, after_found) in zip(whole[start:], rest, strict=True):
        assert same(expected, found)
        assert after_found == after_expected
