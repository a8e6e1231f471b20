"""What is measured, printed beside its goal, and where the kernel keeps count."""

import os
import sys
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_WIDTH = 62


def show(name: str, value: float, unit: str, *, goal: float | None = None, note: str = "") -> None:
    """Print one figure; `goal` is the most it may be."""
    text = f"  {name:<{_WIDTH}}{_plain(value):>9} {unit:<11}"
    if goal is not None:
        text += f" goal <= {_plain(goal):<7}{'' if value <= goal else ' MISSED'}"
    _say(f"{text.rstrip()}{f'  ({note})' if note else ''}")


def title(text: str) -> None:
    """Print what the following figures are about."""
    _say(text)


def skipped(name: str, reason: str) -> None:
    """Say that a figure is absent here, and why."""
    _say(f"  {name:<{_WIDTH}}  skipped: {reason}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _plain(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cpu_seconds(*pids: int) -> float:
    """User and system time that these processes have taken so far, in steps of a clock tick."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def scheduled_seconds(*pids: int) -> tuple[float, float]:
    """How long these processes ran on a core, and how long they were ready to and did not."""
    ran = waited = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            fields = (thread / "schedstat").read_text(encoding="ascii").split()
            ran, waited = ran + int(fields[0]), waited + int(fields[1])
    return ran / 1e9, waited / 1e9


def proportional_mib(pid: int) -> float:
    """The memory of a process, each shared page divided by how many share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no Pss for {pid}")
