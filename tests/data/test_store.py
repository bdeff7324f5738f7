import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from dragoman.data.batching import BatchStream
from dragoman.data.codec import Codecs, learn_codec, learn_codecs
from dragoman.data.corpus import read_corpus
from dragoman.data.rejects import Rejects
from dragoman.data.store import fingerprint, open_store
from dragoman.data.store_writing import write_store
from dragoman.errors import DataError
from dragoman.recipe.data import Characters, Data, Parallel
from dragoman.recipe.loading import recipe_from
from dragoman.recipe.model import Frontend
from dragoman.recipe.objectives import CrossEntropy, Ctc
from dragoman.recipe.run import Training
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import Numbers
from dragoman.recipe.speech import Speech
from dragoman.records import EOS, Example, Origin, Port


class Letters:
    """A codec in which a character is its code point."""

    def __init__(self, size=0x110000):
        self.port = Port("tokens", size)

    def encode(self, value, seed=None, source=None):
        assert seed is None
        if "#" in value:
            raise DataError("no such sign")
        return np.array([*map(ord, value), EOS], dtype=np.int32)


def recipe(corpora=1, **data):
    train = tuple(Parallel(source="a.de", target="a.en") for _ in range(corpora))
    return Recipe(
        run="run",
        data=Data(train=train, held_out_dev=0.1, **data),
        source=Characters(kind="characters"),
        target=Characters(kind="characters"),
        training=Training(max_steps=1),
    )


CODECS = Codecs(Letters(), Letters())
EXAMPLES = [
    Example("eins", ("one", "a"), "a.de:1", Origin("../x/a.de", 1)),
    Example("zwei\u2028", ("two",), "a.de:9", Origin("../x/a.de", 9)),
    Example("🦉", ("owl",), "b.de:2", Origin("b.de", 2)),
]
NUMBERED = [(0, EXAMPLES[0]), (0, EXAMPLES[1]), (2, EXAMPLES[2])]


def write(folder, examples=NUMBERED, codecs=CODECS, section=None, rejects=None):
    return write_store(folder, iter(examples), codecs, section or recipe(3), rejects or Rejects(strict=True))


def test_what_was_written_is_read(tmp_path):
    for store in (write(tmp_path / "cache" / "store"), open_store(tmp_path / "cache" / "store")):
        assert len(store) == 4
        values = [store.values(entry) for entry in range(4)]
        assert values == [("eins", "one"), ("eins", "a"), ("zwei\u2028", "two"), ("🦉", "owl")]
        assert [store.id(entry) for entry in range(4)] == ["a.de:1", "a.de:1", "a.de:9", "b.de:2"]
        assert store.origin(2) == Origin("../x/a.de", 9)
        assert store.corpus_sizes == [3, 0, 1]
        for entry, (source, target) in enumerate(values):
            tokens = store.encoded(entry)
            assert [each.dtype for each in tokens] == [np.int32, np.int32]
            assert tokens[0].tolist() == [*map(ord, source), EOS]
            assert tokens[1].tolist() == [*map(ord, target), EOS]
        assert store.source_lengths.tolist() == [5, 5, 6, 2]
        assert store.target_lengths.tolist() == [4, 2, 4, 4]
        assert store.source_lengths.dtype == np.int32
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["store"]


def test_small_vocabularies_take_two_bytes_a_token(tmp_path):
    sizes = {}
    for size in (1 << 16, (1 << 16) + 1):
        store = write(
            tmp_path / str(size), [(0, Example("a\ufffe", ("b",)))], Codecs(Letters(size), Letters(size))
        )
        assert store.encoded(0)[0].tolist() == [ord("a"), 0xFFFE, EOS]
        sizes[size] = (tmp_path / str(size) / "source_steps").stat().st_size
    assert sizes == {1 << 16: 6, (1 << 16) + 1: 12}


def test_examples_from_no_file_are_numbered(tmp_path):
    store = write(tmp_path / "store", [(0, Example("a", ("b",))), (0, Example("c", ("d",)))])
    assert [store.id(0), store.id(1), store.id(-1)] == ["1", "2", "2"]
    assert store.origin(0) is None


def test_rejects_of_encoding(tmp_path):
    examples = [
        Example("abcd", ("x",), origin=Origin("a", 1)),
        Example("abcde", ("x",), origin=Origin("a", 2)),
        Example("a", ("xyz", "xy"), origin=Origin("a", 3)),
        Example("#", ("x",), origin=Origin("a", 4)),
        Example("a", ("#",), origin=Origin("a", 5)),
        Example("a\ud800", ("x",), origin=Origin("a", 6)),
        Example("a", (), origin=Origin("a", 7)),
    ]
    rejects = Rejects(path=tmp_path / "rejected.jsonl")
    section = recipe(1, max_source_length=5, max_target_length=3)
    store = write(
        tmp_path / "store", [(0, example) for example in examples], section=section, rejects=rejects
    )
    assert [store.values(entry) for entry in range(len(store))] == [("abcd", "x"), ("a", "xy")]
    listed = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text("utf-8").splitlines()]
    assert [(row["kind"], row["line"]) for row in listed] == [
        ("source too long", 2),
        ("target too long", 3),
        ("source cannot be encoded", 4),
        ("target cannot be encoded", 5),
        ("source cannot be encoded", 6),
        ("empty target", 7),
    ]
    assert "6 steps, `data.max_source_length` is 5" in listed[0]["found"]
    assert "no such sign" in listed[2]["found"]


def sounds(speeds=(1.0,)):
    """A codec of speech that learns nothing."""
    section = Speech(kind="speech", sample_rate_hz=8000, mel_bins=12, max_seconds=2.0, speeds=speeds)
    return learn_codec(section, [], "source")


@pytest.fixture
def clips(tmp_path):
    """Sound files of rising length."""
    soundfile = pytest.importorskip("soundfile")
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        samples = 0.1 * np.random.default_rng(number).standard_normal(1600 + 800 * number)
        soundfile.write(path, samples, 8000)
    return [str(path) for path in paths]


def test_sound_is_stored_at_all_its_speeds(tmp_path, clips):
    codecs = Codecs(sounds((1.0, 0.8, 1.25)), Letters())
    section = recipe(max_source_length=40)
    examples = [(0, Example(clip, ("x", "yz"), origin=Origin("list", 1))) for clip in clips]
    rejects = Rejects(path=tmp_path / "rejected.jsonl")
    store = write(tmp_path / "store", examples, codecs, section, rejects)
    # The longest clip would fit as it is, but not at its slowest.
    assert rejects.counts == {"source too long": 1}
    assert (len(store), store.variants) == (4, 3)
    for entry, clip in enumerate(clip for clip in clips[:2] for _ in range(2)):
        expected = codecs.source.encode_variants(clip)
        assert store.values(entry)[0] == clip
        for variant, frames in enumerate(expected):
            found, _ = store.encoded(entry, variant)
            assert found.values.dtype == np.float32
            # Half of a float32: 11 bits.
            np.testing.assert_allclose(found.values, frames.values, rtol=2**-11, atol=1e-6)
            lengths = store.lengths_of_sources(np.array([entry]), np.array([variant]))
            assert lengths.tolist() == [len(frames)]
    plain = [len(codecs.source.encode(clip)) for clip in clips[:2]]
    assert store.source_lengths.tolist() == [plain[0], plain[0], plain[1], plain[1]]
    assert [store.encoded(entry)[1].tolist() for entry in (0, 1)] == [[ord("x"), EOS], [*map(ord, "yz"), EOS]]


@pytest.mark.parametrize(
    ("objective", "rejected"),
    [
        (CrossEntropy(kind="cross_entropy"), 0),
        (CrossEntropy(kind="cross_entropy", ctc_weight=0.3), 2),
        (Ctc(kind="ctc"), 2),
    ],
)
def test_targets_that_no_path_of_ctc_writes_are_rejected(tmp_path, clips, objective, rejected):
    plain = recipe()
    section = plain.model_copy(
        update={
            "model": plain.model.model_copy(update={"frontend": Frontend(kernels=(4,), strides=(4,))}),
            "training": plain.training.model_copy(update={"objective": objective}),
        }
    )
    steps = section.model.frontend.steps(len(sounds().encode(clips[0])))
    assert steps == 5
    # Equal neighbours need a blank between them.
    targets = ("abcde", "abcdef", "aacd", "aacde")
    rejects = Rejects(path=tmp_path / "rejected.jsonl")
    examples = [(0, Example(clips[0], (target,), origin=Origin("list", 1))) for target in targets]
    store = write(tmp_path / "store", examples, Codecs(sounds(), Letters()), section, rejects)
    assert len(store) == len(targets) - rejected
    assert rejects.counts == ({"target too long for ctc": rejected} if rejected else {})
    if rejected:
        assert "6 steps needed, the encoder has 5" in (tmp_path / "rejected.jsonl").read_text("utf-8")


def test_sound_that_cannot_be_read_is_rejected(tmp_path, clips):
    examples = [(0, Example(clip, ("x",), origin=Origin("list", 1))) for clip in ("nowhere.wav", clips[0])]
    rejects = Rejects()
    store = write(tmp_path / "store", examples, Codecs(sounds(), Letters()), rejects=rejects)
    assert rejects.counts == {"source cannot be encoded": 1}
    assert store.values(0)[0] == clips[0]


@pytest.mark.parametrize("scale", ["none", "global", "window"])
def test_numbers_are_stored_to_the_bit(tmp_path, scale):
    pairs = [("1 2 4", "8 16"), ("[[5], [null], [7]]", "[null, 3]"), ("-1e6", "0.1")]
    section = Numbers(kind="numbers", scale=scale, missing="zero")
    sides = zip(("source", "target"), zip(*pairs, strict=True), strict=True)
    codecs = Codecs(*(learn_codec(section, values, side) for side, values in sides))
    store = write(tmp_path / "store", [(0, Example(source, (target,))) for source, target in pairs], codecs)
    for entry, (source, target) in enumerate(pairs):
        expected = codecs.source.encode(source), codecs.target.encode(target, source=source)
        assert store.values(entry) == (source, target)
        for found, frames in zip(store.encoded(entry), expected, strict=True):
            assert np.array_equal(found.values, frames.values, equal_nan=True)
            assert (found.units is None) == (frames.units is None)
            assert found.units is None or np.array_equal(found.units, frames.units)
    assert store.source_lengths.tolist() == [3, 3, 1]
    assert store.target_lengths.tolist() == [2, 2, 1]
    assert open_store(tmp_path / "store").digest() == store.digest()


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no training example is left: 1 row rejected: 1 source cannot"):
        write(tmp_path / "store", [(0, Example("#", ("x",)))], rejects=Rejects())
    with pytest.raises(DataError, match="no training example is left"):
        write(tmp_path / "store", [])
    assert list(tmp_path.iterdir()) == []


def test_corpora_come_in_order(tmp_path):
    with pytest.raises(ValueError, match="corpus 0 comes after corpus 2"):
        write(tmp_path / "store", [*NUMBERED, NUMBERED[0]])


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupted():
        yield from NUMBERED
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", interrupted())
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", interrupted())
    assert len(open_store(tmp_path / "store")) == 4


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests_data_store import NUMBERED, write

    def killed():
        yield from NUMBERED
        os.kill(os.getpid(), signal.SIGKILL)
        yield NUMBERED[-1]

    write(Path(sys.argv[1]), killed())
"""


def run(code, *arguments):
    """Run code that may import this file as `tests_data_store`."""
    loader = f"""
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location("tests_data_store", {__file__!r})
        sys.modules["tests_data_store"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    """
    program = textwrap.dedent(loader) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True
    )


def test_a_killed_write_never_looks_complete(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    assert run(KILLED, folder).returncode == -9
    (partial,) = tmp_path.iterdir()
    with pytest.raises(DataError, match="not a prepared store"):
        open_store(folder)
    with pytest.raises(DataError, match="not a prepared store"):
        open_store(partial)
    # It may be the work of another process; after an hour without a write it is not.
    write(folder)
    assert partial.exists()
    later = partial.stat().st_mtime + 3601
    monkeypatch.setattr("dragoman.data.store_writing.time.time", lambda: later)
    write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_store_that_is_there_is_replaced(tmp_path):
    first = write(tmp_path / "store")
    second = write(tmp_path / "store", [(0, Example("neu", ("new",)))])
    assert len(second) == len(open_store(tmp_path / "store")) == 1
    assert second.values(0) == ("neu", "new")
    # Whoever has the old one open may go on.
    assert first.values(3) == ("🦉", "owl")


ARRAYS = ["source_steps", "target_text", "source_text_offsets", "target_lengths", "lines"]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_damage_names_the_file(tmp_path, name, damage):
    write(tmp_path / "store")
    path = tmp_path / "store" / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(DataError, match=f"{name}: damaged: .* expected .*delete the folder"):
        open_store(tmp_path / "store")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 2, "arrays": {"a": 1}}']
)
def test_damaged_description(tmp_path, content):
    write(tmp_path / "store")
    (tmp_path / "store" / "meta.json").write_text(content)
    with pytest.raises(DataError, match=r"meta\.json: damaged"):
        open_store(tmp_path / "store")


def test_foreign_types_and_versions_are_refused(tmp_path):
    write(tmp_path / "store")
    path = tmp_path / "store" / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "version": 99}))
    with pytest.raises(DataError, match="version 99, not 2"):
        open_store(tmp_path / "store")
    meta["arrays"]["source_steps"]["dtype"] = "|O8"
    path.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"source_steps of type '\|O8'"):
        open_store(tmp_path / "store")


def test_a_disk_that_refuses(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="the store cannot be written.*data.cache"):
        write(tmp_path / "file" / "store")


def test_ids_are_those_of_the_corpus(tmp_path):
    (tmp_path / "a.de").write_text("1\n\n3\n")
    (tmp_path / "a.en").write_text("1\n2\n3\n")
    section = Parallel(source="a.de", target="a.en")
    ids = [example.id for example in read_corpus(section, tmp_path, Rejects())]
    store = write(tmp_path / "store", ((0, each) for each in read_corpus(section, tmp_path, Rejects())))
    assert [store.id(entry) for entry in range(len(store))] == ids == ["a.de:1", "a.de:3"]


MEMORY = """
    import resource, sys
    from pathlib import Path
    from tests_data_store import Letters, write
    from dragoman.data.codec import Codecs, learn_codec
    from dragoman.data.corpus import read_corpus
    from dragoman.data.rejects import Rejects
    from dragoman.recipe.data import Table

    folder, codecs = Path(sys.argv[1]), Codecs(Letters(999), Letters(999))

    def prepare(rows):
        with (folder / "a.tsv").open("w") as file:
            file.writelines(f"source number {row}\\tand its target {row}\\n" for row in range(rows))
        examples = read_corpus(Table(file="a.tsv"), folder, Rejects())
        store = write(folder / "store", ((0, example) for example in examples), codecs)
        for begin in range(0, len(store), 1000):
            assert store.source_lengths[begin:begin + 1000].sum(dtype="int64") > 0
        assert len(store) == rows
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    small = prepare(6_000)
    print(prepare(60_000) - small)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    done = run(MEMORY, tmp_path)
    assert done.returncode == 0, done.stderr
    # The store has 10 MB more; only the pages of its lengths, 0.2 MB, are read.
    assert int(done.stdout) < 2500


def test_fingerprint(tmp_path):
    for name, content in {"a": "one", "b": "two", "c": "one"}.items():
        (tmp_path / name).write_text(content)
    a, b, c = (tmp_path / name for name in "abc")
    keys = [
        fingerprint([a, b], ["x"]),
        fingerprint([b, a], ["x"]),
        fingerprint([a], ["x"]),
        fingerprint([a, b], ["y"]),
        fingerprint([a, b], ["xy"]),
        fingerprint([a, b], ["x", "y"]),
        fingerprint([a, b], []),
    ]
    assert len(set(keys)) == len(keys)
    assert fingerprint([c, b], ["x"]) == keys[0]
    assert all(len(key) == 64 for key in keys)
    a.write_text("onE")
    assert fingerprint([a, b], ["x"]) != keys[0]
    with pytest.raises(DataError, match="gone: cannot be read: No such file"):
        fingerprint([tmp_path / "gone"], [])


def test_links_of_words_become_links_of_tokens_where_attention_is_guided(tmp_path):
    section = recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "a.tsv", "alignment": 2}], "held_out_dev": 0.1},
            "source": {"kind": "characters"},
            "target": {"kind": "words"},
            "training": {
                "max_steps": 1,
                "objective": {"kind": "cross_entropy", "guided_alignment": 1.0},
            },
        }
    )
    examples = [Example("ab c", ("X Y",), links=((0, 1), (1, 0))), Example("c", ("X",))]
    codecs = learn_codecs(section, lambda: examples)
    store = write(tmp_path / "store", [(0, one) for one in examples], codecs, section)
    # X is from c, Y from both letters of ab.
    assert store.links(0).tolist() == [[0, 3], [1, 0], [1, 1]]
    assert store.links(1).tolist() == []
    stream = BatchStream(store, codecs, section, 64, sampling=True)
    batch, _ = next(stream.iterate())
    row = batch.ids.index("1")
    assert batch.links_L3.tolist() == [[row, 0, 3], [row, 1, 0], [row, 1, 1]]
    assert torch.equal(batch.to(torch.device("cpu")).links_L3, batch.links_L3)


def test_stores_are_as_they_were_where_attention_is_not_guided(tmp_path):
    codecs = Codecs(Letters(), Letters())
    store = write(tmp_path / "store", [(0, Example("a", ("b",)))], codecs, recipe())
    assert store.links(0) is None
    assert not [path for path in (tmp_path / "store").iterdir() if "link" in path.name]
