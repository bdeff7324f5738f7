"""Tokenisation as the Moses scripts do it, which older published scores stand on: the home of sacremoses."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from dragoman.errors import MissingExtra


def moses_tokenizer(language: str, lowercase: bool) -> Callable[[str], str]:
    """Return a function that normalises punctuation, lower-cases if asked, and puts spaces between tokens.

    Dashes are not split and nothing is escaped. Raises MissingExtra without sacremoses.
    """
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError as missing:
        raise MissingExtra("sacremoses", "moses", "`tokenize: moses`") from missing
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)

    def tokenize(text: str) -> str:
        normal: str = normalizer.normalize(text)
        tokens: str = tokenizer.tokenize(
            normal.lower() if lowercase else normal, escape=False, return_str=True
        )
        return tokens

    return tokenize


def moses_signature(language: str) -> str:
    """Name the tokeniser, its language and its version, for the signature of a score."""
    return f"moses-{language}-sacremoses-{version('sacremoses')}"
