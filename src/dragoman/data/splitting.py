"""Which side of a split a source belongs to: decided by its text alone."""

from __future__ import annotations

import unicodedata
from hashlib import blake2b
from typing import Literal

Side = Literal["train", "dev", "test"]


def side_of(source: str, held_out_dev: float, held_out_test: float) -> Side:
    """Choose a side by a stable hash of the source in Unicode form NFC.

    Equal sources land on one side on any machine and in any order. Development takes the low end of the hash
    and test the high end, so that changing one share never moves the other's examples.
    """
    # 53 bits are what a float holds exactly, so the share is below 1 even at the top.
    share = (int.from_bytes(key_of(source), "big") >> 11) / 2**53
    if share < held_out_dev:
        return "dev"
    if share >= 1 - held_out_test:
        return "test"
    return "train"


def key_of(text: str) -> bytes:
    """Return a hash of a text in Unicode form NFC, of 8 bytes."""
    form = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    return blake2b(form, digest_size=8).digest()
