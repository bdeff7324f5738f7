"""Plans: every recipe loads, choices have reasons, and data of known kinds get what suits them."""

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import RecipeError
from dragoman.recipe.facts import Files, PairFacts, SeriesFacts, Side, SpeechFacts
from dragoman.recipe.loading import load_recipe, recipe_from
from dragoman.recipe.plan import plan

PAIRS = Files("/data", {"file": "train.tsv"}, {"file": "dev.tsv"}, {"file": "test.tsv"}, ("Found so.",))
WORDS = Side(8.5, 21, 1.0, 1, 30_000, 29_000, 28_000, 30)
PHONEMES = Side(15.0, 40, 7.0, 20, 230_000, 124, 40, 90)
SENTENCES = Side(62.0, 150, 12.0, 33, 350_000, 10_000, 4_000, 80)
CHINESE = Side(11.0, 30, 1.0, 2, 20_000, 18_000, 17_000, 2_600, 0.95)
COMMANDS = Side(40.0, 80, 8.0, 20, 400_000, 13, 0, 20)


def pairs(source, target, rows, **facts):
    return PairFacts(PAIRS, rows, True, source, target, **facts)


def sections(facts):
    return plan(facts).mapping


def test_a_plan_loads_and_says_why(tmp_path):
    planned = plan(pairs(SENTENCES, SENTENCES, 29_000, shared_letters=0.98))
    path = tmp_path / "recipe.yaml"
    path.write_text(planned.text(), "utf-8")
    loaded = load_recipe(path)
    assert loaded == recipe_from({"run": loaded.run, **planned.mapping})
    assert planned.text().startswith("# Found so.\n")
    for key in ("source", "joint_vocabulary", "model.encoder", "training.max_steps", "evaluation.metrics"):
        assert planned.reasons[key]


def test_sentences_get_subwords_of_one_vocabulary_where_letters_are_shared():
    found = sections(pairs(SENTENCES, SENTENCES, 29_000, shared_letters=0.98))
    assert found["source"] == found["target"] == {"kind": "bpe", "size": 4000}
    assert found["joint_vocabulary"] and found["model"]["tie"] == "all"
    assert found["training"]["watch"] == "bleu"
    apart = sections(pairs(SENTENCES, SENTENCES, 29_000, shared_letters=0.2))
    assert "joint_vocabulary" not in apart
    assert apart["model"]["tie"] == "decoder"


def test_words_to_phonemes_get_characters_words_and_an_lstm():
    found = sections(pairs(WORDS, PHONEMES, 33_000))
    assert (found["source"]["kind"], found["target"]["kind"]) == ("characters", "words")
    assert found["model"]["encoder"]["kind"] == "lstm"
    assert found["decoding"]["length_penalty"] == 0
    assert sections(pairs(WORDS, PHONEMES, 119_000))["model"]["encoder"]["kind"] == "transformer"


def test_inflection_gets_feature_symbols_and_rotary_positions():
    found = sections(pairs(WORDS, WORDS, 7_000, features=";"))
    assert found["source"] == {"kind": "characters", "features": ";"}
    assert found["target"]["kind"] == "characters"
    assert found["model"]["encoder"]["positions"] == "rotary"
    assert found["training"]["watch"] == "exact_match"


def test_a_language_without_spaces_is_scored_by_characters():
    found = sections(pairs(SENTENCES, CHINESE, 18_000))
    assert found["target"]["kind"] == "unigram"
    assert found["evaluation"]["metrics"][0] == {"name": "bleu", "tokenize": "char"}


def test_commands_get_words_and_copies_get_exact_match_and_documents_rouge():
    assert sections(pairs(COMMANDS, COMMANDS, 16_000))["source"] == {"kind": "words"}
    mended = sections(pairs(SENTENCES, SENTENCES, 30_000, copied=0.4, shared_letters=1.0))
    assert mended["evaluation"]["metrics"][0] == "exact_match"
    documents = replace(SENTENCES, mean_words=150.0, long_words=3000, mean_characters=900.0)
    summaries = sections(pairs(documents, SENTENCES, 14_000))
    assert summaries["training"]["watch"] == "rougeL"


def test_scored_files_with_repeated_sources_are_merged():
    found = sections(pairs(WORDS, PHONEMES, 33_000, repeated={"dev": 0.1, "test": 0.0}))
    assert found["data"]["dev"]["merge"] and "merge" not in found["data"]["test"]


def test_less_data_get_more_dropout_and_more_passes():
    rates = [
        sections(pairs(WORDS, WORDS, rows))["model"]["encoder"]["dropout"]
        for rows in (800, 8_000, 40_000, 120_000)
    ]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 4


def test_without_other_files_a_share_is_held_out():
    files = replace(PAIRS, dev=None, test=None)
    data = plan(replace(pairs(WORDS, WORDS, 300), files=files)).mapping["data"]
    assert data["held_out_dev"] == data["held_out_test"] == 0.1
    large = plan(replace(pairs(SENTENCES, SENTENCES, 10**6), files=files)).mapping["data"]
    assert 0.001 <= large["held_out_dev"] <= 0.01
    only_dev = plan(replace(pairs(WORDS, WORDS, 300), files=replace(PAIRS, test=None))).mapping["data"]
    assert not {"held_out_dev", "held_out_test"} & only_dev.keys()


def test_the_time_is_bounded_and_said():
    planned = plan(pairs(SENTENCES, SENTENCES, 5_000_000))
    assert "120 minutes" in planned.reasons["training.max_steps"]
    assert planned.mapping["training"]["max_steps"] < 5_000_000


def test_overrides_change_a_plan_and_take_the_place_of_reasons():
    changed = plan(pairs(WORDS, WORDS, 7_000)).changed(["model.encoder.kind=gru", "training.max_steps=7"])
    assert changed.mapping["training"]["max_steps"] == 7
    assert "heads" not in changed.mapping["model"]["encoder"]
    assert not {"training.max_steps", "model.encoder"} & changed.reasons.keys()
    assert "training.average" in changed.reasons
    assert "model.encoder.kind=gru" in changed.text()
    with pytest.raises(RecipeError, match="key=value"):
        plan(pairs(WORDS, WORDS, 7_000)).changed(["steps"])


def test_speech_gets_a_conformer_with_ctc_and_words_where_few_are_said():
    files = Files("/data", {"manifest": "train.tsv"})
    facts = SpeechFacts(files, 1_150, 1.0, 9.0, 16_000, PHONEMES)
    found = sections(replace(facts, target=SENTENCES))
    assert found["target"]["kind"] == "characters"
    assert found["model"]["encoder"]["kind"] == "conformer"
    assert found["training"]["objective"]["ctc_weight"] > 0
    assert sections(facts)["target"]["kind"] == "words"
    phone = sections(replace(facts, sample_rate_hz=8_000, longest_seconds=45.2))
    assert (phone["source"]["sample_rate_hz"], phone["source"]["max_seconds"]) == (8000, 46.0)


def test_series_are_split_by_time_and_read_in_a_season():
    files = Files("/data", {"series": "load.csv", "time": "date", "apart": True})
    found = sections(SeriesFacts(files, 1, 7, 17_420, 17_420, 3600.0, 24, "A day.", 0.0, False))
    data = found["data"]
    assert (
        data["train"][0]["part"][1]
        == data["dev"]["part"][0]
        < data["dev"]["part"][1]
        == data["test"]["part"][0]
    )
    assert data["windows"] == {"context": 336, "horizon": 48}
    assert found["target"]["season"] == 24
    assert found["model"]["rollout"]["linear"]


def test_a_test_file_of_series_goes_on_where_training_ends():
    files = Files("/data", {"series": "a.csv", "format": "rows"}, None, {"series": "b.csv", "format": "rows"})
    facts = SeriesFacts(files, 414, 1, 960, 700, None, 24, "So.", 0.01, True, None, 48)
    found = sections(facts)
    assert found["data"]["test"] == {"series": ["a.csv", "b.csv"], "format": "rows", "part": [-48, None]}
    assert found["data"]["train"][0]["part"] == [None, -48]
    assert found["data"]["windows"]["horizon"] == 48
    assert found["source"]["missing"] == "forward"
    assert found["evaluation"]["metrics"][:2] == ["smape", "mase"]
    dev = replace(files, dev={"series": "d.csv", "format": "rows"})
    data = sections(replace(facts, files=dev, dev_steps=30))["data"]
    assert data["dev"]["series"] == ["a.csv", "d.csv"]
    assert data["test"]["series"] == ["a.csv", "d.csv", "b.csv"]


sides = st.builds(
    lambda words, characters, types: Side(
        words * characters,
        int(words * characters * 3) + 1,
        words,
        int(words * 3) + 1,
        10_000,
        types,
        types // 2,
        90,
    ),
    st.floats(1, 400),
    st.floats(1, 9),
    st.integers(2, 9_000),
)


@pytest.mark.parametrize(("rows", "share"), [(3, 0.33), (60, 0.2), (100, 0.1), (50_000, 0.04)])
def test_of_few_rows_more_are_held_out_and_not_for_a_test(rows, share):
    alone = replace(
        pairs(WORDS, WORDS, rows), files=Files("/data", {"file": "all.tsv"}, notes=("Found so.",))
    )
    planned = plan(alone)
    assert planned.mapping["data"]["held_out_dev"] == share
    assert planned.mapping["data"].get("held_out_test") == (None if rows < 100 else share)
    assert planned.notes[0] == "Found so."
    assert [note.startswith(f"FEW ROWS: {rows} are enough to see") for note in planned.notes[1:]] == [
        True
    ] * (rows < 100)


@pytest.mark.parametrize(
    ("rows", "steps", "passes"), [(3, 500, "500"), (150, 500, "500"), (400, 1000, "500"), (2000, 1500, "150")]
)
def test_rows_that_fit_into_a_batch_are_passed_over_no_more_often_than_there_are_steps(rows, steps, passes):
    chosen = plan(pairs(WORDS, WORDS, rows))
    assert chosen.mapping["training"]["max_steps"] == steps
    found = re.match(r"About ([\d,]+) passes over the data", chosen.reasons["training.max_steps"])
    assert found and abs(int(found[1].replace(",", "")) - int(passes)) <= 0.15 * int(passes)
    if rows == 3:
        assert "less than 5 minutes" in chosen.reasons["training.max_steps"]


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 10**8), st.sampled_from([None, ";"]), st.floats(0, 1), st.floats(0, 1))
def test_any_pairs_get_a_recipe_that_can_be(source, target, rows, features, shared, copied):
    facts = pairs(source, target, rows, features=features, shared_letters=shared, copied=copied)
    recipe_from({"run": "runs/x", **plan(facts).mapping})


def test_any_series_and_recordings_get_a_recipe_that_can_be():
    lengths = (3, 10, 60, 400, 5_000, 10**6)
    for steps, season, series, apart, test in itertools.product(
        lengths, (None, 4, 7, 24, 96, 365), (1, 40), (True, False), (None, 1, 48)
    ):
        files = Files("/d", {"series": "a.csv", **({"apart": True} if apart else {})})
        files = files if test is None else replace(files, test={"series": "b.csv"})
        facts = SeriesFacts(files, series, 3, steps, steps // 2 + 1, None, season, "", 0.1, True, None, test)
        recipe_from({"run": "runs/x", **plan(facts).mapping})
    for hours, rows, longest in itertools.product((0.01, 3.0, 300.0), (5, 10**5), (0.5, 100.0)):
        facts = SpeechFacts(Files("/d", {"manifest": "a.tsv"}), rows, hours, longest, 44_100, SENTENCES)
        recipe_from({"run": "runs/x", **plan(facts).mapping})
