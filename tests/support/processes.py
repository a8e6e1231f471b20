"""Looks at processes as the kernel lists them: who started whom, and who is gone."""

import asyncio
import time
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Every living process that `pid` started, directly or not."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (parent := _parent(int(folder.name))) is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


async def still_alive(pids: set[int], within: float = 5.0) -> set[int]:
    """Those of `pids` that have not ended in time; a process that nobody buried counts as ended."""
    deadline = time.monotonic() + within
    while True:
        alive = {pid for pid in pids if _parent(pid) is not None}
        if not alive or time.monotonic() > deadline:
            return alive
        await asyncio.sleep(0.05)


def _parent(pid: int) -> int | None:
    """The parent's process id; `None` for a process that has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(parent)
