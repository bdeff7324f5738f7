"""What is drawn of an evaluation is what was evaluated."""

import numpy as np
import pytest
import torch

from dragoman.bundle import Bundle
from dragoman.data.codec import learn_codecs, ports_of
from dragoman.decoding.decode import decode
from dragoman.errors import UserError
from dragoman.evaluation.evaluate import evaluate
from dragoman.explanation.evaluation_pictures import draw_evaluation
from dragoman.explanation.forecast_pictures import MOST_PANELS, draw_forecasts
from dragoman.model.build import build_model
from dragoman.recipe.loading import recipe_from
from dragoman.records import EOS, Example, Recording, Series

LSTM = {"kind": "lstm", "width": 8, "dropout": 0.0}
TRANSFORMER = {"kind": "transformer", "width": 8, "layers": 1, "heads": 2, "dropout": 0.0}
RATE = 8000
TEXTS = [Example(text, (text.upper(),), str(n)) for n, text in enumerate(["a b", "b", "c a b", "b a", "c c"])]


def noise(seed, seconds):
    draw = np.random.default_rng(seed)
    return Recording((0.1 * draw.standard_normal(round(seconds * RATE))).astype(np.float32), RATE)


SOUNDS = [
    Example(noise(n, 0.5 + 0.1 * n), (text,), str(n)) for n, text in enumerate(["one two", "two", "two two"])
]


def bundle_of(examples, folder=None, **sections):
    """A tiny fresh model whose codecs are learnt from the examples."""
    recipe = recipe_from(
        {
            "run": "run",
            "data": {"train": [{"file": "made.tsv"}], "held_out_dev": 0.1},
            "source": {"kind": "characters"},
            "target": {"kind": "characters"},
            "model": {"encoder": LSTM, "decoder": LSTM},
            "training": {"max_steps": 1, **sections.pop("training", {})},
            "decoding": {"method": "greedy", "max_length": 6},
            "evaluation": {"metrics": ["exact_match"], "bootstrap_samples": 100},
            **sections,
        }
    )
    codecs = learn_codecs(recipe, lambda: examples)
    torch.manual_seed(1)
    model = build_model(recipe.model, *ports_of(recipe, codecs), recipe.training.objective).eval()
    return Bundle(recipe, codecs, model, folder)


def speech_of(method="greedy", objective="cross_entropy", decoder=TRANSFORMER, folder=None):
    return bundle_of(
        SOUNDS,
        folder,
        data={"train": [{"manifest": "made.tsv"}], "held_out_dev": 0.1},
        source={"kind": "speech", "sample_rate_hz": RATE, "mel_bins": 20},
        target={"kind": "words"},
        model={"encoder": TRANSFORMER, "decoder": decoder, "frontend": {}},
        training={"objective": {"kind": objective}},
        decoding={"method": method} | ({"max_length": 6} if method == "greedy" else {}),
    )


def drawing(bundle, examples, folder, *options):
    report = evaluate(bundle, examples)
    return report, draw_evaluation(bundle, report, folder, *options)


@pytest.mark.parametrize("picture_format", ["png", "svg"])
def test_text_gets_the_curve_and_its_first_examples(tmp_path, log, drawn, picture_format):
    bundle = bundle_of(TEXTS, tmp_path)
    report, files = drawing(bundle, TEXTS, tmp_path / "{}", picture_format, 2)
    names = ["learning_curve", "example-01", "example-02"]
    assert files == [tmp_path / "{}" / f"{name}.{picture_format}" for name in names]
    start = b"\x89PNG" if picture_format == "png" else b"<?xml"
    assert all(file.read_bytes().startswith(start) for file in files)
    for figure, prediction in zip(drawn[1:], report.predictions, strict=False):
        (panel,) = figure.axes
        source = [tick.get_text() for tick in panel.get_xticklabels()]
        assert source == [*prediction.example.source.replace(" ", "␣"), "<eos>"]
        written = bundle.codecs.text.pieces(prediction.hypotheses[0].tokens)
        assert panel.images[0].get_array().shape == (len(written), len(source))
        np.testing.assert_allclose(panel.images[0].get_array().sum(axis=1), 1, rtol=1e-5)
        assert f"expected: {prediction.example.targets[0]}\n" in figure.get_suptitle()


def test_without_a_log_there_is_no_curve_and_a_count_of_0_draws_no_example(tmp_path, log):
    _, files = drawing(bundle_of(TEXTS), TEXTS, tmp_path / "a", "png", 1)
    assert [file.name for file in files] == ["example-01.png"]
    _, files = drawing(bundle_of(TEXTS, tmp_path), TEXTS, tmp_path / "b", "png", 0)
    assert [file.name for file in files] == ["learning_curve.png"]


def test_a_decoder_that_attends_to_nothing_leaves_the_curve_or_nothing_to_draw(tmp_path, log):
    model = {"encoder": LSTM, "decoder": {**LSTM, "attention": {"kind": "none"}}}
    _, files = drawing(bundle_of(TEXTS, tmp_path, model=model), TEXTS, tmp_path / "a")
    assert [file.name for file in files] == ["learning_curve.png"]
    with pytest.raises(UserError, match="nothing to draw: .*log.jsonl.* attends to nothing"):
        drawing(bundle_of(TEXTS, model=model), TEXTS, tmp_path / "b")


def test_an_empty_source_is_left_out_and_numbers_stay_those_of_the_examples(tmp_path):
    given = [TEXTS[0], Example("", ("",)), TEXTS[1]]
    _, files = drawing(bundle_of(TEXTS), given, tmp_path)
    assert [file.name for file in files] == ["example-01.png", "example-03.png"]


def test_speech_is_drawn_above_what_was_attended_to(tmp_path, drawn):
    bundle = speech_of()
    report, files = drawing(bundle, SOUNDS, tmp_path, "png", 3)
    assert [file.name for file in files] == [f"example-0{number}.png" for number in (1, 2, 3)]
    for figure, prediction in zip(drawn, report.predictions, strict=True):
        sound, reading = figure.axes
        frames_SF = bundle.codecs.source.encode(prediction.example.source).values
        np.testing.assert_array_equal(sound.images[0].get_array(), frames_SF.T)
        written = bundle.codecs.text.pieces(prediction.hypotheses[0].tokens)
        assert [text.get_text() for text in reading.texts] == written
        np.testing.assert_allclose(reading.images[0].get_array().sum(axis=1), 1, rtol=1e-5)
        begin, end = reading.images[0].get_extent()[:2]
        assert end - begin == pytest.approx(0.04 * -(-len(frames_SF) // 4))


@pytest.mark.parametrize("method", ["ctc_greedy", "ctc_beam"])
def test_ctc_alone_shows_where_its_symbols_stand(tmp_path, drawn, method):
    bundle = speech_of(method, "ctc", {"kind": "none"})
    report, _ = drawing(bundle, SOUNDS, tmp_path)
    assert any(len(prediction.hypotheses[0].tokens) > 1 for prediction in report.predictions)
    for figure, prediction in zip(drawn, report.predictions, strict=True):
        tokens = [token for token in prediction.hypotheses[0].tokens if token != EOS]
        assert len(figure.axes) == (2 if tokens else 1)
        for reading in figure.axes[1:]:
            assert [text.get_text() for text in reading.texts] == bundle.codecs.text.pieces(tokens)
            shares = reading.images[0].get_array()
            assert (shares.sum(axis=0) < 1 + 1e-6).all()
            assert (shares.sum(axis=1) > 1 - 1e-6).all()
        if not tokens:
            assert "written: (nothing)" in figure.get_suptitle()


def forecasts_of(variables=2, windows=9, decoding=None, objective="gaussian"):
    draw = np.random.default_rng(0)
    names = tuple(f"v{number}" for number in range(variables))
    examples = [
        Example(
            Series(draw.normal(3, 2, (6, variables)), names, f"shop {n}"),
            (Series(draw.normal(3, 2, (4, variables)), names, f"shop {n}"),),
            str(n),
        )
        for n in range(windows)
    ]
    bundle = bundle_of(
        examples,
        data={
            "train": [{"series": "made.csv", "part": [None, -10]}],
            "dev": {"series": "made.csv", "part": [-10, None]},
            "windows": {"context": 6, "horizon": 4},
        },
        source={"kind": "numbers", "scale": "window"},
        target={"kind": "numbers", "scale": "window"},
        model={"encoder": {**LSTM, "bidirectional": False}, "decoder": LSTM},
        training={"objective": {"kind": objective}},
        decoding={"method": "forecast", **(decoding or {})},
        evaluation={"metrics": ["mse"], "bootstrap_samples": 100},
    )
    return bundle, examples


def lines(panel):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in panel.lines}


def test_forecasts_stand_against_what_came_and_are_spread_over_the_set(tmp_path, drawn):
    bundle, examples = forecasts_of()
    report, files = drawing(bundle, examples, tmp_path, "png", 3)
    assert [file.name for file in files] == ["example-01.png", "example-05.png", "example-09.png"]
    for figure, place in zip(drawn, (0, 4, 8), strict=True):
        for number, panel in enumerate(figure.axes):
            found, example = lines(panel), examples[place]
            np.testing.assert_array_equal(found["past"], example.source.values[:, number])
            np.testing.assert_array_equal(found["what came"][1:], example.targets[0].values[:, number])
            point = report.predictions[place].values[0].values[:, number]
            np.testing.assert_array_equal(found["forecast"][1:], point)
        assert figure.axes[0].get_title(loc="left") == f"shop {place}"


@pytest.mark.parametrize(
    ("decoding", "bands"),
    [
        ({}, []),
        ({"samples": 20}, ["90% interval", "50% interval"]),
        ({"samples": 20, "quantiles": [0.1, 0.9]}, ["80% interval"]),
    ],
)
def test_bands_are_the_quantiles_asked_for_or_those_of_samples(tmp_path, drawn, decoding, bands):
    bundle, examples = forecasts_of(decoding=decoding)
    drawing(bundle, examples, tmp_path, "png", 1)
    panel = drawn[0].axes[0]
    assert [band.get_label() for band in panel.collections] == bands


def test_of_wide_series_the_first_variables_are_drawn(tmp_path, drawn):
    bundle, examples = forecasts_of(variables=MOST_PANELS + 3, windows=2)
    drawing(bundle, examples, tmp_path, "svg", 1)
    assert len(drawn[0].axes) == MOST_PANELS
    assert drawn[0].axes[0].get_title(loc="left") == "shop 0: the first 8 of 11 variables"


@pytest.mark.parametrize(("variables", "shown"), [(1, 8), (3, 2), (11, 1)])
def test_of_many_series_as_many_are_drawn_as_there_is_room_for(tmp_path, drawn, variables, shown):
    bundle, examples = forecasts_of(variables=variables, decoding={"samples": 20})
    predictions = list(decode(bundle, examples, bundle.recipe.decoding))
    assert draw_forecasts(bundle, predictions, tmp_path / "fan.png") == shown
    titles = [title for panel in drawn[0].axes if (title := panel.get_title(loc="left"))]
    assert [title.partition(":")[0] for title in titles] == [f"shop {number}" for number in range(shown)]
    panel = drawn[0].axes[-1]
    point = predictions[shown - 1].values[0].values[:, min(variables, MOST_PANELS) - 1]
    np.testing.assert_array_equal(lines(panel)["forecast"][1:], point)
    assert [band.get_label() for band in panel.collections] == ["90% interval", "50% interval"]
    assert "what came" not in lines(panel)
