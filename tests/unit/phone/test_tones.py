"""The judge of tones must pass what is good and fail what is not."""

import array
import math
from pathlib import Path

import pytest

from federation.model.errors import UsageError
from node.phone.tones import (
    HIGHEST,
    LOWEST,
    WINDOW,
    Limits,
    Sound,
    dominant_frequency,
    judge,
    level_of,
    read_wav,
    tone,
    write_wav,
)

RATE = 16000
PACKET = round(RATE * 0.02)


def silence(seconds: float) -> Sound:
    return tone(0, seconds)


def joined(*sounds: Sound) -> Sound:
    samples = array.array("h")
    for sound in sounds:
        samples.extend(sound.samples)
    return Sound(RATE, samples)


def mixed(first: Sound, second: Sound) -> Sound:
    pairs = zip(first.samples, second.samples, strict=True)
    return Sound(first.rate, array.array("h", [a + b for a, b in pairs]))


def without_packets(sound: Sound, *lost: int) -> Sound:
    samples = sound.samples[:]
    for packet in lost:
        start = packet * PACKET + 37  # packets do not begin where windows do
        samples[start : start + PACKET] = array.array("h", bytes(2 * PACKET))
    return Sound(sound.rate, samples)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("frequency", [200, 440, 880, 1000, 3400])
def test_a_clean_tone_passes(frequency: int, rate: int) -> None:
    verdict = judge(tone(frequency, 1, rate=rate), frequency)
    assert verdict.ok
    assert verdict.frequency == pytest.approx(frequency, rel=0.005)
    assert verdict.level == pytest.approx(-12, abs=0.3)
    assert (verdict.loss, verdict.onset, verdict.longest_gap) == (0, 0, 0)
    assert str(verdict).endswith("ok")


def test_silence_fails() -> None:
    verdict = judge(silence(1), 440)
    assert verdict.frequency is None
    assert verdict.level == -math.inf
    assert verdict.onset is None
    assert verdict.problems == ("nothing was heard, not the expected 440 Hz",)
    assert str(verdict) == "silence: nothing was heard, not the expected 440 Hz"


def test_an_empty_recording_fails() -> None:
    assert not judge(Sound(RATE, array.array("h")), 440).ok


@pytest.mark.parametrize("played", [430, 450, 880, 220])
def test_a_wrong_frequency_fails(played: int) -> None:
    verdict = judge(tone(played, 1), 440)
    assert f"heard {played} Hz where 440 Hz was expected" in verdict.problems


def test_a_tone_fainter_than_the_limit_is_silence() -> None:
    assert judge(tone(440, 1, level=-50), 440).frequency is None
    assert judge(tone(440, 1, level=-38), 440).ok


def test_a_tone_in_louder_noise_fails() -> None:
    assert not judge(mixed(tone(440, 1, level=-20), tone(1300, 1, level=-12)), 440).ok


def test_a_tone_above_fainter_noise_passes() -> None:
    assert judge(mixed(tone(440, 1, level=-12), tone(1300, 1, level=-24)), 440).ok


def test_one_lost_packet_in_a_hundred_passes_and_is_counted() -> None:
    verdict = judge(without_packets(tone(440, 2), 30), 440)
    assert verdict.ok
    assert 0.005 <= verdict.loss <= 0.015
    assert verdict.longest_gap == pytest.approx(0.02, abs=WINDOW)


def test_four_per_cent_loss_fails() -> None:
    verdict = judge(without_packets(tone(440, 2), 20, 45, 70, 95), 440)
    assert verdict.loss == pytest.approx(0.04, abs=0.02)
    assert [problem.split(" ")[0] for problem in verdict.problems] == ["loss"]


def test_a_tone_that_stops_fails() -> None:
    verdict = judge(joined(tone(440, 1), silence(1)), 440)
    assert not verdict.ok
    assert verdict.longest_gap == pytest.approx(1.0, abs=WINDOW)


def test_a_tone_that_changes_fails() -> None:
    assert not judge(joined(tone(440, 1), tone(880, 0.2)), 440).ok


def test_a_recording_that_is_too_short_fails() -> None:
    assert judge(tone(440, 1), 440, seconds=1).ok
    verdict = judge(tone(440, 1), 440, seconds=2)
    assert verdict.loss == pytest.approx(0.5, abs=0.01)
    assert not verdict.ok


def test_quiet_before_the_tone_is_onset_and_not_loss() -> None:
    verdict = judge(joined(silence(0.3), tone(440, 1)), 440)
    assert verdict.ok
    assert verdict.onset == pytest.approx(0.3)
    assert verdict.loss == 0


def test_a_late_tone_fails() -> None:
    verdict = judge(joined(silence(0.3), tone(440, 1)), 440, limits=Limits(onset=0.1))
    assert verdict.problems == ("the tone came after 0.30 s (limit 0.10 s)",)


def test_the_two_tones_of_a_call_are_never_mixed_up() -> None:
    assert not judge(tone(440, 1), 880).ok
    assert not judge(tone(880, 1), 440).ok


@pytest.mark.parametrize("frequency", [LOWEST - 1, HIGHEST + 1])
def test_tones_that_cannot_be_judged_are_refused(frequency: int) -> None:
    with pytest.raises(UsageError):
        judge(tone(440, 0.1), frequency)


@pytest.mark.parametrize(("frequency", "level"), [(8000, -12.0), (-1, -12.0), (440, 1.0)])
def test_tones_that_cannot_be_made_are_refused(frequency: int, level: float) -> None:
    with pytest.raises(UsageError):
        tone(frequency, 0.1, level=level)


def test_levels_count_from_a_sine_of_full_scale() -> None:
    assert level_of(tone(1000, 1, level=0).samples) == pytest.approx(0, abs=0.01)
    assert level_of(tone(1000, 1, level=-20).samples) == pytest.approx(-20, abs=0.01)
    assert level_of(tone(0, 1).samples) == -math.inf


def test_the_dominant_frequency_lies_between_the_bins() -> None:
    assert dominant_frequency(tone(441.7, 1)) == pytest.approx(441.7, abs=0.5)


def test_a_wav_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    write_wav(path, tone(440, 0.1))
    assert read_wav(path) == tone(440, 0.1)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", b"x" * 100])
def test_what_is_no_wav_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_wav(path)
