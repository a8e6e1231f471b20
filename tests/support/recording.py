"""Wav files that a phone is still writing."""

import array
import asyncio
from pathlib import Path

from node.phone.tones import Sound

_HEADER = 44
_RATE = 8000
_LAG = 0.4
"Seconds that a program may keep samples to itself before it writes them."


async def growing(path: Path, seconds: float) -> Sound:
    """What is written during the next `seconds`: mono of 8 kHz and 16 bits, less if less came."""
    start = max(_HEADER, path.stat().st_size) if path.exists() else _HEADER
    wanted = 2 * round(seconds * _RATE)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds + _LAG
    await asyncio.sleep(seconds)
    while not path.exists() or path.stat().st_size < start + wanted:
        if loop.time() > deadline:
            break
        await asyncio.sleep(0.02)
    data = path.read_bytes()[start : start + wanted] if path.exists() else b""
    return Sound(_RATE, array.array("h", data[: len(data) // 2 * 2]))
