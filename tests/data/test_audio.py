import struct
import sys

import numpy as np
import pytest

from dragoman.data.audio import at_speed, clip_of, parts_of, read_audio, seconds_of
from dragoman.errors import DataError, MissingExtra
from dragoman.records import Recording

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

RATE = 8000
FORMATS = {  # ending: subtypes and how far samples may come back from what was written
    "wav": {"PCM_U8": 1 / 128, "PCM_16": 1e-4, "PCM_24": 1e-6, "FLOAT": 0, "DOUBLE": 0},
    "flac": {"PCM_16": 1e-4, "PCM_24": 1e-6},
    "ogg": {"VORBIS": 0.15, "OPUS": 0.15},
    "mp3": {"MPEG_LAYER_III": 0.15},
}
EACH_FORMAT = [(ending, subtype) for ending, subtypes in FORMATS.items() for subtype in subtypes]


def tone(seconds=1.0, rate_hz=RATE, hz=440):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write(path, samples, rate_hz=RATE, **settings):
    soundfile.write(path, samples, rate_hz, **settings)
    return str(path)


def read(value, rate_hz=RATE, least=0.01, most=10.0):
    samples_M = read_audio(value, rate_hz, least, most)
    assert samples_M.dtype == np.float32
    assert samples_M.ndim == 1
    return samples_M


class TestFormats:
    @pytest.mark.parametrize(("ending", "subtype"), EACH_FORMAT)
    @pytest.mark.parametrize("channels", [1, 2])
    def test_samples_come_back(self, tmp_path, ending, subtype, channels):
        samples = np.stack([tone(), tone(hz=300)][:channels], axis=1)
        path = write(tmp_path / f"a.{ending}", samples, subtype=subtype)
        expected_M = samples.mean(axis=1)
        found_M = read(path)
        assert seconds_of(path) == 1.0
        assert len(found_M) == len(expected_M)
        middle = slice(400, -400)  # what loses something loses most at the ends
        assert np.abs(found_M - expected_M)[middle].max() <= FORMATS[ending][subtype]

    @pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000])
    def test_any_rate_becomes_the_one_asked_for(self, tmp_path, rate_hz):
        path = write(tmp_path / "a.wav", tone(rate_hz=rate_hz), rate_hz, subtype="FLOAT")
        found_M = read(path, 16000)
        assert len(found_M) == 16000
        inner = slice(800, -800)
        assert np.abs(found_M - tone(rate_hz=16000))[inner].max() < 1e-3

    def test_frequencies_that_do_not_fit_are_taken_out(self, tmp_path):
        path = write(tmp_path / "a.wav", tone(rate_hz=44100, hz=6000), 44100)
        assert np.abs(read(path, 8000)[400:-400]).max() < 1e-3

    @pytest.mark.parametrize("shape", ["mono", "stereo"])
    def test_a_recording_reads_like_its_file(self, tmp_path, shape):
        samples = tone(rate_hz=44100) if shape == "mono" else np.stack([tone(rate_hz=44100)] * 2, axis=1)
        path = write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT")
        assert np.array_equal(read(Recording(samples, 44100), 16000), read(path, 16000))

    def test_clips_longer_than_a_block(self, tmp_path):
        samples_M = np.random.default_rng(1).uniform(-1, 1, (1 << 20) + 5).astype(np.float32)
        path = write(tmp_path / "a.wav", samples_M, 48000, subtype="FLOAT")
        assert np.array_equal(read(path, 48000, most=100), samples_M)


class TestClips:
    @pytest.mark.parametrize(("ending", "error"), [("wav", 0), ("flac", 0), ("ogg", 1e-6), ("mp3", 1e-3)])
    def test_a_clip_is_a_part_of_the_whole(self, tmp_path, ending, error):
        noise_M = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
        path = write(tmp_path / f"a.{ending}", noise_M)
        whole_M = read(path)
        for begin, end in [(0, 8000), (4001, 9999), (12000, 16000)]:
            clip = clip_of(path, begin / RATE, (end - begin) / RATE)
            assert np.abs(read(clip) - whole_M[begin:end]).max() <= error
            assert seconds_of(clip) == (end - begin) / RATE
        assert np.array_equal(read(f"{path}#t=1.5"), read(f"{path}#t=1.5,2"))
        assert np.array_equal(read(f"{path}#t=,0.5"), read(f"{path}#t=0,0.5"))

    def test_an_end_is_rounded_to_the_files_end(self, tmp_path):
        path = write(tmp_path / "a.wav", tone(1.004))
        assert len(read(f"{path}#t=0.5,1.01")) == len(read(f"{path}#t=0.5"))

    @pytest.mark.parametrize(
        ("path", "begin", "duration", "written"),
        [
            ("a.wav", 0, None, "a.wav"),
            ("a.wav", 1.1, 2.2, "a.wav#t=1.1,3.3"),
            ("a.wav", 0, 2, "a.wav#t=0,2"),
            ("a.wav", 1e-5, None, "a.wav#t=0.00001"),
            ("a#t=1,2", 0, None, "a#t=1,2#t=0"),
            ("a#t=1,2.wav", 0, None, "a#t=1,2.wav"),
        ],
    )
    def test_written_and_split(self, path, begin, duration, written):
        assert clip_of(path, begin, duration) == written
        end = None if duration is None else pytest.approx(begin + duration)
        assert parts_of(written) == (path, begin, end)

    def test_a_name_like_a_clip(self, tmp_path):
        path = write(tmp_path / "a#t=0,1", tone(), format="WAV")
        with pytest.raises(DataError, match=r"ends like a clip of .*a, which is not there.*#t=0,1#t=0$"):
            read(path)
        assert len(read(clip_of(path))) == RATE
        inner = write(tmp_path / "a#t=0,1.wav", tone())
        assert len(read(inner)) == RATE

    @pytest.mark.parametrize("fragment", ["#t=1", "#t=2,3", "#t=0,1.2"])
    def test_beyond_the_end(self, tmp_path, fragment):
        path = write(tmp_path / "a.wav", tone())
        with pytest.raises(DataError, match=r"a\.wav#t=.*beyond the end: the file has 1\.000 seconds"):
            read(path + fragment)

    @pytest.mark.parametrize("fragment", ["#t=0.5,0.2", "#t=0.5,0.5", "#t=0.5,0.50001", "#t=,0"])
    def test_the_end_before_the_beginning(self, tmp_path, fragment):
        path = write(tmp_path / "a.wav", tone())
        with pytest.raises(DataError, match="has no samples: it ends where it begins, or before"):
            read(path + fragment)

    def test_minutes_are_no_seconds(self, tmp_path):
        path = write(tmp_path / "a.wav", tone())
        with pytest.raises(DataError, match="not found; a clip is written #t=BEGIN,END in seconds"):
            read(path + "#t=0:10,0:20")


class TestFaults:
    def test_missing_folder_and_command(self, tmp_path):
        with pytest.raises(DataError, match=r"b\.wav: there is no such file"):
            read(str(tmp_path / "b.wav"))
        for name in ("x" * 5000, "a\0b", "a\ud800", "", str(tmp_path)):
            with pytest.raises(DataError, match="there is no such file"):
                read(name)
        for command in (
            f"touch {tmp_path}/made |",
            f"touch {tmp_path}/made | ",
            f"touch {tmp_path}/made |#t=0,1",
        ):
            with pytest.raises(DataError, match="is a command, and commands are never run"):
                read(command)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.raw", "a"])
    @pytest.mark.parametrize(
        "content", [b"\0" * 5000, b"no sound\n" * 500, b"RIFF\xff\xff\xff\xffWAVE", b"fLaC"]
    )
    def test_no_sound(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: "):
            read(str(tmp_path / name))

    def test_empty(self, tmp_path):
        (tmp_path / "a.wav").write_bytes(b"")
        with pytest.raises(DataError, match=r"a\.wav: the file is empty"):
            read(str(tmp_path / "a.wav"))
        with pytest.raises(DataError, match=r"b\.wav: there are no samples in the file"):
            read(write(tmp_path / "b.wav", tone(0)))
        with pytest.raises(DataError, match="recording: there are no samples"):
            read(Recording(tone(0), RATE))

    @pytest.mark.parametrize("ending", FORMATS)
    @pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
    def test_cut_off(self, tmp_path, ending, share):
        noise_M = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE).astype(np.float32)
        path = tmp_path / f"a.{ending}"
        write(path, noise_M)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=rf"a\.{ending}: .*cut off"):
            read(str(path))

    def test_any_damage_is_a_fault_or_samples(self, tmp_path):
        draw = np.random.default_rng(0)
        path = tmp_path / "a.flac"
        write(path, tone(0.2))
        whole = bytearray(path.read_bytes())
        faults = 0
        for _ in range(200):
            damaged = whole.copy()
            for place in draw.integers(len(whole), size=3):
                damaged[place] = draw.integers(256)
            path.write_bytes(damaged)
            try:
                read(str(path))
            except DataError as error:
                faults += 1
                assert "a.flac: " in str(error)
        assert faults > 50

    def test_a_size_from_a_pipe_is_unknown(self, tmp_path):
        path = tmp_path / "a.wav"
        write(path, tone())
        content = path.read_bytes()
        place = content.index(b"data") + 4
        path.write_bytes(content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :])
        assert np.array_equal(read(str(path)), read(write(tmp_path / "b.wav", tone())))

    def test_a_length_that_is_not_told(self, tmp_path):
        path = tmp_path / "a.flac"
        write(path, tone())
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # the 36 bits of the number of samples
        content[22:26] = bytes(4)
        path.write_bytes(content)
        with pytest.raises(DataError, match="does not say how long it is; write it anew"):
            read(str(path))

    def test_rate_zero(self, tmp_path):
        path = tmp_path / "a.wav"
        write(path, tone())
        content = bytearray(path.read_bytes())
        content[24:28] = struct.pack("<I", 0)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.wav: is not sound that can be read"):
            read(str(path))
        with pytest.raises(DataError, match="`sample_rate_hz` is 0; it must be above 0"):
            read(Recording(tone(), 0))

    def test_lengths_are_read_off_the_header(self, tmp_path, monkeypatch):
        path = write(tmp_path / "a.wav", tone(2.0))
        monkeypatch.setattr(soundfile.SoundFile, "read", None)  # reading samples would fail
        with pytest.raises(DataError, match=r"a\.wav: too long: 2\.0 seconds, `max_seconds` is 1\.5; cut it"):
            read(path, most=1.5)
        with pytest.raises(DataError, match=r"a\.wav: too short: 2\.000 seconds, `min_seconds` is 2\.5"):
            read(path, least=2.5)
        with pytest.raises(DataError, match=r"#t=1,1\.2: too short: 0\.200"):
            read(f"{path}#t=1,1.2", least=0.5)
        assert seconds_of(path) == 2.0

    def test_lengths_of_recordings(self):
        with pytest.raises(DataError, match="recording: too long"):
            read(Recording(tone(2.0), RATE), most=1.5)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_samples_that_are_no_numbers(self, tmp_path, wrong):
        samples_M = tone()
        samples_M[77] = wrong
        with pytest.raises(DataError, match=r"a\.wav: has samples that are no numbers"):
            read(write(tmp_path / "a.wav", samples_M, subtype="FLOAT"))
        with pytest.raises(DataError, match="recording: has samples that are no numbers"):
            read(Recording(samples_M, RATE))

    def test_recordings_of_another_kind(self):
        with pytest.raises(DataError, match="samples are int16; give float32 within -1 and 1"):
            read(Recording((tone() * 32767).astype(np.int16), RATE))
        with pytest.raises(DataError, match=r"samples of shape \(1, 2, 3\)"):
            read(Recording(np.zeros((1, 2, 3), np.float32), RATE))

    @pytest.mark.parametrize("library", ["soundfile", "soxr"])
    def test_without_the_libraries_the_message_installs_them(self, tmp_path, monkeypatch, library):
        path = write(tmp_path / "a.wav", tone())
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(
            MissingExtra, match=rf"Reading audio needs {library}.*pip install 'dragoman\[audio\]'"
        ):
            read(path, 16000)


class TestSpeed:
    @pytest.mark.parametrize("speed", [0.9, 1.1])
    def test_tempo_and_pitch(self, speed):
        played_M = at_speed(tone(), RATE, speed)
        assert abs(len(played_M) - RATE / speed) <= 1
        expected_M = tone(hz=440 * speed)[: len(played_M)]
        inner = slice(400, min(len(expected_M), len(played_M)) - 400)
        assert np.abs(played_M[inner] - expected_M[inner]).max() < 1e-2

    def test_the_speed_of_the_recording_changes_nothing(self):
        assert np.array_equal(at_speed(tone(), RATE, 1.0), tone())
