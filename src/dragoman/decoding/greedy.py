"""Greedy search in one call, where kernels can; `search` does the same step by step."""

from __future__ import annotations

from collections.abc import Sequence as Listed

from dragoman.decoding.rules import NEVER_WRITTEN, rules_for
from dragoman.model.answering_writing import Written, write_greedily, writes_at_once
from dragoman.model.contracts import Memory
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.decoding import Greedy
from dragoman.records import EOS, Hypothesis


def greedy_at_once(
    model: Seq2Seq, memory: Memory, section: Greedy, prefixes: Listed[Listed[int]] | None
) -> list[Hypothesis | None] | None:
    """Return the answer to each source, None where it has no probabilities; or None if steps must be single.

    They must where something is asked of an answer but its longest length.
    """
    if section.min_length or section.no_repeat_ngram or any(prefixes or ()):
        return None
    longest_N = rules_for(memory.mask_NS.sum(1).cpu().numpy(), section, None).longest_N
    if not writes_at_once(model, int(longest_N.max())):
        return None
    return _hypotheses(write_greedily(model, memory, longest_N, NEVER_WRITTEN))


def _hypotheses(written: Written) -> list[Hypothesis | None]:
    found: list[Hypothesis | None] = []
    for place, length in enumerate(written.lengths_N.tolist()):
        tokens = tuple(written.tokens_NT[place, :length].tolist())
        log_probs = tuple(written.log_probs_NT[place, :length].tolist())
        ended = bool(tokens) and tokens[-1] == EOS
        found.append(Hypothesis(tokens, log_probs, float(written.totals_N[place]), ended) if tokens else None)
    return found
