"""The demo's task is a fair one: many languages, one meaning a text, nothing shared between its splits."""

from __future__ import annotations

import datetime
import itertools
import random
from collections import defaultdict

from dragoman.demo import dates
from dragoman.demo.demo import write_corpus

SOME = list(itertools.islice(dates.written_dates(5), 8000))


def test_dates_stand_in_at_least_fifteen_languages_in_equal_shares():
    languages = defaultdict(int)
    for date in SOME:
        languages[date.language] += 1
    assert len(languages) == len(dates.LANGUAGES) >= 15
    assert max(languages.values()) - min(languages.values()) <= 1


def test_every_meaning_is_a_date_of_the_century():
    for date in SOME:
        assert dates.FIRST_YEAR <= datetime.date.fromisoformat(date.iso).year <= dates.LAST_YEAR


def test_no_text_means_two_dates():
    meanings = defaultdict(set)
    for date in SOME:
        meanings[date.text].add(date.iso)
    assert [text for text, found in meanings.items() if len(found) > 1] == []


def test_the_same_seed_writes_the_same_dates():
    assert list(itertools.islice(dates.written_dates(5), 100)) == SOME[:100]
    assert list(itertools.islice(dates.written_dates(6), 100)) != SOME[:100]


def test_some_dates_stand_in_other_digits():
    assert any(any(c.isdigit() and not c.isascii() for c in date.text) for date in SOME)


def test_a_typing_error_changes_one_letter_and_no_digit():
    written = "le 3 septembre 2021"
    typed = [dates._mistype(written, random.Random(seed)) for seed in range(60)]
    assert all(abs(len(text) - len(written)) <= 1 for text in typed)
    assert all([c for c in text if c.isdigit()] == list("32021") for text in typed)
    assert sum(text != written for text in typed) > 50


def test_as_many_dates_are_mistyped_as_it_says(monkeypatch):
    mistyped = []
    monkeypatch.setattr(dates, "_mistype", lambda text, rng: mistyped.append(text) or text)
    list(itertools.islice(dates.written_dates(5), 3000))
    assert 0.6 * dates.TYPING_ERROR_SHARE < len(mistyped) / 3000 < 1.4 * dates.TYPING_ERROR_SHARE


def test_splits_share_no_source(tmp_path):
    languages = write_corpus(tmp_path)
    sources = {
        name: [line.split("\t")[0] for line in (tmp_path / name).read_text("utf-8").split("\n")[:-1]]
        for name in ("train.tsv", "dev.tsv", "test.tsv")
    }
    together = [source for listed in sources.values() for source in listed]
    assert len(together) == len(set(together))
    assert set(languages) == set(sources["test.tsv"])
