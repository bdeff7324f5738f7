"""Pictures are real files of the kind that their name says, and faults are named."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dragoman.data.features import LogMel
from dragoman.errors import DataError, MissingExtra
from dragoman.explanation.pictures import (
    MOST_INCHES,
    Fan,
    attention_picture,
    check_drawing,
    fan_chart,
    learning_curve,
    spectrogram_picture,
)
from dragoman.recipe.speech import Speech
from dragoman.records import Series

SPEECH = Speech(kind="speech", sample_rate_hz=8000, mel_bins=40)
FRAMES = np.random.default_rng(0).standard_normal((203, 40)).astype(np.float32)
WORDS = ["one", "two", "three", "four", "<eos>"]


def test_a_learning_curve_shows_loss_and_metrics(log, tmp_path):
    out = tmp_path / "pictures" / "curve.svg"
    learning_curve(log, out)
    text = out.read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    for label in ("training", "validation", "bleu", "loss (nats a token)"):
        assert f"<!-- {label}" in text


def test_a_learning_curve_marks_the_best_step_and_has_one_time_axis(log, tmp_path, drawn):
    learning_curve(log, tmp_path / "curve.png", "units of the objective")
    loss, bleu = drawn[0].axes
    assert loss.get_ylabel() == "loss (units of the objective)"
    assert loss.get_xlim() == bleu.get_xlim()
    training, validation, best = loss.lines
    assert training.get_ydata().tolist() == [3.0, 2.0, 1.0]
    assert (validation.get_xdata().tolist(), validation.get_ydata().tolist()) == ([20, 30], [2.5, 2.7])
    assert (best.get_label(), best.get_xdata()[0]) == ("best step: 20", 20)


def test_many_metrics_stand_in_rows(log, tmp_path, drawn):
    row = {"kind": "validation", "step": 30, "loss": 2.0, "metrics": dict.fromkeys("abcdef", 1.0)}
    log.write_text(log.read_text("utf-8") + json.dumps(row) + "\n", "utf-8")
    learning_curve(log, tmp_path / "curve.png")
    titles = [panel.get_title() for panel in drawn[0].axes]
    assert titles == ["loss", *(f"{label} (validation)" for label in ["a", "b", "bleu", *"cdef"])]
    assert drawn[0].get_figwidth() < 15


def test_an_attention_picture_is_as_large_as_its_pieces(tmp_path):
    reads_TS = torch.softmax(torch.randn(9, 12), dim=1)
    attention_picture(reads_TS, ["a"] * 4, ["b"] * 3, tmp_path / "small.png")
    attention_picture(reads_TS, ["a"] * 12, ["b"] * 9, tmp_path / "large.png")
    sizes = [
        int.from_bytes((tmp_path / name).read_bytes()[16:20], "big") for name in ("small.png", "large.png")
    ]
    assert sizes[0] < sizes[1]


def test_an_attention_picture_shows_its_weights_and_pieces(tmp_path, drawn):
    reads_TS = torch.softmax(3 * torch.randn(4, 6), dim=1)
    attention_picture(
        reads_TS, [*"abc d"], ["x", "\n", "<eos>"], tmp_path / "a.png", "expected: x\nwritten: y"
    )
    (panel,) = drawn[0].axes
    np.testing.assert_array_equal(panel.images[0].get_array(), reads_TS[:3, :5].numpy())
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["a", "b", "c", "␣", "d"]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["x", "↵", "<eos>"]
    assert drawn[0].get_suptitle() == "expected: x\nwritten: y"


def test_labels_of_any_length_and_number_do_not_overlap(tmp_path, drawn):
    attention_picture(torch.rand(3, 300), ["characteristically"] * 300, WORDS[:3], tmp_path / "a.png")
    assert drawn[0].get_figwidth() <= MOST_INCHES + 4
    labels = drawn[0].axes[0].get_xticklabels()
    assert 90 < len(labels) < 300
    assert not overlapping(drawn[0], labels)


def test_attention_that_looks_everywhere_alike_is_pale_and_a_peak_is_dark(tmp_path, drawn):
    alike, peaked = torch.full((2, 50), 0.02), torch.eye(2, 50)
    for reads_TS, shade in ((alike, 0.25), (peaked, 1.0)):
        attention_picture(reads_TS, ["a"] * 50, ["b"] * 2, tmp_path / "a.png")
        assert drawn[-1].axes[0].images[0].norm(reads_TS.max().item()) == pytest.approx(shade)


@pytest.mark.parametrize("text", ["$5", "$x$", r"$\frac$", "$$"])
def test_dollars_are_no_mathematics(tmp_path, text):
    attention_picture(torch.ones(1, 1), [text], [text], tmp_path / "a.svg", text)
    assert (tmp_path / "a.svg").read_text("utf-8").count(f"<!-- {text} -->") == 3


def overlapping(figure, labels):
    """Return the pairs of labels that stand upon one another, and labels that are not inside the picture."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [label.get_window_extent(renderer).shrunk(0.99, 0.99) for label in labels]
    pairs = [(i, j) for i, one in enumerate(boxes) for j in range(i) if one.overlaps(boxes[j])]
    outside = [
        i for i, box in enumerate(boxes) if not figure.bbox.containsx(box.x0) or box.x1 > figure.bbox.x1
    ]
    return pairs + outside


def test_a_spectrogram_has_attention_below_it_at_the_same_times(tmp_path, drawn):
    reads_TR = torch.softmax(torch.randn(5, 51), dim=1)
    spectrogram_picture(tmp_path / "s.png", FRAMES, SPEECH, reads_TR, WORDS, 4, "expected: 1")
    sound, reading = drawn[0].axes
    np.testing.assert_array_equal(sound.images[0].get_array(), FRAMES.T)
    np.testing.assert_array_equal(reading.images[0].get_array(), reads_TR.numpy())
    # A frame of 25 ms every 10 ms: the first is centred at 12.5 ms and stands for 10 ms.
    assert sound.images[0].get_extent()[:2] == pytest.approx((0.0075, 0.0075 + 2.03))
    assert reading.images[0].get_extent()[:2] == pytest.approx((0.0075, 0.0075 + 51 * 0.04))
    assert sound.get_xlim() == reading.get_xlim() == pytest.approx((0, 2.0375))
    left, right = (panel.get_window_extent() for panel in (sound, reading))
    assert (left.x0, left.x1) == (right.x0, right.x1)
    assert drawn[0].get_suptitle() == "expected: 1"


@pytest.mark.parametrize("peaks", [(2, 12, 25, 38, 50), (50, 50, 50, 50, 50), (0, 0, 0, 0, 0)])
def test_pieces_stand_beside_their_peaks_and_not_upon_one_another(tmp_path, drawn, peaks):
    reads_TR = torch.nn.functional.one_hot(torch.tensor(peaks), 51) * 0.9
    spectrogram_picture(tmp_path / "s.png", FRAMES, SPEECH, reads_TR, WORDS, 4)
    labels = drawn[0].axes[1].texts
    assert [label.get_text() for label in labels] == WORDS
    for row, (label, peak) in enumerate(zip(labels, peaks, strict=True)):
        x, y = label.get_position()
        cell = (0.0075 + 0.04 * peak, 0.0075 + 0.04 * (peak + 1))
        assert y == row
        assert 0.01 < (cell[0] - x if label.get_ha() == "right" else x - cell[1]) < 0.03
    assert not overlapping(drawn[0], labels)


def test_a_piece_does_not_cover_what_is_dark_beside_its_peak(tmp_path, drawn):
    reads_TR = torch.zeros(2, 51)
    reads_TR[0, 10:13] = torch.tensor([0.5, 0.4, 0.1])
    reads_TR[1, 38:41] = torch.tensor([0.1, 0.4, 0.5])
    spectrogram_picture(tmp_path / "s.png", FRAMES, SPEECH, reads_TR, WORDS[:2], 4)
    early, late = (label.get_position()[0] for label in drawn[0].axes[1].texts)
    assert 0.0075 + 0.04 * 13 < early < 0.0075 + 0.04 * 14
    assert 0.0075 + 0.04 * 37 < late < 0.0075 + 0.04 * 38


def test_an_answer_of_many_characters_is_a_picture_that_can_be_opened(tmp_path, drawn):
    spectrogram_picture(tmp_path / "s.png", FRAMES, SPEECH, torch.rand(400, 51), ["a"] * 400, 4)
    assert drawn[0].get_figheight() < MOST_INCHES + 4
    labels = drawn[0].axes[1].texts
    assert 100 < len(labels) < 400
    assert not overlapping(drawn[0], labels)


@pytest.mark.parametrize("hertz", [250, 500, 1000, 2000])
def test_a_tone_sounds_where_its_frequency_is_written(tmp_path, drawn, hertz):
    tone_BM = torch.sin(torch.arange(8000) / 8000 * hertz * 2 * torch.pi)[None]
    frames_SF = LogMel(SPEECH).frames(tone_BM)[0].numpy()
    spectrogram_picture(tmp_path / "s.png", frames_SF, SPEECH)
    (sound,) = drawn[0].axes
    labels = [label.get_text() for label in sound.get_yticklabels()]
    ticks = dict(zip(labels, sound.get_yticks(), strict=True))
    assert ticks[f"{hertz / 1000:g}"] == pytest.approx(frames_SF.mean(axis=0).argmax(), abs=0.6)


def test_a_long_clip_is_wider_and_both_formats_are_what_they_say(tmp_path, drawn):
    for name, steps in (("short.svg", 100), ("long.png", 1000)):
        spectrogram_picture(tmp_path / name, np.zeros((steps, 40), np.float32), SPEECH)
    assert drawn[0].get_figwidth() < drawn[1].get_figwidth() <= MOST_INCHES
    assert (tmp_path / "long.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "short.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "<!-- seconds -->" in text
    assert "<!-- kHz -->" in text


def test_a_run_shorter_than_its_log_has_lines_is_drawn_by_its_validation(tmp_path):
    path = tmp_path / "log.jsonl"
    validation = {"kind": "validation", "step": 40, "loss": 2.5, "metrics": {"cer": 12.0}, "is_best": True}
    path.write_text(json.dumps(validation) + "\n", "utf-8")
    learning_curve(path, tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text("utf-8")
    drawn = [f"<!-- {label} -->" in text for label in ("validation", "best step: 40", "training")]
    assert drawn == [True, True, False]


def test_a_log_without_steps_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"kind": "start", "step": 0}) + "\n", "utf-8")
    with pytest.raises(DataError, match="neither a step of training nor a validation"):
        learning_curve(path, tmp_path / "curve.png")


def test_a_missing_matplotlib_names_the_line_that_installs_it(log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dragoman\[plots\]'"):
        learning_curve(log, tmp_path / "curve.png")
    with pytest.raises(MissingExtra, match=r"pip install 'dragoman\[plots\]'"):
        check_drawing()


def forecast(variables=2, times=True, horizon=4):
    names = tuple(f"variable {number}" for number in range(variables))
    values = np.random.default_rng(0).standard_normal((10, variables))
    days = np.datetime64("2020-01-01", "s") + np.arange(10 + horizon) * np.timedelta64(86_400, "s")
    point = np.zeros((horizon, variables))
    quantiles = {level: point + level for level in (0.05, 0.25, 0.5, 0.75, 0.95)}
    return Series(values, names, "shop 7", days if times else None), point, quantiles


@pytest.mark.parametrize("times", [True, False])
def test_a_fan_chart_names_variables_bands_and_steps(tmp_path, times):
    context, point, quantiles = forecast(times=times)
    fan_chart(tmp_path / "fan.svg", [Fan(context, point, quantiles, np.full((4, 2), np.nan))])
    text = (tmp_path / "fan.svg").read_text("utf-8")
    labels = ["variable 0", "variable 1", "90% interval", "50% interval", "what came", "forecast", "shop 7"]
    for label in [*labels, "2020-Jan" if times else "step of the forecast"]:
        assert f"<!-- {label} -->" in text
    assert text.count("<!-- past -->") == 1


def test_a_fan_chart_grows_with_its_variables_and_needs_neither_truth_nor_bands(tmp_path):
    heights = []
    for variables in (1, 3):
        context, point, _ = forecast(variables)
        fan_chart(tmp_path / "fan.png", [Fan(context, point, {})])
        heights.append(int.from_bytes((tmp_path / "fan.png").read_bytes()[20:24], "big"))
    assert heights[1] > 2 * heights[0]


def test_a_fan_chart_has_the_variables_of_every_series_below_its_name(tmp_path):
    fans = []
    for name, times in (("north", True), ("south", False)):
        context, point, quantiles = forecast(times=times)
        fans.append(Fan(replace(context, id=name), point, quantiles))
    fan_chart(tmp_path / "fan.svg", fans)
    text = (tmp_path / "fan.svg").read_text("utf-8")
    labels = ["north", "2020-Jan", "south", "step of the forecast"]
    assert labels == sorted(labels, key=lambda label: text.index(f"<!-- {label} -->"))
    assert text.count("<!-- 2020-Jan -->") == 1  # below the last variable of the first series alone
    assert text.count("<!-- variable 1 -->") == 2
