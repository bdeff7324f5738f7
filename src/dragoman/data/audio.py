"""Sound files and recordings as samples of one rate. The only module that knows soundfile and soxr.

Shapes: M samples.
"""

from __future__ import annotations

import importlib
import re
import struct
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragoman.data.rejects import shorten
from dragoman.errors import DataError, MissingExtra
from dragoman.records import Recording

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
"""How names of sound files end."""
END_TOLERANCE_SECONDS = 0.1
"""A clip may end this far behind the file's end: lists round, and MP3 decoders differ in what they add."""

_SECONDS = r"\d+(?:\.\d+)?"
_FRAGMENT = re.compile(rf"#t=(?:({_SECONDS})(?:,({_SECONDS}))?|,({_SECONDS}))$")
_FRAMES_AT_ONCE = 1 << 20
_UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives the highest number there is where a header does not tell the length."""
_UNKNOWN_BYTES = 0x7FFF_0000
"""Programs that write WAV into a pipe cannot know its size, and write about 2 or 4 gigabytes instead."""
_OGG_LONGEST_PAGE = 65307


class Clip(NamedTuple):
    """A part of a sound file, in seconds; without an end it goes on to the end of the file."""

    path: str
    begin: float = 0.0
    end: float | None = None


def clip_of(path: str, begin: float = 0.0, duration: float | None = None) -> str:
    """Write a part of a sound file as `path#t=begin,end` (W3C media fragments); all of it is the path alone.

    A path that ends like a fragment itself gets one behind it, so that `parts_of` finds the path again.
    """
    if begin == 0 and duration is None:
        return f"{path}#t=0" if _FRAGMENT.search(path) else path
    end = "" if duration is None else f",{_written(begin + duration)}"
    return f"{path}#t={_written(begin)}{end}"


def parts_of(value: str) -> Clip:
    """Split what `clip_of` writes; what does not end like a fragment is a path."""
    found = _FRAGMENT.search(value)
    if found is None:
        return Clip(value)
    begin, end, only_end = found.groups()
    end = end or only_end
    return Clip(value[: found.start()], float(begin or 0), float(end) if end else None)


def seconds_of(value: str) -> float:
    """Return how long a clip is; reads no samples. Raises DataError as `read_audio` does."""
    with _open(value) as file:
        first, last = _span(file, value)
        return float((last - first) / file.samplerate)


def rate_of(value: str) -> int:
    """Return the sample rate of a sound file in Hz; reads no samples. Raises DataError."""
    with _open(value) as file:
        return int(file.samplerate)


def read_audio(
    value: str | Recording, sample_rate_hz: int, min_seconds: float, max_seconds: float
) -> NDArray[np.float32]:
    """Return the samples_M of a clip or a recording, its channels averaged, at the rate that is asked for.

    Of a file only the clip is read, and nothing of one that is too long. Raises DataError, with the file and
    its fault, for what is missing, no sound, cut off, empty, too short, too long or not finite, and for a
    clip that lies beyond the end; MissingExtra without the libraries.
    """
    if isinstance(value, Recording):
        samples_M, rate_hz = _mono(value), value.sample_rate_hz
        _check_length(len(samples_M) / rate_hz, min_seconds, max_seconds, "recording")
    else:
        samples_M, rate_hz = _read(value, min_seconds, max_seconds)
    if not np.isfinite(samples_M).all():
        where = "recording" if isinstance(value, Recording) else value
        raise DataError(f"{where}: has samples that are no numbers (NaN or infinite); write it anew")
    return _resampled(samples_M, rate_hz, sample_rate_hz)


def is_file(path: Path) -> bool:
    """Tell whether a file is there: a folder is none, and a name that no file can have is nobody's."""
    try:
        return path.is_file()
    except OSError:  # too long, or in a folder that is closed to us
        return False


def at_speed(samples_M: NDArray[np.float32], sample_rate_hz: int, speed: float) -> NDArray[np.float32]:
    """Return samples played `speed` times as fast, at the same rate: tempo and pitch change together."""
    return _resampled(samples_M, sample_rate_hz * speed, sample_rate_hz)


def _resampled(samples_M: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    if from_hz == to_hz:
        return samples_M
    resampled_M: NDArray[np.float32] = _load("soxr").resample(samples_M, from_hz, to_hz, quality="HQ")
    return resampled_M


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError):  # OSError: soundfile without its C library
        raise MissingExtra(module, "audio", "Reading audio") from None


def _written(seconds: float) -> str:
    """Write microseconds at most, without an exponent."""
    return np.format_float_positional(round(seconds, 6), trim="-")


def _mono(recording: Recording) -> NDArray[np.float32]:
    samples, rate_hz = recording.samples, recording.sample_rate_hz
    if rate_hz <= 0:
        raise DataError(f"recording: `sample_rate_hz` is {rate_hz}; it must be above 0")
    if samples.dtype not in (np.float32, np.float64):
        raise DataError(
            f"recording: samples are {samples.dtype}; give float32 within -1 and 1 (16-bit ones over 32768)"
        )
    if samples.ndim not in (1, 2):
        raise DataError(f"recording: samples of shape {samples.shape}; give (M,) or (M, channels)")
    if samples.size == 0:
        raise DataError("recording: there are no samples")
    mono_M = samples.mean(axis=1) if samples.ndim == 2 else samples
    return np.ascontiguousarray(mono_M, np.float32)


def _read(value: str, min_seconds: float, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    with _open(value) as file:
        first, last = _span(file, value)
        _check_length((last - first) / file.samplerate, min_seconds, max_seconds, value)
        try:
            if first:
                file.seek(first)
            blocks = [
                file.read(min(_FRAMES_AT_ONCE, last - at), dtype="float32", always_2d=True).mean(axis=1)
                for at in range(first, last, _FRAMES_AT_ONCE)
            ]
        except RuntimeError as error:
            raise DataError(f"{value}: is damaged or cut off: {error}") from error
        samples_M = np.concatenate(blocks)
        if len(samples_M) < last - first:
            raise DataError(
                f"{value}: is cut off: {len(samples_M):,} samples are left of {last - first:,}; copy it again"
            )
        return samples_M, file.samplerate


def _check_length(seconds: float, min_seconds: float, max_seconds: float, where: str) -> None:
    if seconds < min_seconds:
        raise DataError(f"{where}: too short: {seconds:.3f} seconds, `min_seconds` is {min_seconds:g}")
    if seconds > max_seconds:
        raise DataError(
            f"{where}: too long: {seconds:.1f} seconds, `max_seconds` is {max_seconds:g}; "
            "cut it, or list its clips with where they begin and how long they are"
        )


def _open(value: str) -> Any:
    """Open the file of a clip, whose header has been checked."""
    name = parts_of(value).path
    if name.rstrip().endswith("|"):
        raise DataError(f"{name}: is a command, and commands are never run; write its output to a sound file")
    path = Path(name)
    if not is_file(path):
        raise DataError(_not_found(value, path))
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty")
    soundfile = _load("soundfile")
    try:
        file = soundfile.SoundFile(name)
    except (RuntimeError, TypeError) as error:  # TypeError: a .raw file has no header
        raise DataError(
            f"{name}: is not sound that can be read ({error}); WAV, FLAC, OGG and MP3 can"
        ) from error
    try:
        _check_header(file, path)
    except DataError:
        file.close()
        raise
    return file


def _not_found(value: str, path: Path) -> str:
    """Say what is there instead, if anything is."""
    if str(path) != value and is_file(Path(value)):
        return f"{value}: ends like a clip of {path}, which is not there; the whole file is {value}#t=0"
    if "#t=" in str(path):
        return f"{path}: not found; a clip is written #t=BEGIN,END in seconds, for instance #t=1.5,2"
    return f"{shorten(str(path))}: there is no such file"


def _check_header(file: Any, path: Path) -> None:
    if file.frames >= _UNKNOWN_FRAMES:
        raise DataError(f"{path}: its header does not say how long it is; write it anew with flac or sox")
    if file.frames <= 0:
        raise DataError(f"{path}: there are no samples in the file: it is empty or cut off")
    if file.format in ("WAV", "WAVEX"):
        promised, found = _wav_bytes(path)
        if found < promised:
            raise DataError(
                f"{path}: is cut off: {found:,} bytes of samples are left of {promised:,}; copy it again"
            )
    if file.format == "OGG" and not _is_ogg_complete(path):
        raise DataError(f"{path}: is cut off: it lacks the page that ends an OGG file; copy it again")


def _wav_bytes(path: Path) -> tuple[int, int]:
    """Return how many bytes of samples a WAV file promises and how many it can have.

    libsndfile reads what is there and says nothing. A size that only stands for an unknown one promises 0.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        order = ">" if file.read(12)[:4] == b"RIFX" else "<"
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", head)
            if name == b"data":
                return (0 if length >= _UNKNOWN_BYTES else length), size - file.tell()
            file.seek(length + length % 2, 1)  # chunks begin at even places
    return 0, 0


def _is_ogg_complete(path: Path) -> bool:
    """Tell whether the last page has the flag of the last one (RFC 3533)."""
    with path.open("rb") as file:
        tail = _tail(file, 2 * _OGG_LONGEST_PAGE)
    last = tail.rfind(b"OggS")
    return last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & 4)


def _tail(file: IO[bytes], length: int) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - length))
    return file.read()


def _span(file: Any, value: str) -> tuple[int, int]:
    """Return the first frame of a clip and the one after its last."""
    clip = parts_of(value)
    seconds = file.frames / file.samplerate
    first = round(clip.begin * file.samplerate)
    last = file.frames if clip.end is None else round(clip.end * file.samplerate)
    if last <= first and clip.end is not None:
        raise DataError(f"{value}: the clip has no samples: it ends where it begins, or before")
    if first >= file.frames or last > file.frames + END_TOLERANCE_SECONDS * file.samplerate:
        raise DataError(f"{value}: the clip lies beyond the end: the file has {seconds:.3f} seconds")
    return first, min(last, file.frames)
