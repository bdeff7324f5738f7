import os
import random
import signal

import pytest
import torch

from dragoman.decoding import batches
from dragoman.decoding import decode as module_of_windows
from dragoman.decoding import workers as module
from dragoman.decoding.decode import decode
from dragoman.errors import UserError
from dragoman.recipe.decoding import Beam, Sample
from dragoman.records import Example

BEAM = Beam(method="beam", beam=3, nbest=2, max_length=8, batch_tokens=60)


def words(count):
    numbers = random.Random(3)
    return [Example("".join(numbers.choices("abcdefgh", k=numbers.randint(0, 9)))) for _ in range(count)]


@pytest.mark.parametrize(
    "section", [BEAM, Sample(method="sample", samples=2, max_length=8)], ids=lambda section: section.method
)
def test_workers_answer_as_one_process_does(bundle_of, section):
    bundle, examples = bundle_of(), words(90)
    alone = list(decode(bundle, examples, section, reads=True))
    together = list(decode(bundle, examples, section, reads=True, workers=2))
    assert [one.example for one in together] == examples
    for one, other in zip(alone, together, strict=True):
        assert one.values == other.values
        for first, second in zip(one.hypotheses, other.hypotheses, strict=True):
            assert first.tokens == second.tokens
            assert first.score == pytest.approx(second.score, abs=1e-5)
            assert first.reads is None or torch.allclose(first.reads, second.reads)
    if isinstance(section, Beam):
        assert together[0].hypotheses[0].reads is not None


def _end(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_workers_at_all_are_refused(bundle_of):
    with pytest.raises(UserError, match="at least 1"):
        next(decode(bundle_of(), words(1), BEAM, workers=0))


def test_a_worker_that_dies_is_reported(bundle_of, monkeypatch):
    bundle = bundle_of()
    monkeypatch.setattr(module, "_answer_here", _end)
    with pytest.raises(UserError, match="a worker ended"):
        list(decode(bundle, words(5), BEAM, workers=2))


@pytest.mark.parametrize(("workers", "most_read"), [(1, 8), (2, 12)])
def test_of_several_full_windows_each_is_asked_for_before_the_one_ahead_is_given(
    bundle_of, monkeypatch, workers, most_read
):
    monkeypatch.setattr(batches, "FIRST_WINDOW", 4)
    for holder in (batches, module_of_windows):
        monkeypatch.setattr(holder, "LARGEST_WINDOW", 4)
    read = 0

    def examples():
        nonlocal read
        for example in words(14):
            read += 1
            yield example
        raise ValueError("the file ends in the middle of a line")

    stream = decode(bundle_of(), examples(), BEAM, workers=workers)
    found = [next(stream) for _ in range(5)]
    assert read == most_read
    with pytest.raises(ValueError, match="in the middle"):
        while True:
            found.append(next(stream))
    assert [one.example for one in found] == words(14)
