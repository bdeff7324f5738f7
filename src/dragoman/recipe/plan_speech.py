"""Rules for speech to text: frames, a Conformer with CTC beside attention, masks."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.recipe.facts import SpeechFacts
from dragoman.recipe.planning import Choice, effort, split_choices, steps_why

_RATES_HZ = (8000, 16000)
_FRAMES_A_SECOND = 100
_SHORTENING = 4


def speech_choices(facts: SpeechFacts) -> Iterator[Choice]:
    """Choose all of a recipe for recordings with transcripts."""
    yield from split_choices(facts.files, facts.rows)
    yield from _source(facts)
    target = facts.target
    is_closed = target.word_types <= 200 and target.sampled_words >= 20 * target.word_types
    why = (
        f"All that is said are {target.word_types} different words, heard again and again: a unit a word."
        if is_closed
        else "Hours, not thousands of hours: characters, since most words are heard too seldom."
    )
    yield Choice("target", {"kind": "words" if is_closed else "characters"}, why)
    yield from _model(facts, is_closed)
    yield from _training(facts, is_closed)
    yield Choice(
        "decoding",
        {"method": "beam", "beam": 5, "ctc_weight": 0.3, "length_penalty": 0.0},
        "CTC beside the decoder keeps it from skipping and repeating (Watanabe et al. 2017).",
    )
    metrics = ["wer", "exact_match"] if is_closed else ["cer", "wer"]
    yield Choice("evaluation.metrics", metrics, "What recognisers are scored by; lower is better.")


def _source(facts: SpeechFacts) -> Iterator[Choice]:
    rate_hz = 8000 if facts.sample_rate_hz < _RATES_HZ[1] else _RATES_HZ[1]
    bins = 40 if rate_hz == _RATES_HZ[0] else 80
    longest = max(30.0, float(round(facts.longest_seconds + 1)))
    section: dict[str, object] = {"kind": "speech", "sample_rate_hz": rate_hz, "mel_bins": bins}
    if longest > 30:
        section["max_seconds"] = longest
    section |= {"speeds": [0.9, 1.0, 1.1], "frequency_masks": 2, "frequency_mask_bins": bins // 5}
    section |= {"time_masks": 2, "time_mask_seconds": 0.4}
    yield Choice(
        "source",
        section,
        f"Most recordings have {facts.sample_rate_hz:,} Hz. {facts.hours:.1f} hours are little: three speeds "
        "(Ko et al. 2015) and masks of bands and time (Park et al. 2019) make them go further.",
    )
    frames = round(longest * _FRAMES_A_SECOND / 0.9) + 1
    if frames > 1024:
        yield Choice("data.max_source_length", frames, "Frames of the longest clip at the slowest speed.")


def _model(facts: SpeechFacts, is_closed: bool) -> Iterator[Choice]:
    is_small = facts.hours < 20
    width, layers = (144, 4 if is_closed else 6) if is_small else (256, 8)
    dropout = 0.2 if facts.hours < 5 else 0.1
    yield Choice(
        "model.frontend",
        {"kernels": [5, 5], "strides": [2, 2]},
        "A step of 40 milliseconds: short enough for a sound, and four times less to attend to.",
    )
    part = {"width": width, "heads": 4, "feedforward_width": 4 * width, "dropout": dropout}
    yield Choice(
        "model.encoder",
        {"kind": "conformer", "layers": layers, "kernel_width": 15, **part},
        f"The small Conformer of Gulati et al. 2020 for {facts.hours:.1f} hours, {dropout:g} of dropout.",
    )
    yield Choice("model.decoder", {"kind": "transformer", "layers": 2, **part})


def _training(facts: SpeechFacts, is_closed: bool) -> Iterator[Choice]:
    yield Choice(
        "training.objective",
        {"kind": "cross_entropy", "label_smoothing": 0.1, "ctc_weight": 0.3},
        "CTC teaches the encoder which sound is which symbol; attention alone learns that late.",
    )
    yield Choice("training.optimizer", {"kind": "adamw", "learning_rate": 0.001, "weight_decay": 0.01})
    batch = 12_000
    frames = max(1.0, facts.hours * 3600 * _FRAMES_A_SECOND / max(facts.rows, 1))
    weights = 4.0e6 if facts.hours < 20 else 2.2e7
    # Frames count four times less behind the frontend.
    found = effort(facts.rows, batch / frames, 60.0, batch // _SHORTENING, weights)
    warmup = min(1000, max(200, found.steps // 8 // 50 * 50))
    yield Choice(
        "training.schedule",
        {"kind": "cosine", "warmup_steps": warmup, "final_fraction": 0.02},
        "A Conformer wants to warm up; then down to nearly nothing.",
    )
    yield Choice("training.batch_tokens", batch, "Frames: two minutes of sound a step.")
    yield Choice("training.max_steps", found.steps, steps_why(found))
    yield Choice("training.validate_every", 250)
    yield Choice("training.validation_examples", 300)
    yield Choice("training.checkpoint_every", 250)
    yield Choice("training.average", {"kind": "checkpoints", "count": 3}, "Steadier than the last weights.")
    yield Choice("training.watch", "wer" if is_closed else "cer")
