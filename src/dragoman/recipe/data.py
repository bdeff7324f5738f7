"""What a recipe can say about examples and codecs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dragoman.recipe.columns import Column, Columns
from dragoman.recipe.section import Section, refuse
from dragoman.recipe.series import Numbers, SeriesFiles, Windows
from dragoman.recipe.speech import Manifest, Speech

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Parallel(Section):
    """Two or more text files whose lines belong together; `.gz`, `.xz`, `.bz2` are read as they are."""

    source: str
    """File with one source a line."""
    target: str | tuple[str, ...]
    """File with one target a line; several files are several references of each source."""
    alignment: str | None = None
    """File with an alignment a line, words of the source to words of the target: `0-0 1-2`. Training only."""
    weight: float = Field(1.0, gt=0)
    """How often an epoch shows each example: 2 is twice, 0.5 is every other epoch. Training only."""
    merge: bool = False
    """Lines with the same source become one example with several references. Development and test only."""


class Table(Section):
    """One file with a row an example: TSV, CSV, JSON lines or Parquet, plain or compressed."""

    file: str
    """The file; `.gz`, `.xz`, `.bz2` are read as they are."""
    format: Literal["auto", "tsv", "csv", "jsonl", "parquet"] = "auto"
    """`auto` goes by the name of the file."""
    source: Columns = 0
    """Column of the source: its number from 0, or its name. Several columns are joined with a tab."""
    target: Columns = 1
    """Column of the target. Several columns are several references."""
    alignment: Column | None = None
    """Column of alignments, words of the source to words of the target: `0-0 1-2`. Training only."""
    weight: float = Field(1.0, gt=0)
    """How often an epoch shows each example: 2 is twice, 0.5 is every other epoch. Training only."""
    merge: bool = False
    """Rows with the same source become one example with several references. Development and test only."""


def _kind_of_corpus(value: Any) -> str:
    """Tell corpora apart by the keys that only one of them has."""
    match value:
        case Manifest() | {"manifest": _}:
            return "manifest"
        case SeriesFiles() | {"series": _}:
            return "series"
        case Table() | {"file": _} | {"format": _}:
            return "table"
        case _:
            return "parallel"


Corpus = Annotated[
    Annotated[Parallel, Tag("parallel")]
    | Annotated[Table, Tag("table")]
    | Annotated[Manifest, Tag("manifest")]
    | Annotated[SeriesFiles, Tag("series")],
    Discriminator(_kind_of_corpus),
]


class Data(Section):
    """Where examples come from and which of them are held out."""

    folder: str = "."
    """Where relative paths of this section start; itself relative to the recipe."""
    train: tuple[Corpus, ...] = Field(min_length=1)
    """Corpora to learn from, mixed by their weights."""
    dev: Corpus | None = None
    """Examples to validate on while training."""
    test: Corpus | None = None
    """Examples to score once, at the end."""
    held_out_dev: Fraction = 0.0
    """Share of `train` held out for validation, by a stable hash of the source."""
    held_out_test: Fraction = 0.0
    """Share of `train` held out for the final score, by the same hash."""
    target_vocabulary: str | None = None
    """Folder of a finished run whose target vocabulary to take, rather than learn one."""
    windows: Windows | None = None
    """How series of numbers are cut into examples."""
    strict: bool = False
    """Stop at bad rows instead of counting and listing them in `rejected.jsonl`."""
    max_source_length: int = Field(1024, ge=1)
    """Training examples with more source steps (after encoding) are rejected rows."""
    max_target_length: int = Field(1024, ge=1)
    """Training examples with more target steps (after encoding) are rejected rows."""
    cache: str | None = None
    """Folder of prepared stores; by default `dragoman` in the user's cache folder."""

    @model_validator(mode="after")
    def _held_out_once(self) -> Self:
        wrong = []
        if self.dev is not None and self.held_out_dev:
            wrong.append("`dev` and `held_out_dev` contradict each other: give one")
        if self.test is not None and self.held_out_test:
            wrong.append("`test` and `held_out_test` contradict each other: give one")
        if self.dev is None and not self.held_out_dev:
            wrong.append("nothing to validate on: give `dev`, or hold out a share with `held_out_dev: 0.05`")
        if self.held_out_dev + self.held_out_test >= 1:
            wrong.append("`held_out_dev` and `held_out_test` leave nothing to train on")
        refuse(wrong)
        return self

    @model_validator(mode="after")
    def _effective(self) -> Self:
        scored = {"dev": self.dev, "test": self.test}
        wrong = [
            f"`{name}.weight` has no effect: only training corpora are mixed"
            for name, corpus in scored.items()
            if corpus is not None and corpus.weight != 1
        ]
        wrong += [
            f"`{name}.alignment` has no effect: only training learns from alignments"
            for name, corpus in scored.items()
            if isinstance(corpus, Parallel | Table) and corpus.alignment is not None
        ]
        wrong += [
            f"`train[{number}].alignment` is of one target, found several in `target`"
            for number, corpus in enumerate(self.train)
            if isinstance(corpus, Parallel | Table)
            and corpus.alignment is not None
            and isinstance(corpus.target, tuple)
            and len(corpus.target) > 1
        ]
        merging = [
            number
            for number, corpus in enumerate(self.train)
            if not isinstance(corpus, SeriesFiles) and corpus.merge
        ]
        wrong += [
            f"`train[{number}].merge` has no effect: each target of a source is a training example of its own"
            for number in merging
        ]
        refuse(wrong)
        return self


class Text(Section):
    """What every text codec can do to a string before it is cut into units."""

    unicode: Literal["none", "NFC", "NFD", "NFKC", "NFKD"] = "NFC"
    """Unicode normalisation form."""
    lowercase: bool = False
    """Lower-case the text."""
    remove: str = ""
    """Characters to drop, for instance `"012"` for stress marks."""
    features: str | None = Field(None, min_length=1)
    """Where a value has a tab, what follows the last one are whole symbols separated by this string."""


class Characters(Text):
    """One unit a character (code point)."""

    kind: Literal["characters"]
    min_count: int = Field(1, ge=1)
    """Rarer characters are unknown."""


class Bytes(Text):
    """One unit a UTF-8 byte: nothing is ever unknown."""

    kind: Literal["bytes"]


class Words(Text):
    """One unit a word: what stands between separators."""

    kind: Literal["words"]
    separator: str = Field(" ", min_length=1)
    """What stands between words; several spaces in a row count as one."""
    size: int | None = Field(None, ge=5)
    """Most frequent words to keep, control symbols included; all by default."""
    min_count: int = Field(1, ge=1)
    """Rarer words are unknown."""


class Subwords(Text):
    """Units learnt from the data by SentencePiece."""

    kind: Literal["bpe", "unigram"]
    size: int = Field(8000, ge=16)
    """Vocabulary size, control symbols included; lowered with a message where the data cannot fill it."""
    character_coverage: float = Field(1.0, gt=0, le=1)
    """Share of character occurrences that get a symbol of their own; the others fall back to bytes."""
    sampling: float = Field(0.0, ge=0, lt=1)
    """While training, cut words differently each epoch: dropout of BPE merges, or unigram smoothing."""


class Nothing(Section):
    """No source: a model of target text alone, a language model. Whatever stands there is not looked at."""

    kind: Literal["nothing"]


TextSection = Characters | Bytes | Words | Subwords
Codec = Annotated[
    Characters | Bytes | Words | Subwords | Speech | Numbers | Nothing, Field(discriminator="kind")
]
