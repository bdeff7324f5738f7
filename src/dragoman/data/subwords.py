"""Subword units learnt by SentencePiece: BPE (Sennrich et al. 2016) and unigram (Kudo 2018); its only home.

Spaces, tabs and line breaks survive: nothing is normalised, and characters without a piece fall back to
bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import sentencepiece

from dragoman.data.sampling import Sampler
from dragoman.data.text import Span
from dragoman.errors import DataError
from dragoman.recipe.data import Subwords
from dragoman.records import BOS, CONTROL_SYMBOLS, EOS, PAD, UNKNOWN

MODEL_FILE = "subwords.model"
LIBRARY_VERSION: str = sentencepiece.__version__
"""Another version may learn another model from the same texts."""
_BYTES = 256
_TRAINING_PIECE = 4096
"""Longer texts are learnt from in pieces of this many characters: some trainers count in 16 bits."""
_THREADS = 4
"""Fixed, because sums of the unigram trainer are rounded differently with another number of threads."""
_ESCAPE = "\ue000"
# SentencePiece writes U+2581 for a space and keeps U+2585 for itself; a text that has them itself needs
# other signs.
_ESCAPED = str.maketrans({_ESCAPE: _ESCAPE + "0", "\u2581": _ESCAPE + "1", "\u2585": _ESCAPE + "2"})
_UNESCAPED = {"0": _ESCAPE, "1": "\u2581", "2": "\u2585"}
_HAS_ESCAPE = re.compile(f"{_ESCAPE}([012])")


class SubwordUnits:
    """Pieces of a SentencePiece model."""

    def __init__(self, model: bytes, kind: Literal["bpe", "unigram"], sampling: float) -> None:
        """Read a model; DataError if it is none of ours."""
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise DataError(f"{MODEL_FILE} is not a SentencePiece model: {error}") from error
        found = tuple(self._processor.id_to_piece(token) for token in range(len(CONTROL_SYMBOLS)))
        if found != CONTROL_SYMBOLS:
            raise DataError(
                f"{MODEL_FILE}: expected {', '.join(CONTROL_SYMBOLS)} as ids 0 to 3, found {found}"
            )
        self._model = model
        self._sampler = _sampler(self._processor, kind, sampling) if sampling else None
        self.end: int = self._processor.get_piece_size()

    def tidy(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def cut(self, text: str, seed: int | None) -> list[int]:
        """Return the ids of the pieces: the best segmentation, or with a seed and `sampling` a random one."""
        text = text.translate(_ESCAPED)
        if seed is None or self._sampler is None:
            return list(self._processor.encode(text))
        return self._sampler.cut(self._processor.normalize(text), seed)

    def spans(self, text: str) -> list[Span]:
        """Return the places of the pieces; the space that SentencePiece puts before a text has no length."""
        escaped = text.translate(_ESCAPED)
        letters = self._processor.normalize(escaped)
        before = len(letters) - len(escaped)
        places = [0] * before
        for place, letter in enumerate(text):
            places += [place] * len(letter.translate(_ESCAPED))
        places.append(len(text))
        found, begin, waiting = [], 0, b""
        for token in self.cut(text, None):
            end = begin
            if self._processor.is_byte(token):
                # The bytes of a character all stand where it does; it is behind us with the last of them.
                waiting += bytes([int(self.piece(token)[3:5], 16)])
                found.append((places[begin], places[begin + 1]))
                if len(waiting) == len(letters[begin].encode("utf-8")):
                    end, waiting = begin + 1, b""
            else:
                end = begin + len(self.piece(token))
                found.append((places[begin], places[end]))
            begin = end
        return found

    def join(self, tokens: Sequence[int]) -> str:
        """Write the pieces one after another; bytes that are not UTF-8 become U+FFFD."""
        text: str = self._processor.decode(list(tokens))
        return _HAS_ESCAPE.sub(lambda match: _UNESCAPED[match[1]], text)

    def piece(self, token: int) -> str:
        """Return the piece, with U+2581 for a space."""
        piece: str = self._processor.id_to_piece(token)
        return piece

    def written(self, token: int) -> bytes:
        """Return the piece with spaces as they are, or the byte that it stands for."""
        piece = self.piece(token)
        if self._processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])
        return _HAS_ESCAPE.sub(lambda match: _UNESCAPED[match[1]], piece.replace("\u2581", " ")).encode()

    def save(self, folder: Path) -> Mapping[str, object]:
        """Write the model beside codec.json."""
        (folder / MODEL_FILE).write_bytes(self._model)
        return {}


def _sampler(
    processor: sentencepiece.SentencePieceProcessor, kind: Literal["bpe", "unigram"], amount: float
) -> Sampler:
    ids = {processor.id_to_piece(token): token for token in range(processor.get_piece_size())}
    scores = {
        piece: processor.get_score(token)
        for piece, token in ids.items()
        if not (processor.is_control(token) or processor.is_unknown(token) or processor.is_byte(token))
    }
    return Sampler(kind, amount, scores, ids)


def learn_subwords(
    section: Subwords, texts: Sequence[str], where: str, say: Callable[[str], None]
) -> SubwordUnits:
    """Learn a model from normalised texts; the same texts in the same order give the same model.

    `say` hears where the data cannot fill the vocabulary. DataError names the section `where` if `size`
    cannot hold the characters, or if there is nothing to learn from.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            model_type=section.kind,
            vocab_size=section.size,
            character_coverage=section.character_coverage,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=8 * _TRAINING_PIECE,
            num_threads=_THREADS,
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=BOS,
            eos_id=EOS,
            pad_piece=CONTROL_SYMBOLS[PAD],
            unk_piece=CONTROL_SYMBOLS[UNKNOWN],
            bos_piece=CONTROL_SYMBOLS[BOS],
            eos_piece=CONTROL_SYMBOLS[EOS],
            unk_surface="\ufffd",
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(_why(section, texts, where, error)) from error
    units = SubwordUnits(model.getvalue(), section.kind, section.sampling)
    if units.end < section.size:
        say(
            f"{where}.size: lowered from {section.size:,} to {units.end:,}, "
            f"the data has no more {section.kind} pieces"
        )
    return units


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        escaped = text.translate(_ESCAPED)
        for start in range(0, len(escaped), _TRAINING_PIECE):
            yield escaped[start : start + _TRAINING_PIECE]


def _why(section: Subwords, texts: Sequence[str], where: str, error: RuntimeError) -> str:
    if not any(texts):
        return f"{where}: nothing to learn subwords from, all texts are empty"
    characters = len({character for text in texts for character in text})
    needed = len(CONTROL_SYMBOLS) + _BYTES + characters + 1
    if section.size < needed:
        return (
            f"{where}.size: {section.size:,} is too small for {len(CONTROL_SYMBOLS)} control symbols, "
            f"{_BYTES} bytes and {characters:,} characters; {needed:,} or more would do, "
            "or a `character_coverage` below 1, or `kind: characters`"
        )
    return f"{where}: SentencePiece cannot learn from these texts: {error}"
