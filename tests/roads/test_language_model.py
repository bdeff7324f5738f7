"""A language model, with the vocabulary of another run, puts right what that run cannot know."""

import random

import pytest

import dragoman
from dragoman.cli.program import app
from dragoman.errors import DataError, UserError
from dragoman.records import Example

LETTERS = "abcdef"
TRAINING = {
    "optimizer": {"kind": "adam", "learning_rate": 0.005},
    "schedule": {"kind": "cosine", "warmup_steps": 10, "final_fraction": 0.05},
    "batch_tokens": 1024,
    "validate_every": 100,
    "checkpoint_every": 1000,
    "threads": 1,
    "precision": "fp32",
}


def transformer(kind="transformer"):
    return {"kind": kind, "width": 32, "layers": 1, "heads": 4, "feedforward_width": 64, "dropout": 0.0}


def drawn(numbers):
    return "".join(numbers.choices(LETTERS, k=5))


def with_a_gap(word, numbers):
    place = numbers.randrange(len(word))
    return word[:place] + "?" + word[place + 1 :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Strings at random with a letter left out, and a lexicon of twenty words."""
    place, numbers = tmp_path_factory.mktemp("language"), random.Random(4)
    words = (drawn(numbers) for _ in range(3000))
    place.joinpath("pairs.tsv").write_text("".join(f"{with_a_gap(w, numbers)}\t{w}\n" for w in words))
    lexicon = [drawn(numbers) for _ in range(20)]
    place.joinpath("lexicon.tsv").write_text("\n".join(lexicon * 10) + "\n")
    examples = "".join(f"{with_a_gap(word, numbers)}\t{word}\n" for word in lexicon * 3)
    place.joinpath("test.tsv").write_text(examples)
    return place


def recipe_of(folder, name, steps, data, source, **sections):
    return dragoman.recipe_from(
        {
            "run": str(folder / name),
            "data": {"cache": str(folder / "cache"), **data},
            "source": source,
            "target": {"kind": "characters"},
            "model": {"encoder": transformer(), "decoder": transformer()},
            "training": TRAINING | {"max_steps": steps},
            "decoding": {"method": "beam", "beam": 4},
            **sections,
        },
        folder,
    )


@pytest.fixture(scope="module")
def gaps(folder):
    data = {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.05}
    return dragoman.train(recipe_of(folder, "gaps", 300, data, {"kind": "characters"}))


def language_data(folder):
    column = {"file": "lexicon.tsv", "source": 0, "target": 0}
    return {"train": [column], "dev": column, "target_vocabulary": str(folder / "gaps")}


@pytest.fixture(scope="module")
def language(folder, gaps):
    return dragoman.train(recipe_of(folder, "language", 100, language_data(folder), {"kind": "nothing"}))


def test_a_language_model_knows_what_is_usual(language):
    usual = language.folder.parent.joinpath("lexicon.tsv").read_text().split()[0]
    found = list(language.score([Example("whatever", (usual, usual[::-1])), ("other", usual)]))
    assert found[0].targets[0].total > found[0].targets[1].total + 3
    assert found[0].targets[0].total == pytest.approx(found[1].targets[0].total)
    assert found[0].targets[0].total > -4.5  # one of twenty words: -3
    assert dragoman.check(language.folder) == []


def test_gaps_are_filled_with_words_of_the_language(folder, gaps, language):
    pairs = [line.split("\t") for line in folder.joinpath("test.tsv").read_text().splitlines()]
    sources, targets = zip(*pairs, strict=True)
    fused = dragoman.load(gaps.folder, "cpu", language_model=language.folder, language_model_weight=0.5)

    def right(bundle, *changes):
        return sum(a == b for a, b in zip(bundle.predict(sources, *changes), targets, strict=True)) / 60

    assert right(gaps) < 0.4
    assert right(fused) > 0.8
    assert right(fused, "decoding.batch_tokens=1") == right(fused)
    data = dragoman.recipe.data.Table(file=str(folder / "test.tsv"))
    report = dragoman.evaluate(
        gaps.folder,
        "evaluation.metrics=[exact_match]",
        data=data,
        overlap=False,
        device="cpu",
        language_model=language.folder,
        language_model_weight=0.5,
    )
    assert report.scores[0].value == pytest.approx(100 * right(fused))


def test_what_is_no_language_model_of_the_run_is_refused(folder, gaps, language):
    with pytest.raises(UserError, match="expected a language model, found one that reads characters"):
        dragoman.load(gaps.folder, language_model=gaps.folder)
    with pytest.raises(UserError, match="expected a positive number, found 0"):
        dragoman.load(gaps.folder, language_model=language.folder, language_model_weight=0)
    data = language_data(folder) | {"target_vocabulary": None}
    other = dragoman.train(recipe_of(folder, "other", 1, data, {"kind": "nothing"}))
    with pytest.raises(UserError, match="its target vocabulary is not that of .*target_vocabulary: "):
        dragoman.load(gaps.folder, language_model=other.folder)
    with pytest.raises(DataError, match="expected `target` to say the same here"):
        recipe = recipe_of(folder, "third", 1, language_data(folder), {"kind": "nothing"})
        dragoman.train(recipe, "target.lowercase=true")
    with pytest.raises(DataError, match="nowhere"):
        dragoman.train(recipe, "data.target_vocabulary=nowhere")


def test_the_command_line_takes_a_language_model(gaps, language, capfdbinary, tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("ab?de\n", "utf-8")
    options = [str(gaps.folder), str(given), "--device", "cpu"]
    app(["predict", *options, "--lm", str(language.folder), "--lm-weight", "50"], standalone_mode=False)
    usual = language.folder.parent.joinpath("lexicon.tsv").read_text().split()
    assert capfdbinary.readouterr().out.decode().strip() in usual
    with pytest.raises(UserError, match="--lm-weight goes with --lm RUN"):
        app(["predict", *options, "--lm-weight", "0.5"], standalone_mode=False)


def test_nothing_explains_what_a_language_model_says(language):
    from dragoman.explanation.subject import subject_of

    with pytest.raises(UserError, match="a language model reads no source"):
        subject_of(language, Example("a"))
