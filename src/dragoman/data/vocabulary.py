"""Symbols and their ids: control symbols first, the same four in every vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dragoman.errors import DataError
from dragoman.records import CONTROL_SYMBOLS, UNKNOWN


class Vocabulary:
    """A run of ids from `first` up, one for each symbol; a name space of its own.

    A symbol that is spelt like a control symbol is a symbol like any other: looking up never answers with a
    control id but UNKNOWN.
    """

    def __init__(self, symbols: Sequence[str], first: int = len(CONTROL_SYMBOLS)) -> None:
        """Number the symbols in their order; DataError where one comes twice."""
        self.symbols = tuple(symbols)
        self.first = first
        self._ids = {symbol: first + index for index, symbol in enumerate(self.symbols)}
        if len(self._ids) != len(self.symbols):
            twice = next(symbol for symbol, count in Counter(self.symbols).items() if count > 1)
            raise DataError(f"vocabulary: symbol {twice!r} is there twice; each may come once")

    @property
    def end(self) -> int:
        """The id after the last one."""
        return self.first + len(self.symbols)

    def __contains__(self, token: int) -> bool:
        """Tell whether an id is one of this name space."""
        return self.first <= token < self.end

    def id_of(self, symbol: str) -> int:
        """Return the id of a symbol, UNKNOWN where it has none."""
        return self._ids.get(symbol, UNKNOWN)

    def symbol_of(self, token: int) -> str:
        """Return the symbol of an id of this name space."""
        return self.symbols[token - self.first]


def most_frequent(counts: Counter[str], min_count: int = 1, size: int | None = None) -> list[str]:
    """Return the symbols worth an id, the most frequent first, ties in code point order.

    `size` counts control symbols too.
    """
    kept = sorted((symbol for symbol, count in counts.items() if count >= min_count))
    kept.sort(key=lambda symbol: -counts[symbol])
    return kept if size is None else kept[: max(0, size - len(CONTROL_SYMBOLS))]
