"""Rules for pairs of text: units, model, batches, decoding and scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dragoman.recipe.facts import Corpus, Files, PairFacts, Side
from dragoman.recipe.planning import Choice, Effort, effort, split_choices, steps_why

_VOCABULARIES = (  # running words of both sides, symbols
    (100_000, 1000),
    (300_000, 2000),
    (2_000_000, 4000),
    (10_000_000, 8000),
    (100_000_000, 16000),
    (math.inf, 32000),
)
"""Most symbols should occur often (Gowda and May 2020), and little data want few (Ding et al. 2019)."""
_SHARED = 0.8
"""Above this share of common letters both sides are written in one script."""
_PIECE_CHARACTERS = 4.5
"""Characters of a subword among a few thousand: lengths are guessed by it."""
_REPEATED = 0.005
_LONG_WORDS = 150
"""Sources with more words than this are documents."""
_COPIED = 0.1


@dataclass(frozen=True)
class _Size:
    """A model, and the learning rate that suits it with 2,048 tokens a batch."""

    width: int
    layers: int
    heads: int
    feedforward_width: int
    dropout: float
    learning_rate: float
    why: str


def text_choices(facts: PairFacts) -> Iterator[Choice]:
    """Choose all of a recipe for pairs of text."""
    yield from split_choices(_merging(facts), facts.rows)
    if is_of_strings(facts):
        yield from _string_choices(facts)
    else:
        yield from _sentence_choices(facts)


def is_of_strings(facts: PairFacts) -> bool:
    """Say whether pairs are words and forms: pronunciation, inflection, transliteration, spelling."""
    return facts.source.is_short and (facts.target.is_short or facts.target.is_closed)


def _merging(facts: PairFacts) -> Files:
    """Make rows of one source one example with several references, where a scored file has such rows."""

    def merged(which: str, corpus: Corpus | None) -> Corpus | None:
        many = corpus is not None and facts.repeated.get(which, 0.0) > _REPEATED
        return {**corpus, "merge": True} if corpus is not None and many else corpus

    files = facts.files
    return replace(files, dev=merged("dev", files.dev), test=merged("test", files.test))


# --- words and forms


def _string_choices(facts: PairFacts) -> Iterator[Choice]:
    source: dict[str, object] = {"kind": "characters"}
    why = f"Sources are words or forms ({facts.source.mean_characters:.0f} characters): a unit a character."
    if facts.features is not None:
        source["features"] = facts.features
        why += " What follows the tab are grammatical features, each a symbol of its own (Wu et al. 2021)."
    yield Choice("source", source, why)
    is_phonemes = facts.target.is_closed
    yield Choice("target", {"kind": "words" if is_phonemes else "characters"}, _target_why(facts))
    size = _string_size(facts)
    is_recurrent = is_phonemes and facts.rows < 60_000
    yield from _recurrent() if is_recurrent else _transformer(size, "rotary", "decoder")
    batch = 4096 if facts.rows >= 60_000 else 2048
    longest = max(facts.source.mean_characters, _target_length(facts)) + 2
    # Twice the data want half the passes and a little more: 18 of 119,000, 36 of 33,000, 51 of 7,000.
    epochs = min(100.0, max(10.0, 38 * (33_000 / max(facts.rows, 1)) ** 0.4))
    weights = 3.5e6 if is_recurrent else _weights(size)
    found = effort(facts.rows, batch / longest, epochs, batch, weights)
    rate = 0.002 if is_recurrent else size.learning_rate
    yield from _training(found, batch, rate * batch / 2048, "exact_match")
    yield Choice(
        "decoding",
        {"method": "beam", "beam": 5, "length_penalty": 0.0},
        "Words have one right answer: the most probable is wanted, whatever its length.",
    )
    metrics: list[object] = ["exact_match", {"name": "wer", "label": "per"} if is_phonemes else "cer"]
    yield Choice("evaluation.metrics", metrics, "Words right, and how far the others are off.")
    if not is_phonemes:
        yield Choice(
            "evaluation.references", "normalised", "Two ways to write one accented letter are the same."
        )


def _target_why(facts: PairFacts) -> str:
    target = facts.target
    if target.is_closed:
        return (
            f"Targets are {target.word_types} different symbols between spaces, all of them seen often, as "
            "phonemes are: a unit a symbol."
        )
    return f"Targets are words or forms too ({target.mean_characters:.0f} characters)."


def _target_length(facts: PairFacts) -> float:
    return facts.target.mean_words if facts.target.is_closed else facts.target.mean_characters


def _string_size(facts: PairFacts) -> _Size:
    """Little data want much dropout (Wu et al. 2021 take 0.3); what was measured is in docs/results.md."""
    rows = facts.rows
    dropout = 0.3 if rows < 4000 else 0.25 if rows < 20_000 else 0.2 if rows < 60_000 else 0.1
    why = (
        f"The Transformer of 4 layers for characters (Wu et al. 2021), half as wide, which was enough in "
        f"docs/results.md; {rows:,} rows want {dropout:g} of dropout. Rotary positions see distances, which "
        "is what endings are about."
    )
    return _Size(128, 4, 4, 512, dropout, 0.0015, why)


def _recurrent() -> Iterator[Choice]:
    yield Choice(
        "model.encoder",
        {"kind": "lstm", "width": 384, "layers": 2, "bidirectional": True, "dropout": 0.3},
        "Sounds follow letters in order, and of fewer than 60,000 words an LSTM with attention learns that "
        "better than a Transformer: in SIGMORPHON 2020 (16.8% of words wrong against 17.5%) and in "
        "docs/results.md.",
    )
    decoder = {"kind": "lstm", "width": 384, "layers": 1, "attention": {"kind": "general"}, "dropout": 0.3}
    yield Choice("model.decoder", decoder)
    yield Choice(
        "model.tie", "decoder", "One table for what is written and what is read back: fewer weights."
    )


# --- sentences


def _sentence_choices(facts: PairFacts) -> Iterator[Choice]:
    words = facts.rows * (facts.source.mean_words + facts.target.mean_words)
    words += facts.rows * sum(
        side.mean_characters * side.spaceless / 2 for side in (facts.source, facts.target)
    )
    size = next(symbols for bound, symbols in _VOCABULARIES if words < bound)
    is_joint = facts.shared_letters >= _SHARED and not _is_closed(facts)
    yield from _units(facts, size, words)
    if is_joint:
        yield Choice(
            "joint_vocabulary",
            True,
            f"{facts.shared_letters:.0%} of the target's letters are the source's too: names and numbers are "
            "spelt alike, and one table serves both sides.",
        )
    yield from _lengths(facts)
    chosen = _sentence_size(facts)
    yield from _transformer(chosen, "sinusoidal", "all" if is_joint else "decoder")
    longest = max(_pieces(facts.source), _pieces(facts.target)) + 2
    batch = 2048 if facts.rows < 100_000 else 4096
    epochs = min(60.0, max(1.0, 35 * (29_000 / max(facts.rows, 1)) ** 0.6))
    weights = _weights(chosen) + size * chosen.width * (1 if is_joint else 2)
    found = effort(facts.rows, batch / longest, epochs, batch, weights)
    rate = chosen.learning_rate * math.sqrt(batch / 2048)
    metrics, watch, why = _sentence_metrics(facts)
    yield from _training(found, batch, rate, watch)
    yield Choice(
        "decoding",
        {"method": "beam", "beam": 5, "length_penalty": 1.0},
        "Five hypotheses, their length made up for; on development data 0.6 to 1.4 are worth a look.",
    )
    yield Choice("evaluation.metrics", metrics, why)


def _is_closed(facts: PairFacts) -> bool:
    return facts.source.is_closed and facts.target.is_closed


def _units(facts: PairFacts, size: int, words: float) -> Iterator[Choice]:
    if _is_closed(facts):
        types = facts.source.word_types, facts.target.word_types
        why = f"Sources have {types[0]} different words, targets {types[1]}, all seen often: a unit a word."
        yield Choice("source", {"kind": "words"}, why)
        yield Choice("target", {"kind": "words"})
        return
    why = (
        f"Sentences: subwords. About {words:,.0f} running words on both sides fill {size:,} symbols, each "
        "often enough to be learnt (Gowda and May 2020)."
    )
    for key, side in (("source", facts.source), ("target", facts.target)):
        section: dict[str, object] = {"kind": "bpe", "size": size}
        if side.spaceless > 0.5 and side.alphabet > 1000:
            section = {"kind": "unigram", "size": max(size, 4000), "character_coverage": 0.9995}
            why = "Written without spaces, in thousands of characters: rare ones fall back to bytes."
        yield Choice(key, section, why)
        why = ""


def _lengths(facts: PairFacts) -> Iterator[Choice]:
    why = "Twice what all but one in a thousand rows need; longer ones are rejected and listed."
    for key, side in (("max_source_length", facts.source), ("max_target_length", facts.target)):
        longest = side.long_words if _is_closed(facts) else side.long_characters / _PIECE_CHARACTERS
        yield Choice(f"data.{key}", min(1024, max(64, 64 * math.ceil(2 * longest / 64))), why)
        why = ""


def _pieces(side: Side) -> float:
    """Guess how many units a value has."""
    if side.is_closed:
        return side.mean_words
    return max(side.mean_words, side.mean_characters / _PIECE_CHARACTERS * (1 + 1.5 * side.spaceless))


def _sentence_size(facts: PairFacts) -> _Size:
    """Small data want small models and much dropout (Araabi and Monz 2020)."""
    rows = facts.rows
    if rows < 12_000 and not _is_closed(facts):
        why = "few rows want a small model with much dropout (Araabi and Monz 2020)."
        return _Size(128, 3, 4, 512, 0.3, 0.0015, f"{rows:,} rows: {why}")
    if rows < 300_000:
        dropout = 0.1 if _is_closed(facts) else 0.25 if rows < 50_000 else 0.15
        why = (
            f"{rows:,} rows: the size that docs/results.md found for 29,000 captions, {dropout:g} of dropout."
        )
        return _Size(256, 3, 4, 512, dropout, 0.0012, why)
    if rows < 2_000_000:
        why = f"{rows:,} rows feed more layers, and want little dropout."
        return _Size(256, 5, 4, 1024, 0.1, 0.001, why)
    why = f"{rows:,} rows feed the base model of Vaswani et al. 2017; it wants a GPU."
    return _Size(512, 6, 8, 2048, 0.1, 0.0007, why)


def _sentence_metrics(facts: PairFacts) -> tuple[list[object], str, str]:
    target = facts.target
    if facts.source.long_words > _LONG_WORDS and target.mean_words < facts.source.mean_words / 3:
        return ["rouge1", "rouge2", "rougeL"], "rougeL", "Long sources with short targets: summaries."
    if _is_closed(facts):
        return ["exact_match"], "exact_match", "Small vocabularies on both sides: an answer is right or not."
    if facts.copied > _COPIED:
        why = f"{facts.copied:.0%} of the targets are their sources: sentences are mended, not translated."
        return ["exact_match", "bleu", "cer"], "bleu", why
    bleu: object = {"name": "bleu", "tokenize": "char"} if target.spaceless > 0.5 else "bleu"
    why = "What translations are scored by"
    why += "; characters count as words where there are no spaces." if target.spaceless > 0.5 else "."
    return [bleu, "chrf"], "bleu", why


# --- all pairs of text


def _transformer(size: _Size, positions: str, tie: str) -> Iterator[Choice]:
    part = {
        "kind": "transformer",
        "width": size.width,
        "layers": size.layers,
        "heads": size.heads,
        "feedforward_width": size.feedforward_width,
        "positions": positions,
        "dropout": size.dropout,
    }
    yield Choice("model.encoder", part, size.why)
    yield Choice("model.decoder", part)
    yield Choice("model.tie", tie, "Shared tables: fewer weights to learn from the same rows.")


def _weights(size: _Size) -> float:
    """Count weights of layers: 4 squares of attention (8 in a decoder) and the feed-forward block."""
    square, block = size.width**2, 2 * size.width * size.feedforward_width
    return size.layers * (12 * square + 2 * block)


def _training(found: Effort, batch: int, learning_rate: float, watch: str) -> Iterator[Choice]:
    yield Choice(
        "training.optimizer",
        {"kind": "adam", "learning_rate": float(f"{learning_rate:.2g}")},
        "What models of this width took in docs/results.md; the first thing to halve or double.",
    )
    warmup = min(1000, max(200, found.steps // 8 // 50 * 50))
    yield Choice(
        "training.schedule",
        {"kind": "cosine", "warmup_steps": warmup, "final_fraction": 0.02},
        "An eighth of the run to warm up, then down to nearly nothing: the end of a cosine is where it pays.",
    )
    yield Choice(
        "training.batch_tokens", batch, "More rows take larger batches; noise helps where there are few."
    )
    yield Choice("training.max_steps", found.steps, steps_why(found))
    yield Choice("training.validate_every", max(250, found.steps // 8 // 250 * 250))
    yield Choice("training.validation_examples", 1000)
    yield Choice("training.checkpoint_every", 250)
    yield Choice(
        "training.average",
        {"kind": "exponential", "decay": 0.999},
        "The mean of the last weights is steadier than the last ones, and costs nothing.",
    )
    yield Choice(
        "training.watch", watch, "The best weights are those that answer best, not those of least loss."
    )
