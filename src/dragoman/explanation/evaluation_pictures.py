"""Pictures of an evaluation: how the run learnt, and for some examples where the answer came from.

Shapes: T target steps, S source steps (R of attention), F features, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dragoman.bundle import Bundle
from dragoman.data.batching import padded
from dragoman.data.nothing import NothingCodec
from dragoman.data.number_codec import NumbersCodec, series_of
from dragoman.data.speech import SpeechCodec
from dragoman.data.text import TextCodec
from dragoman.decoding.batches import answering
from dragoman.decoding.decode import decode
from dragoman.errors import UserError
from dragoman.evaluation.evaluate import Report
from dragoman.explanation.ctc_places import ctc_places
from dragoman.explanation.forecast_pictures import draw_against_truth
from dragoman.explanation.pictures import attention_picture, learning_curve, spectrogram_picture
from dragoman.recipe.decoding import CtcBeam, CtcGreedy
from dragoman.records import EOS, Example, Hypothesis, Prediction, text_of

Format = Literal["png", "svg"]


def draw_evaluation(
    bundle: Bundle, report: Report, folder: Path, picture_format: Format = "png", count: int = 4
) -> list[Path]:
    """Draw the run's learning curve and up to `count` examples of a report; return the files, in order.

    The number of an example is its line in predictions.jsonl. Text shows where its decoder looked, speech
    that below a spectrogram, CTC alone where its symbols stand; of these the first examples are drawn. Of
    forecasts they are spread over the set, since windows that follow upon each other look alike. Raises
    UserError where there is nothing to draw, MissingExtra without matplotlib.
    """
    written = []
    log = None if bundle.folder is None else bundle.folder / "log.jsonl"
    if log is not None and log.exists():
        is_numeric = isinstance(bundle.codecs.target, NumbersCodec)
        unit = "units of the objective" if is_numeric else "nats a token"
        learning_curve(log, folder / f"learning_curve.{picture_format}", unit)
        written.append(folder / f"learning_curve.{picture_format}")
    draw = _draw_forecasts if isinstance(bundle.codecs.target, NumbersCodec) else _draw_answers
    written += draw(bundle, report, lambda number: folder / f"example-{number:02}.{picture_format}", count)
    if not written:
        raise UserError(
            f"{bundle.folder}: nothing to draw: there is no log.jsonl of the run, and its decoder attends to "
            "nothing in these examples"
        )
    return written


def _draw_forecasts(
    bundle: Bundle, report: Report, name: Callable[[int], Path], count: int
) -> Iterator[Path]:
    """Draw forecasts behind their contexts, with what came."""
    places = np.linspace(0, len(report.predictions) - 1, min(count, len(report.predictions)))
    for place in places.round().astype(int).tolist():
        out = name(place + 1)
        came = series_of(report.references[place][0])
        draw_against_truth(bundle, report.predictions[place], came, out)
        yield out


def _draw_answers(bundle: Bundle, report: Report, name: Callable[[int], Path], count: int) -> Iterator[Path]:
    """Draw what tokens were read from."""
    predictions = itertools.islice(report.predictions, count)
    for number, (prediction, reads_TR) in enumerate(_with_reads(bundle, report, list(predictions)), 1):
        out = name(number)
        hypothesis, example = prediction.hypotheses[0], prediction.example
        pieces = bundle.codecs.text.pieces(_rows(hypothesis, reads_TR))
        title = _said_and_written(prediction)
        match bundle.codecs.source:
            case SpeechCodec() as codec:
                frames = codec.encode(example.source)
                spectrogram_picture(
                    out, frames.values, codec.section, reads_TR, pieces, _shortening(bundle), title
                )
            case _ if reads_TR is None or not pieces:
                continue
            case NothingCodec():  # there was nothing to look at
                continue
            case TextCodec() as codec:
                source = codec.pieces(codec.encode(example.source).tolist())
                attention_picture(reads_TR, source, pieces, out, title)
            case NumbersCodec():
                steps = [str(step) for step in range(1, reads_TR.shape[1] + 1)]
                attention_picture(reads_TR, steps, pieces, out, title)
        yield out


def _with_reads(
    bundle: Bundle, report: Report, predictions: Sequence[Prediction]
) -> Iterator[tuple[Prediction, Tensor | None]]:
    """Give each prediction where it came from: attention (T, R), else the places of CTC's symbols."""
    if isinstance(report.decoding, CtcGreedy | CtcBeam):
        for prediction in predictions:
            yield prediction, _places(bundle, prediction.example, prediction.hypotheses[0])
        return
    # The first ones again, in this order: the same numbers, hence the same draws where answers are sampled.
    for prediction in decode(bundle, [one.example for one in predictions], report.decoding, reads=True):
        yield prediction, prediction.hypotheses[0].reads


def _places(bundle: Bundle, example: Example, hypothesis: Hypothesis) -> Tensor | None:
    """Return how probable it is that a step writes a symbol of the answer; None where nothing was written."""
    tokens = [token for token in hypothesis.tokens if token != EOS]
    if not tokens:
        return None
    source = padded([bundle.codecs.source.encode(example.source)]).to(bundle.device)
    with answering(bundle.model), torch.inference_mode():
        log_probs_NSV = bundle.model.ctc_log_probs(bundle.model.encode(source))
    return torch.from_numpy(ctc_places(log_probs_NSV[0], tokens))


def _rows(hypothesis: Hypothesis, reads_TR: Tensor | None) -> list[int]:
    """Return the tokens that rows stand for: CTC's have no end."""
    return [] if reads_TR is None else list(hypothesis.tokens[: len(reads_TR)])


def _shortening(bundle: Bundle) -> int:
    """Return of how many frames a step of the encoder is made."""
    frontend = bundle.recipe.model.frontend
    return 1 if frontend is None else frontend.shortening


def _said_and_written(prediction: Prediction) -> str:
    """Write the reference above the answer."""
    wanted = "".join(f"expected: {text_of(target)}\n" for target in prediction.example.targets[:1])
    return f"{wanted}written: {text_of(prediction.values[0]) or '(nothing)'}"
