"""Attributions against what is known of them: sums, gradients by other means, and cases with one answer."""

import math

import numpy as np
import pytest
import torch

from dragoman.data.number_codec import NumbersCodec
from dragoman.decoding.decode import decode
from dragoman.errors import DataError, UserError
from dragoman.explanation.attribution import attention_parts, attribute
from dragoman.explanation.explained import (
    asking,
    baseline_of,
    explained,
    explained_steps,
    hidden,
    inputs_of,
)
from dragoman.explanation.subject import subject_of
from dragoman.model.contracts import Decoded, Decoder, Encoder, Memory
from dragoman.records import Example

TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 2, "heads": 2}
GRU = {"kind": "gru", "width": 8}
ENCODERS = {
    "rnn": {"kind": "rnn", "width": 8},
    "gru": {**GRU, "layers": 2},
    "lstm": {"kind": "lstm", "width": 8},
    "transformer": TRANSFORMER,
    "rotary": {**TRANSFORMER, "positions": "rotary", "norm_position": "post"},
    "conformer": {"kind": "conformer", "width": 8, "layers": 1, "heads": 2, "kernel_width": 3},
}
ATTENTIONS = {
    "dot": {"kind": "dot"},
    "general": {"kind": "general"},
    "additive": {"kind": "additive"},
    "scaled_dot": {"kind": "scaled_dot", "heads": 2},
    "location": {"kind": "location"},
}
DECODERS = {
    "transformer": TRANSFORMER,
    **{name: {**GRU, "attention": section} for name, section in ATTENTIONS.items()},
    "fed": {"kind": "lstm", "width": 8, "input_feeding": True},
    "none": {**GRU, "attention": {"kind": "none"}},
}
TEXT = Example("ein Hund")
GRADUAL = ("gradient_input", "integrated_gradients", "occlusion")


def subject_in(made, encoder="gru", decoder="transformer", target="DIE", **sections):
    bundle = made(model={"encoder": ENCODERS[encoder], "decoder": DECODERS[decoder]}, **sections)
    return subject_of(bundle, TEXT, target)


# --- attention


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "none"])
def test_attention_is_what_decoding_read_and_the_mean_of_its_parts(made, decoder):
    bundle = made(model={"encoder": GRU, "decoder": DECODERS[decoder]})
    subject = subject_of(bundle, TEXT)
    mean, parts = attribute(subject, "attention"), attention_parts(subject)
    (told,) = decode(bundle, [TEXT], reads=True)
    np.testing.assert_allclose(mean.weights_TS, told.hypotheses[0].reads.numpy(), atol=1e-12)
    np.testing.assert_allclose(mean.weights_TS, np.mean([part.weights_TS for part in parts], axis=0))
    for found in (mean, *parts):
        assert found.weights_TS.shape == (len(subject.pieces), len(subject.places))
        np.testing.assert_allclose(found.weights_TS.sum(1), 1)
        assert (found.method, found.is_signed) == ("attention", False)
    layers, heads = {"transformer": (2, 2), "scaled_dot": (1, 2)}.get(decoder, (1, 1))
    names = [f"layer {layer + 1} head {head + 1}" for layer in range(layers) for head in range(heads)]
    assert [part.part for part in parts] == names


def test_a_decoder_without_attention_or_no_decoder_says_what_would_do(made, speech_made):
    subject = subject_in(made, "transformer", "none")
    with pytest.raises(UserError, match="one fixed vector .* gradient_input, integrated_gradients or"):
        attention_parts(subject)
    for method in ("attention", "rollout"):
        with pytest.raises(UserError, match="one fixed vector"):
            attribute(subject, method)
    bundle, example = speech_made(None)
    for method in ("attention", "rollout", "contrastive"):
        with pytest.raises(UserError, match="no decoder .* would do"):
            attribute(subject_of(bundle, example, "one two"), method)


def test_an_aligned_decoder_reads_its_own_step(series_made):
    aligned = {"kind": "lstm", "width": 8, "attention": {"kind": "aligned"}}
    bundle, example = series_made({"decoder": aligned, "rollout": {"kind": "whole"}})
    subject = subject_of(bundle, example)
    np.testing.assert_array_equal(attribute(subject, "attention").weights_TS, np.eye(6))
    assert [part.part for part in attention_parts(subject)] == ["layer 1 head 1"]


def test_numbers_of_a_patch_share_what_it_read(series_made):
    bundle, example = series_made({"decoder": TRANSFORMER, "rollout": {"kind": "steps", "patch": 3}})
    weights_TS = attribute(subject_of(bundle, example), "attention").weights_TS
    assert weights_TS.shape == (4, 6)
    np.testing.assert_allclose(weights_TS.sum(1), 1)
    np.testing.assert_array_equal(weights_TS[0], weights_TS[2])
    assert (weights_TS[2] != weights_TS[3]).any()


@pytest.mark.parametrize("encoder", ["transformer", "rotary", "conformer"])
def test_rollout_goes_through_every_layer(made, encoder):
    subject = subject_in(made, encoder)
    found = attribute(subject, "rollout").weights_TS
    np.testing.assert_allclose(found.sum(1), 1)
    layers = subject.bundle.model.encoder.layers
    with torch.no_grad():  # every layer hears all steps alike, so what is read is mixed evenly
        for layer in layers:
            layer.hear.inward.weight.zero_()
            layer.hear.inward.bias.zero_()
    read_TS = attribute(subject, "attention").weights_TS
    kept = 0.5 ** len(layers)
    mixed_TS = kept * read_TS + (1 - kept) / len(subject.places)
    np.testing.assert_allclose(attribute(subject, "rollout").weights_TS, mixed_TS)


def test_rollout_needs_self_attention(made):
    with pytest.raises(UserError, match="this encoder is of the kind gru; attention, .* would do"):
        attribute(subject_in(made, "gru"), "rollout")


# --- gradients


def slope(subject):
    """How fast what is explained grows with the whole source, by differences instead of gradients."""
    inputs, step = inputs_of(subject), 1e-6
    more, less = (explained(subject, (1 + sign * step) * inputs)[0].numpy() for sign in (1, -1))
    return (more - less) / (2 * step)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", ["transformer", "fed", "location", "none"])
def test_gradient_times_input_sums_to_the_slope(made, encoder, decoder):
    subject = subject_in(made, encoder, decoder)
    found = attribute(subject, "gradient_input")
    assert found.is_signed
    np.testing.assert_allclose(found.weights_TS.sum(1), slope(subject), rtol=1e-5, atol=1e-8)
    assert np.abs(found.weights_TS).max() > 1e-3


@pytest.mark.parametrize("encoder", ["rnn", "gru", "lstm", "smooth"])
def test_integrated_gradients_are_complete(made, encoder):
    smooth = {**TRANSFORMER, "layers": 1, "activation": "gelu", "norm_position": "post"}
    bundle = made(model={"encoder": {**ENCODERS, "smooth": smooth}[encoder], "decoder": GRU})
    subject = subject_of(bundle, TEXT, "DI")
    ends = explained(subject, torch.cat([baseline_of(subject), inputs_of(subject)])).numpy()
    wanted = ends[1] - ends[0]
    found = attribute(subject, "integrated_gradients", points=300)
    np.testing.assert_allclose(found.weights_TS.sum(1), wanted, atol=1e-3 * np.abs(wanted).max())
    np.testing.assert_allclose(found.error_T, np.abs(found.weights_TS.sum(1) - wanted), atol=1e-9)


@pytest.mark.parametrize("encoder", ["rotary", "conformer"])
def test_points_go_where_gradients_change_fast(made, encoder):
    one_layer = {**ENCODERS[encoder], "layers": 1}
    subject = subject_of(made(model={"encoder": one_layer, "decoder": GRU}), TEXT, "DI")
    coarse = attribute(subject, "integrated_gradients", points=64).error_T
    fine = attribute(subject, "integrated_gradients").error_T
    assert coarse.max() > 0.2, "normalisation of almost nothing is steep"
    assert fine.max() < coarse.max() / 10


@pytest.mark.parametrize("encoder", ["rnn", "gru", "lstm", "transformer", "conformer"])
def test_float32_and_its_kernels_say_what_float64_says(made, encoder):
    subject = subject_in(made, encoder, "fed", double=False)
    precise = subject_of(made(model={"encoder": ENCODERS[encoder], "decoder": DECODERS["fed"]}), TEXT, "DIE")
    for method in ("gradient_input", "occlusion"):
        found, wanted = (attribute(one, method).weights_TS for one in (subject, precise))
        np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())


def test_the_model_is_given_back_as_it_was(made):
    subject = subject_in(made)
    model = subject.bundle.model.train()
    model.head.bias.requires_grad_(False)
    try:
        for method in GRADUAL:
            attribute(subject, method)
        assert all(part.training for part in model.modules())
        assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["head.bias"]
        assert all(weight.grad is None for weight in model.parameters())
    finally:
        model.eval()


class _PlainEncoder(Encoder):
    """Hands frames on as they are."""

    def __init__(self, width):
        super().__init__()
        self.input_width = self.width = width

    def forward(self, inputs_NSD, mask_NS):
        return Memory(inputs_NSD, mask_NS, inputs_NSD.mean(1))


class _MixingDecoder(Decoder):
    """Writes weighted sums of what was read."""

    def __init__(self, weights_TS, width):
        super().__init__()
        self.input_width, self.width, self.weights_TS = 0, width, weights_TS

    def start(self, memory, beams=1):
        return memory

    def forward(self, inputs_BTD, state, reads=False):
        return Decoded(self.weights_TS @ state.values_NSD), state


def test_a_linear_model_has_one_explanation(series_made):
    bundle, example = series_made({"rollout": {"kind": "whole"}}, {"missing": "refuse"})
    model, weights_TS = bundle.model, torch.randn(4, 6, dtype=torch.float64)
    model.encoder, model.decoder = _PlainEncoder(2), _MixingDecoder(weights_TS, 2)
    model.head.linear = torch.nn.Linear(2, model.head.linear.out_features).double()
    subject = subject_of(bundle, example, example.targets[0])
    frames_SF = bundle.codecs.source.encode(example.source).values.astype(float)
    # locations of both variables are rows 0 and 2: beside each stands its scale
    sum_F = model.head.linear.weight.detach().numpy()[:: model.head.sizes].sum(0)
    wanted_TS = weights_TS.numpy() * (frames_SF @ sum_F)
    for method in GRADUAL:
        np.testing.assert_allclose(attribute(subject, method).weights_TS, wanted_TS, atol=1e-9)


# --- occlusion


def test_a_step_that_is_not_read_yet_counts_nothing(series_made):
    ahead = {"kind": "lstm", "width": 8, "bidirectional": False}
    aligned = {"kind": "lstm", "width": 8, "attention": {"kind": "aligned"}}
    bundle, example = series_made({"encoder": ahead, "decoder": aligned, "rollout": {"kind": "whole"}})
    subject = subject_of(bundle, example)
    future_TS = np.triu(np.ones((6, 6), bool), 1)
    for method in GRADUAL:
        weights_TS = attribute(subject, method).weights_TS
        np.testing.assert_allclose(weights_TS[future_TS], 0, atol=1e-12)
        assert (np.abs(weights_TS[~future_TS]) > 1e-9).all()


def test_a_span_is_hidden_at_once_and_its_drop_is_that_of_its_steps(made):
    subject = subject_in(made)
    steps = len(subject.places)
    is_hidden = torch.zeros(steps - 1, steps, dtype=torch.bool)
    for first in range(steps - 1):
        is_hidden[first, first : first + 2] = True
    whole = explained(subject, inputs_of(subject)).numpy()
    drops_RT = whole - explained(subject, hidden(subject, is_hidden)).numpy()
    found = attribute(subject, "occlusion", width=2)
    np.testing.assert_allclose(found.weights_TS[:, 0], drops_RT[0], atol=1e-12)
    np.testing.assert_allclose(found.weights_TS[:, 1], (drops_RT[0] + drops_RT[1]) / 2, atol=1e-12)
    np.testing.assert_allclose(found.weights_TS[:, -1], drops_RT[-1], atol=1e-12)
    assert found.part == "2 steps"
    every = attribute(subject, "occlusion", width=steps).weights_TS
    emptied = whole - explained(subject, baseline_of(subject)).numpy()
    np.testing.assert_allclose(every, np.repeat(emptied.T, steps, 1), atol=1e-12)


@pytest.mark.parametrize(
    ("source", "text", "words"),
    [
        ({"kind": "characters"}, "ein Hund", ["ein", " Hund", "</s>"]),
        ({"kind": "bpe", "size": 290}, "ein  Hund", ["ein", "  Hund", "</s>"]),
        ({"kind": "words", "separator": "-"}, "ein-Hund", ["ein", "Hund", "</s>"]),
        ({"kind": "characters", "features": ";"}, "ein Hund\tV;N", ["VN", "ein", " Hund", "</s>"]),
    ],
)
def test_words_are_hidden_whole(made, source, text, words):
    subject = subject_of(made(source=source), Example(text), "DIE")
    weights_TS = attribute(subject, "occlusion", width="words").weights_TS
    begins = [0, *(np.flatnonzero(np.diff(weights_TS[0])) + 1), len(subject.places)]
    found = [
        "".join(place.label for place in subject.places[i:j])
        for i, j in zip(begins, begins[1:], strict=False)
    ]
    assert [word.replace("\u2581", "") for word in found] == words


def test_speech_is_hidden_by_steps_of_the_encoder(speech_made):
    bundle, example = speech_made(TRANSFORMER)
    subject = subject_of(bundle, example, "one two")
    is_hidden = torch.zeros(1, len(subject.places), dtype=torch.bool)
    is_hidden[0, 2] = True
    changed_S = (hidden(subject, is_hidden) != inputs_of(subject))[0].any(1).nonzero().flatten()
    assert changed_S.tolist() == [8, 9, 10, 11]
    for method in GRADUAL:
        weights_TS = attribute(subject, method).weights_TS
        assert weights_TS.shape == (3, len(subject.places))
        assert (np.abs(weights_TS).sum(0) > 0).all()


def test_frames_that_are_not_normalised_have_their_own_mean_as_the_source_that_says_nothing(
    speech_made, series_made
):
    bundle, example = speech_made(TRANSFORMER, normalise="none")
    series, window = series_made(source={"scale": "none"})
    assert isinstance(series.codecs.source, NumbersCodec)
    for subject in (subject_of(bundle, example, "one"), subject_of(series, window)):
        baseline, inputs = baseline_of(subject), inputs_of(subject)
        torch.testing.assert_close(baseline, inputs.mean(1, keepdim=True).expand_as(inputs))


# --- contrast


def test_contrast_is_the_difference_of_two_gradients(made):
    subject, other = subject_in(made), subject_in(made, target="DUE")
    found = attribute(subject, "contrastive", step=1, foil="U")
    both = [attribute(one, "gradient_input").weights_TS[1] for one in (subject, other)]
    np.testing.assert_allclose(found.weights_TS, [both[0] - both[1]], atol=1e-12)
    assert found.part == "step 1: 'I' and not 'U'"


def test_every_token_is_contrasted_with_its_runner_up(made):
    bundle = made(model={"encoder": GRU, "decoder": TRANSFORMER})
    subject = subject_of(bundle, TEXT)
    every = attribute(subject, "contrastive").weights_TS
    assert every.shape == (len(subject.pieces), len(subject.places))
    alone = attribute(subject, "contrastive", step=2)
    np.testing.assert_allclose(alone.weights_TS[0], every[2], atol=1e-12)
    named = attribute(subject, "contrastive", step=2, foil=alone.part.rpartition("not ")[2].strip("'"))
    np.testing.assert_allclose(named.weights_TS, alone.weights_TS, atol=1e-12)


def test_the_end_and_pieces_can_be_foils(made):
    bundle = made(target={"kind": "bpe", "size": 290})
    subject = subject_of(bundle, TEXT, "EIN HUND")
    assert attribute(subject, "contrastive", step=0, foil="</s>").part.endswith("not '</s>'")
    piece = bundle.codecs.text.pieces([270])[0]
    assert attribute(subject, "contrastive", step=0, foil=piece).part.endswith(f"not {piece!r}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foil": "U"}, "say which `step`"),
        ({"step": 4}, "expected a step from 0 to 3, found 4"),
        ({"step": 0, "foil": "D"}, "'D' is what the answer has at step 0"),
        ({"step": 0, "foil": "日"}, "'日' is not in the model's vocabulary"),
        ({"step": 0, "foil": ""}, "'' is not in the model's vocabulary"),
        ({"step": 0, "foil": "UND"}, r"'UND' is 3 tokens here \('U', 'N', 'D'\)"),
    ],
)
def test_false_foils_are_named(made, options, message):
    with pytest.raises(UserError, match=message):
        attribute(subject_in(made), "contrastive", **options)


# --- CTC, options, and another library


def test_ctc_alone_is_asked_of_the_whole_answer(speech_made):
    bundle, example = speech_made(None)
    (own,) = decode(bundle, [example])
    subject = subject_of(bundle, example)
    assert subject.pieces == (own.values[0],)
    found = explained(subject, inputs_of(subject))
    assert float(found) == pytest.approx(own.hypotheses[0].score, abs=1e-4)
    bundle.model.double()
    subject = subject_of(bundle, example, "two one two")
    weights_TS = attribute(subject, "gradient_input").weights_TS
    assert weights_TS.shape == (1, len(subject.places))
    np.testing.assert_allclose(weights_TS.sum(1), slope(subject), rtol=1e-5)
    assert attribute(subject, "integrated_gradients").error_T[0] < 0.05
    empty = subject_of(bundle, example, "")
    assert math.isfinite(float(explained(empty, inputs_of(empty))))
    with pytest.raises(DataError, match=r"no path of \d+ steps writes these 40 tokens"):
        attribute(subject_of(bundle, example, "two " * 40), "occlusion")


def test_options_of_other_methods_and_wrong_numbers_are_refused(made, series_made):
    subject = subject_in(made)
    with pytest.raises(UserError) as caught:
        attribute(subject, "attention", points=3, width=2, step=1, foil="x")
    assert str(caught.value).splitlines() == [
        f"`{name}` has no effect on attention: it is an option of {owner}"
        for name, owner in [
            ("points", "integrated_gradients"),
            ("width", "occlusion"),
            ("step", "contrastive"),
            ("foil", "contrastive"),
        ]
    ]
    with pytest.raises(UserError, match="expected 1 point or more, found 0"):
        attribute(subject, "integrated_gradients", points=0)
    for width in (0, 10):
        with pytest.raises(UserError, match=f"from 1 to the source's 9 steps, found {width}"):
            attribute(subject, "occlusion", width=width)
    bundle, example = series_made()
    numbers = subject_of(bundle, example)
    with pytest.raises(UserError, match="`words` is for sources of text"):
        attribute(numbers, "occlusion", width="words")
    with pytest.raises(UserError, match="numbers have no words"):
        attribute(numbers, "contrastive")


@pytest.mark.parametrize("encoder", ["lstm", "transformer"])
def test_captum_finds_the_same(made, encoder):
    captum = pytest.importorskip("captum.attr")
    subject = subject_in(made, encoder, target="D")
    inputs, baseline = inputs_of(subject), baseline_of(subject)

    def answer(inputs_RSE):
        return torch.stack(list(explained_steps(subject, inputs_RSE)), 1)

    with asking(subject):
        for step in range(len(subject.pieces)):
            by = captum.InputXGradient(answer).attribute(inputs.clone().requires_grad_(), target=step)
            ours = attribute(subject, "gradient_input").weights_TS[step]
            np.testing.assert_allclose(ours, by[0].sum(1).detach().numpy(), atol=1e-9)
            by = captum.IntegratedGradients(answer).attribute(inputs, baseline, target=step, n_steps=50)
            ours = attribute(subject, "integrated_gradients", points=50).weights_TS[step]
            np.testing.assert_allclose(ours, by[0].sum(1).numpy(), atol=1e-6)
            window = (2, inputs.shape[2])
            by = captum.Occlusion(answer).attribute(inputs, window, target=step, baselines=baseline)
            ours = attribute(subject, "occlusion", width=2).weights_TS[step]
            np.testing.assert_allclose(ours, by[0, :, 0].detach().numpy(), atol=1e-9)
