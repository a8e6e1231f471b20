"""Makes tones and judges what was heard of them.

A recording is cut into windows of 10 ms. A window is good when most of its energy lies at the
expected frequency (Goertzel's filter) and it is not much fainter than the rest. From the first run
of good windows to the end, every window that is not good counts as lost; so silence, another
frequency, a faint echo and missing packets all show. The dominant frequency (FFT) is found apart
and says in words what was heard instead.

Levels are in dBFS where 0 is a sine of full scale.
"""

import array
import cmath
import math
import statistics
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from federation.model.errors import UsageError

WINDOW = 0.01
"Seconds."
LOWEST, HIGHEST = 200, 3400
"Hz: a window must hold two periods, and telephone codecs end at 3400."
_FULL_SCALE = 32768
_FFT_SIZE = 4096
_HEARD = 3
"Good windows in a row that count as the beginning of the tone."
_OWN_SHARE = 0.5
"Part of a window's energy that must be at the expected frequency."
_FAINTER = 12.0
"dB under the median of all good windows at which a window counts as lost."


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono samples of 16 bits."""

    rate: int
    "Samples a second."
    samples: "array.array[int]"

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What still counts as a good connection."""

    loss: float = 0.03
    "Part of the windows that may be missing."
    quietest: float = -40.0
    "dBFS."
    onset: float = 0.5
    "Seconds from the start of the recording until the tone must be there."
    frequency: float = 0.015
    "Part by which the dominant frequency may differ; codecs and clocks are far better."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was heard, against what was expected."""

    expected: float
    "Hz."
    frequency: float | None
    "The dominant frequency in Hz; `None` for silence."
    level: float
    "dBFS of the good windows, or of everything when there are none; -inf for digital silence."
    onset: float | None
    "Seconds until the tone was heard; `None` if it never was."
    loss: float
    "Part of the windows after the onset (of all, without one) in which the tone is missing."
    longest_gap: float
    "Seconds."
    problems: tuple[str, ...]
    "What is wrong, each in a few words; empty when all is well."

    @property
    def ok(self) -> bool:
        """Whether the tone arrived as it should."""
        return not self.problems

    def __str__(self) -> str:
        if self.frequency is None:
            heard = "silence"
        else:
            heard = f"{self.frequency:.0f} Hz at {self.level:.1f} dBFS, loss {self.loss:.2%}"
        return f"{heard}: {'ok' if self.ok else '; '.join(self.problems)}"


def tone(frequency: float, seconds: float, *, rate: int = 16000, level: float = -12.0) -> Sound:
    """A sine of `frequency` Hz at `level` dBFS; 0 Hz gives silence.

    Raises:
        UsageError: the frequency cannot be sampled at this rate, or the level is over 0 dBFS.
    """
    if not 0 <= frequency < rate / 2 or level > 0:
        raise UsageError(f"no tone has {frequency} Hz at {level} dBFS in {rate} samples a second")
    top = (_FULL_SCALE - 1) * 10 ** (level / 20)
    step = 2 * math.pi * frequency / rate
    values = (round(top * math.sin(step * n)) for n in range(round(seconds * rate)))
    return Sound(rate, array.array("h", values))


def write_wav(path: Path, sound: Sound) -> None:
    """Write a mono wav of 16-bit samples."""
    samples = sound.samples[:]
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(samples.tobytes())


def read_wav(path: Path) -> Sound:
    """Read a wav of 16-bit samples; of several channels the first.

    Raises:
        UsageError: not such a wav.
        OSError: the file cannot be read.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise UsageError(f"{path} has {8 * file.getsampwidth()}-bit samples, not 16")
            samples = array.array("h", file.readframes(file.getnframes()))
            rate, channels = file.getframerate(), file.getnchannels()
    except (wave.Error, EOFError, ValueError) as error:
        raise UsageError(f"{path} is not a wav file: {error}") from error
    if sys.byteorder == "big":
        samples.byteswap()
    return Sound(rate, samples[::channels])


def judge(
    sound: Sound, expected: float, *, seconds: float = 0.0, limits: Limits | None = None
) -> Verdict:
    """Compare a recording with the tone that was played.

    `seconds` is how long the recording should be; what it falls short of that counts as lost.

    Raises:
        UsageError: a tone outside 200-3400 Hz cannot be judged.
    """
    if not LOWEST <= expected <= HIGHEST:
        raise UsageError(f"a tone of {expected} Hz is outside {LOWEST}-{HIGHEST} Hz")
    limits = limits or Limits()
    wanted = max(1, round(max(seconds, sound.seconds) / WINDOW))
    good, levels = _good_windows(sound, expected, limits.quietest)
    good += [False] * (wanted - len(good))
    start = next((n for n in range(len(good)) if all(good[n : n + _HEARD]) and good[n]), None)
    onset = None if start is None else start * WINDOW
    judged = good[start or 0 :]
    loss = judged.count(False) / len(judged)
    frequency = dominant_frequency(sound, quietest=limits.quietest)
    return Verdict(
        expected=expected,
        frequency=frequency,
        level=statistics.median(levels) if levels else level_of(sound.samples),
        onset=onset,
        loss=loss,
        longest_gap=_longest_gap(judged) * WINDOW,
        problems=tuple(_problems(expected, frequency, onset, loss, limits)),
    )


def _problems(
    expected: float, frequency: float | None, onset: float | None, loss: float, limits: Limits
) -> list[str]:
    if frequency is None:
        return [f"nothing was heard, not the expected {expected:.0f} Hz"]
    found = []
    if abs(frequency - expected) > expected * limits.frequency:
        found.append(f"heard {frequency:.0f} Hz where {expected:.0f} Hz was expected")
    if onset is None:
        found.append("the tone was never clear")
    elif onset > limits.onset:
        found.append(f"the tone came after {onset:.2f} s (limit {limits.onset:.2f} s)")
    if loss > limits.loss:
        found.append(f"loss {loss:.2%} (limit {limits.loss:.2%})")
    return found


def _good_windows(sound: Sound, expected: float, quietest: float) -> tuple[list[bool], list[float]]:
    """For each window whether the tone is in it; and the levels of those where it is."""
    size = round(sound.rate * WINDOW)
    starts = range(0, len(sound.samples) - size + 1, size)
    found: list[float | None] = []
    for start in starts:
        window = sound.samples[start : start + size]
        level = level_of(window)
        own = level > quietest and _share(window, sound.rate, expected) >= _OWN_SHARE
        found.append(level if own else None)
    levels = [level for level in found if level is not None]
    floor = statistics.median(levels) - _FAINTER if levels else 0.0
    return [level is not None and level >= floor for level in found], levels


def level_of(samples: Sequence[int]) -> float:
    """The level in dBFS (a sine of full scale has 0); -inf for digital silence."""
    energy = _energy(samples)
    if not energy:
        return -math.inf
    return 10 * math.log10(2 * energy / len(samples) / _FULL_SCALE**2)


def _energy(samples: Sequence[int]) -> int:
    return sum(value * value for value in samples)


def _share(window: Sequence[int], rate: int, frequency: float) -> float:
    """The part of the window's energy at `frequency`: Goertzel's filter at any real frequency."""
    energy = _energy(window)
    if not energy:
        return 0.0
    factor = 2 * math.cos(2 * math.pi * frequency / rate)
    before = last = 0.0
    for value in window:
        before, last = last, value + factor * last - before
    power = last * last + before * before - factor * last * before
    return 2 * power / len(window) / energy


def _longest_gap(good: Sequence[bool]) -> int:
    longest = run = 0
    for window in good:
        run = 0 if window else run + 1
        longest = max(longest, run)
    return longest


def dominant_frequency(sound: Sound, *, quietest: float = -40.0) -> float | None:
    """The strongest frequency in Hz over the whole sound; `None` if none reaches `quietest` dBFS.

    Spectra of up to eight pieces are added up, each under a Hann window, and the peak is refined by
    a parabola.
    """
    pieces = _pieces(sound.samples)
    if not any(level_of(piece) > quietest for piece in pieces):
        return None
    total = [0.0] * (_FFT_SIZE // 2)
    for piece in pieces:
        spectrum = _fft([complex(v * w) for v, w in zip(piece, _HANN, strict=True)])
        for n in range(len(total)):
            total[n] += abs(spectrum[n]) ** 2
    peak = max(range(2, len(total) - 1), key=total.__getitem__)
    left, top, right = (math.log(total[peak + n] + 1e-9) for n in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend else 0.0
    return (peak + shift) * sound.rate / _FFT_SIZE


_HANN = [0.5 - 0.5 * math.cos(2 * math.pi * n / _FFT_SIZE) for n in range(_FFT_SIZE)]


def _pieces(samples: "array.array[int]", most: int = 8) -> "list[array.array[int]]":
    """Up to `most` stretches of FFT size, evenly spread; a short sound is filled up with zeros."""
    if len(samples) < _FFT_SIZE:
        return [samples + array.array("h", bytes(2 * (_FFT_SIZE - len(samples))))]
    count = min(most, len(samples) // _FFT_SIZE)
    stride = (len(samples) - _FFT_SIZE) // max(1, count - 1) if count > 1 else 0
    return [samples[n * stride : n * stride + _FFT_SIZE] for n in range(count)]


def _fft(values: list[complex]) -> list[complex]:
    """The discrete Fourier transform; the length is a power of two."""
    size = len(values)
    if size == 1:
        return values
    even, odd = _fft(values[::2]), _fft(values[1::2])
    turned = [cmath.exp(-2j * cmath.pi * n / size) * odd[n] for n in range(size // 2)]
    return [e + t for e, t in zip(even, turned, strict=True)] + [
        e - t for e, t in zip(even, turned, strict=True)
    ]
