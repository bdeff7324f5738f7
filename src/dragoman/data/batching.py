"""Batches of a budget, in an order that is a pure function of the seed, the epoch and the position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

from dragoman.data.codec import Codecs
from dragoman.data.frames import Encoded, Floats, Frames
from dragoman.data.order import Showings, digest_of, noise, shuffled
from dragoman.data.packing import fill, pack
from dragoman.data.speech import SpeechCodec
from dragoman.data.store import Entries
from dragoman.errors import CheckpointError, DataError
from dragoman.recipe.data import Codec as CodecSection
from dragoman.recipe.data import Subwords
from dragoman.recipe.sections import Recipe
from dragoman.records import PAD, Batch, Example
from dragoman.records import Sequence as Padded

_JITTER_STEPS = 0.6
"""Lengths may trade places while sorting by this much: enough to mix neighbours, 2% of padding at most."""
_JITTER_SHARE = 0.02
# What a random number is for; part of its key, so that no two purposes share their numbers.
_ROWS, _SOURCE_JITTER, _TARGET_JITTER, _BATCHES, _VARIANTS = range(5)


@dataclass(frozen=True, order=True)
class Position:
    """The next batch of a stream: batch `batch` of window `window` of epoch `epoch`, all from 0."""

    epoch: int
    window: int
    batch: int

    def as_dict(self) -> dict[str, int]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, int]) -> Position:
        """Read what `as_dict` returned."""
        return cls(values["epoch"], values["window"], values["batch"])


START = Position(0, 0, 0)


@dataclass(frozen=True)
class PlanStatistics:
    """What to expect of an epoch: its batches, and the share of their positions that are real."""

    steps_in_epoch: int
    fill: float


@dataclass(frozen=True)
class _Window:
    """One window: showings, their entries and variants, batches as rows of both, tokens where sampled."""

    epoch: int
    showings: NDArray[np.int64]
    entries: NDArray[np.int64]
    variants: NDArray[np.int64]
    batches: list[NDArray[np.int64]]
    sources: list[Encoded] | None
    targets: list[Encoded] | None


class BatchStream:
    """Endless batches of a store; a Position is all the state it has.

    With `sampling`, values of codecs whose recipe says so are cut anew for each showing, with a seed of
    (seed, epoch, showing); a window of about 65,536 entries is then encoded before its first batch. Audio is
    taken at one of its speeds, and masked (SpecAugment), by the same seeds.
    """

    def __init__(
        self,
        store: Entries,
        codecs: Codecs,
        recipe: Recipe,
        batch_tokens: int,
        sampling: bool,
        pad_to: int = 1,
    ) -> None:
        """Plan batches of at most `batch_tokens` = rows x longest side, padding included.

        Where targets are tokens, sides are then filled up to a multiple of `pad_to`, if the recipe allows
        sequences so long.
        """
        if not len(store):
            raise DataError("no training examples: nothing to make batches of")
        self._store = store
        self._codecs = codecs
        self._seed = recipe.seed
        self._batch_tokens = batch_tokens
        self._pad_to = pad_to
        self._longest = (recipe.data.max_source_length, recipe.data.max_target_length)
        self._samples = (
            sampling and _can_sample(recipe.source),
            sampling and _can_sample(recipe.target),
        )
        self._variants = store.variants if sampling else 1
        self._masks = sampling and isinstance(codecs.source, SpeechCodec)
        self._showings = Showings(store.corpus_sizes, [corpus.weight for corpus in recipe.data.train])
        self._blocks: tuple[int, NDArray[np.int64]] | None = None
        self._planned: tuple[tuple[int, int], _Window] | None = None

    def iterate(self, start: Position = START) -> Iterator[tuple[Batch, Position]]:
        """Yield batches from a position on, each with the position after it; never ends.

        CheckpointError if there is no such position, because it comes from other data or another budget.
        """
        self._check_window(start)
        epoch, first_window, first_batch = start.epoch, start.window, start.batch
        while True:
            for number in range(first_window, self._showings.windows):
                window = self._window(epoch, number)
                self._check(Position(epoch, number, first_batch), window)
                for index in range(first_batch, len(window.batches)):
                    after = self._after(Position(epoch, number, index), window)
                    yield self._batch(window, index), after
                first_batch = 0
            epoch, first_window = epoch + 1, 0

    @cached_property
    def statistics(self) -> PlanStatistics:
        """What an epoch is like, about: from its first window, and before sampling makes sequences longer."""
        showings = self._showings.window(self._showings.blocks_of(self._seed, 0), 0)
        entries = self._showings.entries(showings, 0)
        sources, targets = self._store.source_lengths[entries], self._store.target_lengths[entries]
        batches = pack(sources, targets, self._batch_tokens, self._jitter(sources, targets, 0, 0))
        steps = round(len(batches) * self._showings.total / len(showings))
        return PlanStatistics(steps, fill(sources, targets, batches))

    @property
    def samples(self) -> bool:
        """Whether values of a side are cut anew for each showing."""
        return any(self._samples)

    @property
    def steps_in_epoch(self) -> int:
        """How many batches an epoch has, about; see `statistics`."""
        return self.statistics.steps_in_epoch

    def epochs_before(self, position: Position) -> float:
        """Return how many epochs lie before a position; parts are windows, and batches of its window."""
        share = position.window / self._showings.windows
        if position.batch:
            batches = len(self._window(position.epoch, position.window).batches)
            share += position.batch / batches / self._showings.windows
        return position.epoch + share

    def _window(self, epoch: int, number: int) -> _Window:
        """Plan a window, or take it from memory where it is the one planned last."""
        if self._planned is None or self._planned[0] != (epoch, number):
            self._planned = (epoch, number), self._plan(epoch, number)
        return self._planned[1]

    def _plan(self, epoch: int, number: int) -> _Window:
        key = (self._seed, epoch, number)
        if self._blocks is None or self._blocks[0] != epoch:
            self._blocks = epoch, self._showings.blocks_of(self._seed, epoch)
        showings = self._showings.window(self._blocks[1], number)
        # Shuffled first, so that entries of equal length part by chance.
        showings = showings[shuffled(len(showings), *key, _ROWS)]
        entries = self._showings.entries(showings, epoch)
        sources = self._sampled(0, showings, entries, epoch) if self._samples[0] else None
        targets = self._sampled(1, showings, entries, epoch) if self._samples[1] else None
        variants = self._variants_of(len(showings), *key)
        source_lengths = (
            self._store.lengths_of_sources(entries, variants) if sources is None else _lengths(sources)
        )
        target_lengths = self._store.target_lengths[entries] if targets is None else _lengths(targets)
        jitter = self._jitter(source_lengths, target_lengths, epoch, number)
        batches = pack(source_lengths, target_lengths, self._batch_tokens, jitter)
        batches = [batches[index] for index in shuffled(len(batches), *key, _BATCHES)]
        return _Window(epoch, showings, entries, variants, batches, sources, targets)

    def _variants_of(self, count: int, *key: int) -> NDArray[np.int64]:
        """Choose a variant for each showing."""
        if self._variants == 1:
            return np.zeros(count, dtype=np.int64)
        return (noise(count, *key, _VARIANTS) * self._variants).astype(np.int64)

    def _jitter(
        self, sources: NDArray[np.int32], targets: NDArray[np.int32], epoch: int, number: int
    ) -> NDArray[np.float64]:
        key = (self._seed, epoch, number)
        purposes = ((sources, _SOURCE_JITTER), (targets, _TARGET_JITTER))
        return np.stack(
            [
                (2 * noise(len(lengths), *key, purpose) - 1)
                * np.maximum(_JITTER_STEPS, _JITTER_SHARE * lengths)
                for lengths, purpose in purposes
            ]
        )

    def _sampled(
        self, side: int, showings: NDArray[np.int64], entries: NDArray[np.int64], epoch: int
    ) -> list[Encoded]:
        return [
            self._sample(side, showing, entry, epoch)
            for showing, entry in zip(showings.tolist(), entries.tolist(), strict=True)
        ]

    def _sample(self, side: int, showing: int, entry: int, epoch: int) -> Encoded:
        codec = (self._codecs.source, self._codecs.target)[side]
        tokens = codec.encode(self._store.values(entry)[side], seed_of(self._seed, epoch, showing, side))
        # A finer cut must not make an example longer than the recipe (and the model) allows.
        return tokens if len(tokens) <= self._longest[side] else self._store.encoded(entry)[side]

    def _batch(self, window: _Window, index: int) -> Batch:
        rows = window.batches[index].tolist()
        entries, variants = window.entries[rows].tolist(), window.variants[rows].tolist()
        stored = [self._store.encoded(*chosen) for chosen in zip(entries, variants, strict=True)]
        sources = [source for source, _ in stored]
        targets = [target for _, target in stored]
        if window.sources is not None:
            sources = [window.sources[row] for row in rows]
        if window.targets is not None:
            targets = [window.targets[row] for row in rows]
        if self._masks:
            showings = window.showings[rows].tolist()
            sources = [
                self._masked(source, window.epoch, showing)
                for source, showing in zip(sources, showings, strict=True)
            ]
        links = [self._store.links(entry) for entry in entries]
        batch = collate(sources, targets, [self._store.id(entry) for entry in entries])
        if self._pad_to > 1 and batch.target.values.dim() == 2:
            source = filled(batch.source, self._pad_to, self._longest[0])
            batch = replace(batch, source=source, target=filled(batch.target, self._pad_to, self._longest[1]))
        return replace(batch, links_L3=_joined_links(links))

    def _masked(self, source: Encoded, epoch: int, showing: int) -> Encoded:
        codec = self._codecs.source
        assert isinstance(codec, SpeechCodec) and isinstance(source, Frames)
        return Frames(codec.augment(source.values, seed_of(self._seed, epoch, showing, 0)))

    def _after(self, position: Position, window: _Window) -> Position:
        if position.batch + 1 < len(window.batches):
            return Position(position.epoch, position.window, position.batch + 1)
        if position.window + 1 < self._showings.windows:
            return Position(position.epoch, position.window + 1, 0)
        return Position(position.epoch + 1, 0, 0)

    def _check(self, position: Position, window: _Window) -> None:
        if not 0 <= position.batch < len(window.batches):
            raise CheckpointError(
                f"{position}: this window has {len(window.batches):,} batches; "
                "the position belongs to other data or to another `training.batch_tokens`"
            )

    def _check_window(self, position: Position) -> None:
        if position.epoch < 0 or not 0 <= position.window < self._showings.windows:
            raise CheckpointError(
                f"{position}: an epoch has {self._showings.windows:,} windows; "
                "the position belongs to other data"
            )


def seed_of(seed: int, epoch: int, showing: int, side: int) -> int:
    """Return the seed of a sampled segmentation: 32 bits that depend on all four numbers."""
    return digest_of((seed, epoch, showing, side), 4)


def collate(sources: Sequence[Encoded], targets: Sequence[Encoded], ids: Sequence[str]) -> Batch:
    """Pad both sides of a batch at the end; see `padded`."""
    return Batch(padded(sources), padded(targets), tuple(ids))


def batches_of(examples: Iterable[Example], codecs: Codecs, batch_tokens: int) -> Iterator[Batch]:
    """Yield batches of examples with the first reference of each as target, shortest first, always the same.

    DataError, with the place, for an example without target or one that cannot be encoded.
    """
    encoded = [_encoded(example, codecs) for example in examples]
    sources = _lengths([source for source, _, _ in encoded])
    targets = _lengths([target for _, target, _ in encoded])
    batches = pack(sources, targets, batch_tokens, np.zeros((2, len(encoded))))
    for rows in sorted(batches, key=lambda rows: (int(targets[rows].max()), int(sources[rows].max()))):
        chosen = [encoded[row] for row in rows.tolist()]
        yield collate(
            [source for source, _, _ in chosen],
            [target for _, target, _ in chosen],
            [name for _, _, name in chosen],
        )


def _encoded(example: Example, codecs: Codecs) -> tuple[Encoded, Encoded, str]:
    where = example.origin or example.id or "example"
    if not example.targets:
        raise DataError(f"{where}: no target to compare with; a loss needs one")
    try:
        target = codecs.target.encode(example.targets[0], source=example.source)
        return codecs.source.encode(example.source), target, example.id
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _joined_links(links: Sequence[NDArray[np.int32] | None]) -> torch.Tensor | None:
    """Put the links of all rows below each other, the row first; None where none are kept."""
    kept = [np.insert(links_L2, 0, row, axis=1) for row, links_L2 in enumerate(links) if links_L2 is not None]
    return torch.from_numpy(np.concatenate(kept).astype(np.int64)) if kept else None


def padded(rows: Sequence[Encoded]) -> Padded:
    """Pad encoded values at the end: ids (rows, longest) int64, or frames (rows, longest, width) float32."""
    lengths_B = _lengths(rows)
    longest = int(lengths_B.max(initial=0))
    lengths = torch.from_numpy(lengths_B.astype(np.int64))
    frames = [row for row in rows if isinstance(row, Frames)]
    if frames:
        values = np.zeros((len(rows), longest, frames[0].values.shape[1]), dtype=np.float32)
        for row, frame in zip(values, frames, strict=True):
            row[: len(frame)] = frame.values
        units = [frame.units for frame in frames if frame.units is not None]
        ahead = [frame.ahead for frame in frames if frame.ahead is not None]
        return Padded(
            torch.from_numpy(values),
            lengths,
            torch.from_numpy(np.stack(units)) if units else None,
            _ahead(ahead) if ahead else None,
        )
    ids = np.full((len(rows), longest), PAD, dtype=np.int64)
    tokens = [row for row in rows if not isinstance(row, Frames)]
    for place, row_S in zip(ids, tokens, strict=True):
        place[: len(row_S)] = row_S
    return Padded(torch.from_numpy(ids), lengths)


def filled(side: Padded, multiple: int, longest: int) -> Padded:
    """Pad a side further, to a multiple of steps, but not beyond the longest that may come."""
    steps = side.values.shape[1]
    wanted = max(steps, min(-(-steps // multiple) * multiple, longest))
    more = [0, 0] * (side.values.dim() - 2) + [0, wanted - steps]
    return replace(side, values=F.pad(side.values, more, value=PAD))


def _ahead(rows: Sequence[Floats]) -> torch.Tensor:
    """Pad what is known of coming steps with zeros."""
    known = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), dtype=np.float32)
    for place, row in zip(known, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(known)


def _lengths(rows: Sequence[Encoded]) -> NDArray[np.int32]:
    return np.array([len(row) for row in rows], dtype=np.int32)


def _can_sample(section: CodecSection) -> bool:
    return isinstance(section, Subwords) and section.sampling > 0
