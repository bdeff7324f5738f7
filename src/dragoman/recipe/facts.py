"""What is measured of data before a recipe is planned: counts and lengths, nothing of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Corpus = Mapping[str, object]
"""A corpus as a recipe writes it, in plain values."""


@dataclass(frozen=True)
class Files:
    """Which files are learnt from and scored on; `notes` say how they and their columns were recognised."""

    folder: str
    train: Corpus
    dev: Corpus | None = None
    test: Corpus | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One side of pairs of text, measured on a sample: words are what stands between spaces."""

    mean_characters: float
    long_characters: int
    """Of 1,000 values one is longer."""
    mean_words: float
    long_words: int
    """Of 1,000 values one has more words."""
    sampled_words: int
    word_types: int
    """Different words in the sample."""
    single_types: int
    """Those of them that occur once."""
    alphabet: int
    """Different characters in the sample."""
    spaceless: float = 0.0
    """Share of the characters that are Chinese, Japanese, Thai and so on, written without spaces."""

    @property
    def is_closed(self) -> bool:
        """Whether the words are those of a small set that the sample has shown whole: phonemes, commands."""
        return (
            self.mean_words >= 2
            and self.word_types <= 1000
            and self.sampled_words >= 20 * self.word_types
            and self.single_types <= 0.002 * self.sampled_words
        )

    @property
    def is_short(self) -> bool:
        """Whether values are words and forms, not sentences."""
        return self.mean_words <= 2 and self.long_characters <= 100


@dataclass(frozen=True)
class PairFacts:
    """Pairs of text."""

    files: Files
    rows: int
    is_whole: bool
    """Whether all rows were counted; reading stops somewhere."""
    source: Side
    target: Side
    features: str | None = None
    """What stands between the grammatical features of a source, where it has some."""
    shared_letters: float = 0.0
    """Share of the target's letters that sources have too."""
    copied: float = 0.0
    """Share of the rows whose target is their source."""
    repeated: Mapping[str, float] = field(default_factory=dict)
    """Share of the rows of `dev` and `test` whose source came before."""


@dataclass(frozen=True)
class SpeechFacts:
    """Recordings and what is said in them."""

    files: Files
    rows: int
    hours: float
    longest_seconds: float
    sample_rate_hz: int
    """That of most recordings."""
    target: Side


@dataclass(frozen=True)
class SeriesFacts:
    """Series of numbers."""

    files: Files
    series: int
    variables: int
    steps: int
    """Of the series of median length."""
    shortest: int
    step_seconds: float | None
    """Between two times; None without times."""
    season: int | None
    season_why: str
    missing: float
    """Share of the values that are missing."""
    is_positive: bool
    dev_steps: int | None = None
    """Steps of a development file that goes on where the training file ends."""
    test_steps: int | None = None
    """Steps of a test file that goes on where those before it end."""

    @property
    def is_apart(self) -> bool:
        """Whether each variable is a series of its own."""
        return self.files.train.get("apart") is True

    @property
    def is_collection(self) -> bool:
        """Whether there are many series of different sizes."""
        return self.series > 1 and not self.is_apart


Facts = PairFacts | SpeechFacts | SeriesFacts
