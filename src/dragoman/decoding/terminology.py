"""What the answer to a source must and must not contain, from lists for all sources and from terms."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from dragoman.data.codec import Codecs
from dragoman.data.terms import read_terms
from dragoman.data.text import TextCodec
from dragoman.decoding.constrained import Wanted
from dragoman.decoding.phrases import Spelling, phrases_in
from dragoman.errors import DataError, UserError
from dragoman.recipe.data import Words
from dragoman.recipe.decoding import Beam, Decoding, Phrases
from dragoman.records import Value, text_of


def with_terms(section: Decoding, file: str | Path | None) -> Decoding:
    """Return a way of decoding with the terms of a file besides its own; UserError where it is no beam."""
    if file is None:
        return section
    if not isinstance(section, Beam):
        raise UserError(
            f"a terminology needs `decoding.method: beam`, found {section.method}: only a beam can look for "
            "the place where a phrase fits"
        )
    if section.groups > 1:
        raise UserError("a terminology and `decoding.groups` do not go together; leave one of them out")
    phrases = section.phrases or Phrases()
    phrases = phrases.model_copy(update={"terms": (*phrases.terms, *read_terms(file))})
    return section.model_copy(update={"phrases": phrases})


class Terminology:
    """The phrases of a section, as the target's codec writes them.

    Raises UserError for a phrase that says nothing, or that answers must and must not contain, and for terms
    whose sources are not text.
    """

    def __init__(self, section: Phrases, codecs: Codecs) -> None:
        self._section = section
        self._codec = codecs.text
        self._must = [self._normal(text) for text in section.must]
        self._never = [self._normal(text) for text in section.never]
        self._terms = [
            (self._folded(term.source), [self._normal(term.must)], [])
            if term.must is not None
            else (self._folded(term.source), [], [self._normal(term.never or "")])
            for term in section.terms
        ]
        if not (section.must or section.never or section.terms):
            raise UserError("`decoding.phrases` has no effect without `must`, `never` or `terms`")
        if section.ignore_case and not section.terms:
            raise UserError("`decoding.phrases.ignore_case` has no effect without `terms`")
        if section.terms and not isinstance(codecs.source, TextCodec):
            raise UserError(
                f"`decoding.phrases.terms` are looked for in sources of text, found "
                f"{codecs.source.section.kind}; `must` and `never` hold for all sources"
            )
        units = self._codec.section
        separator = units.separator if isinstance(units, Words) else " "
        self.spelling = Spelling(self._codec.written(), separator)
        self._refuse_contradictions(self._must, self._never, UserError)
        self._refuse_unwritable()

    def wanted(self, source: Value) -> Wanted:
        """Return the phrases for a source; DataError where they contradict each other."""
        must, never = list(self._must), list(self._never)
        if self._terms:
            sources = [phrase for phrase, _, _ in self._terms]
            found = set(phrases_in(self._folded(text_of(source)), sources, self._section.whole_words))
            for phrase, its_must, its_never in self._terms:
                if phrase in found:
                    must += its_must
                    never += its_never
        self._refuse_contradictions(must, never, DataError)
        return Wanted(tuple(dict.fromkeys(must)), tuple(dict.fromkeys(never)), self._section.whole_words)

    def check_prefix(self, prefix: str) -> None:
        """Raise UserError for the beginning of answers that contains what no answer may contain."""
        for text in self._never:
            if self._stands_in(text, prefix):
                raise UserError(
                    f"prefix {prefix!r} contains {text!r}, which `decoding.phrases.never` forbids"
                )

    def complaint(self, source: Value, answer: Value) -> str | None:
        """Say what an answer lacks, if anything."""
        missing = [text for text in self.wanted(source).must if not self._stands_in(text, text_of(answer))]
        if not missing:
            return None
        shown = ", ".join(map(repr, missing))
        if not source:
            return f"an empty source has the empty answer, without {shown}"
        return (
            f"no answer with {shown} was finished within the longest length; the one "
            "given is cut. A larger `decoding.max_length`, `max_extra` or `beam` may do, or "
            "`decoding.phrases.whole_words: false` where no spaces stand between words"
        )

    def _stands_in(self, phrase: str, text: str) -> bool:
        return self.spelling.phrase(phrase, self._section.whole_words).stands_in(text)

    def _refuse_contradictions(
        self, must: list[str], never: list[str], error: type[UserError | DataError]
    ) -> None:
        for text in must:
            for forbidden in never:
                if self._stands_in(forbidden, text):
                    raise error(f"answers must contain {text!r} and must not contain {forbidden!r}")

    def _refuse_unwritable(self) -> None:
        must = [*self._must, *(text for _, its_must, _ in self._terms for text in its_must)]
        is_whole = self._section.whole_words
        wrong = [
            text for text in dict.fromkeys(must) if not self.spelling.phrase(text, is_whole).can_be_written
        ]
        if wrong:
            raise UserError(
                f"the target vocabulary cannot write {', '.join(map(repr, wrong))}, so no answer can contain "
                "it; leave it out, or train with subwords or bytes, which can write anything"
            )

    def _normal(self, text: str) -> str:
        if "\t" in text or "\n" in text:
            raise UserError(f"phrase {text!r}: a phrase is one line of text without tabs")
        found = self._codec.normalise(text).strip()
        if not found:
            raise UserError(f"phrase {text!r}: nothing is left of it as targets are normalised")
        return found

    def _folded(self, text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return text.casefold() if self._section.ignore_case else text
